//! The pipeline file of a restore, as a person would write it.

use std::fmt::Write;
use std::path::Path;

/// What is restored, and to where.
pub(super) struct Restore<'a> {
    /// The pipeline's name.
    pub(super) name: &'a str,
    /// The repository.
    pub(super) url: &'a str,
    /// File of secret keys that open what is encrypted.
    pub(super) identity: Option<&'a Path>,
    /// Public keys of who may have written it.
    pub(super) trusted: &'a [String],
    /// The storage whose streams they are.
    pub(super) storage: &'a str,
    /// The manifest up to which is restored.
    pub(super) state: &'a str,
    /// Where the data arrives.
    pub(super) into: &'a str,
    /// The dataset that is made of it in a first seeding, where the storage wants that to be named.
    pub(super) live: Option<&'a str>,
    /// The server that is made of it.
    pub(super) server: Option<Server<'a>>,
}

/// A server on this machine.
pub(super) struct Server<'a> {
    /// Its data directory.
    pub(super) data_directory: &'a str,
    /// Where its programs are, if that is said.
    pub(super) bin_directory: Option<&'a str>,
    /// Its settings, each with its value as in TOML.
    pub(super) settings: Vec<(&'a str, String)>,
    /// More lines of `pg-configure`.
    pub(super) places: String,
    /// Whether its indexes and tables are checked.
    pub(super) checked: bool,
}

impl Restore<'_> {
    /// The file. `environment` gives what the AWS tools know; secrets stay there.
    pub(super) fn text(&self, environment: &dyn Fn(&str) -> Option<String>) -> String {
        let mut text = format!("name = {}\n\n{}", quoted(self.name), self.repository(environment));
        if let Some(server) = &self.server {
            let programs = server.bin_directory.map(|directory| format!("bin_directory = {}\n", quoted(directory)));
            let (directory, programs) = (quoted(server.data_directory), programs.unwrap_or_default());
            let _ = write!(
                text,
                "[clusters.standby]\ndata_directory = {directory}\n{programs}service = {{ use = \"pg-ctl\" }}\n\n"
            );
        }
        let (storage, into) = (quoted(self.storage), quoted(self.into));
        let get = format!("repository = \"offsite\"\nstorage = {storage}\nstate = {}\n", quoted(self.state));
        let mut stages =
            vec![("s3-get".to_owned(), get), (format!("{}-receive", self.storage), format!("into = {into}\n"))];
        if let Some(server) = &self.server {
            let live = self.live.map(|live| format!("as = {}\n", quoted(live)));
            stages.push((format!("{}-clone", self.storage), live.unwrap_or_default()));
            stages.extend(server.stages());
        }
        for (stage, lines) in stages {
            let _ = write!(text, "[[stage]]\nuse = {}\n{lines}\n", quoted(&stage));
        }
        text
    }

    fn repository(&self, environment: &dyn Fn(&str) -> Option<String>) -> String {
        let first = |names: &[&'static str]| {
            names
                .iter()
                .find_map(|name| environment(name).filter(|value| !value.is_empty()).map(|value| (*name, value)))
        };
        let mut lines = format!("[repositories.offsite]\nurl = {}\n", quoted(self.url));
        let mut add = |key: &str, value: String| lines.push_str(&format!("{key} = {value}\n"));
        if self.url.starts_with("s3://") {
            let plain: [(&str, &[&'static str]); 3] = [
                ("endpoint", &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
                ("region", &["AWS_REGION", "AWS_DEFAULT_REGION"]),
                ("ca_file", &["AWS_CA_BUNDLE"]),
            ];
            for (key, names) in plain {
                first(names).into_iter().for_each(|(_, value)| add(key, quoted(&value)));
            }
            let secret = |name: &str| format!("{{ env = {} }}", quoted(name));
            match first(&["AWS_ACCESS_KEY_ID"]).and(first(&["AWS_SECRET_ACCESS_KEY"])) {
                Some((name, _)) => {
                    add("access_key_id", secret("AWS_ACCESS_KEY_ID"));
                    add("secret_access_key", secret(name));
                    first(&["AWS_SESSION_TOKEN"]).into_iter().for_each(|(name, _)| add("session_token", secret(name)));
                }
                None => first(&["AWS_PROFILE"]).into_iter().for_each(|(_, value)| add("profile", quoted(&value))),
            }
        }
        if environment("RESEED_SSE_C_KEY").is_some_and(|key| !key.is_empty()) {
            add("sse_c_key", "{ env = \"RESEED_SSE_C_KEY\" }".to_owned());
        }
        if let Some(file) = self.identity {
            add("identity", format!("{{ file = {} }}", quoted(&file.to_string_lossy())));
        }
        if !self.trusted.is_empty() {
            let keys: Vec<_> = self.trusted.iter().map(|key| quoted(key)).collect();
            add("trusted", format!("[{}]", keys.join(", ")));
        }
        lines + "\n"
    }
}

impl Server<'_> {
    fn stages(&self) -> Vec<(String, String)> {
        let settings: Vec<_> = self.settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let configure = format!("cluster = \"standby\"\nsettings = {{ {} }}\n{}", settings.join(", "), self.places);
        let mut stages = vec![
            ("pg-configure".to_owned(), configure),
            ("pg-switch".to_owned(), "cluster = \"standby\"\nproof = \"consistent\"\n".to_owned()),
        ];
        if self.checked {
            stages.push(("pg-amcheck".to_owned(), "cluster = \"standby\"\n".to_owned()));
        }
        stages
    }
}

/// A string as it is written in a pipeline file. What JSON writes of one is TOML as well; `${` would be a
/// variable.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn restore<'a>(url: &'a str, server: Option<Server<'a>>) -> Restore<'a> {
        Restore {
            name: "restore",
            url,
            identity: None,
            trusted: &[],
            storage: "zfs",
            state: "manifests/tank_2Fpg/r/000000.json",
            into: "data/reseed",
            live: Some("data/pgsql"),
            server,
        }
    }

    fn load(text: &str) -> reseed_core::config::Loaded {
        let loaded = reseed_core::config::load(text, &BTreeMap::new());
        loaded.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"))
    }

    #[test]
    fn it_is_a_good_pipeline_file() {
        let nothing = |_: &str| None;
        load(&restore("file:///srv/reseed", None).text(&nothing));
        let server = Server {
            data_directory: "/data/pgsql/data",
            bin_directory: Some("/usr/lib/postgresql/15/bin"),
            settings: vec![("port", "5432".into()), ("hot_standby", quoted("on"))],
            places: String::new(),
            checked: true,
        };
        let text = restore("file:///srv/re${s}eed \"x\"", Some(server)).text(&nothing);
        let names: Vec<_> = load(&text).pipeline.stages().iter().map(|stage| stage.name().to_owned()).collect();
        assert_eq!(names, ["s3-get", "zfs-receive", "zfs-clone", "pg-configure", "pg-switch", "pg-amcheck"]);
    }

    #[test]
    fn no_secret_of_the_environment_is_in_it() {
        let environment = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" => Some("hunter2".to_owned()),
            _ => None,
        };
        let text = restore("s3://bucket/pg", None).text(&environment);
        assert!(
            !text.contains("hunter2") && text.contains("secret_access_key = { env = \"AWS_SECRET_ACCESS_KEY\" }"),
            "{text}"
        );
        assert!(text.contains("endpoint = \"http://127.0.0.1:1\""), "{text}");
    }
}
