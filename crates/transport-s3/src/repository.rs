//! The resource `repositories`: where staged streams are kept, and how it is reached.

mod keys;

use std::sync::Arc;

use reseed_core::config::{BuildCx, Located, Problem, Secret, SecretSource};
use reseed_core::registry::ResourceConfig;
use reseed_core::{Error, Result, register_resource};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::address::Address;
use crate::seal::Seal;
use crate::store::{FileStore, Keys, S3Settings, Store, s3_store};

/// A repository of staged streams: a prefix in an S3 bucket, or a directory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RepositoryConfig {
    /// Where it is: `s3://bucket/prefix` or `file:///path`. The directory must be there.
    url: Located<String>,
    /// URL of the S3 server, where it is not Amazon's: `https://s3.example.org`.
    endpoint: Option<Located<String>>,
    /// The bucket's region; by default as the AWS tools find it, else `us-east-1`.
    region: Option<Located<String>>,
    /// Whether the bucket is named in the path and not in the host's name; by default it is where there
    /// is an `endpoint`.
    path_style: Option<Located<bool>>,
    /// Profile of the AWS configuration files of the user that runs reseed. Without one, and without
    /// keys, credentials are found as the AWS tools find them: environment, files, instance role.
    profile: Option<Located<String>>,
    /// PEM file of certificate authorities to trust beside the system's.
    ca_file: Option<Located<String>>,
    /// The access key.
    access_key_id: Option<Located<SecretSource>>,
    /// The secret key of `access_key_id`.
    secret_access_key: Option<Located<SecretSource>>,
    /// The token that belongs to temporary keys.
    session_token: Option<Located<SecretSource>>,
    /// Storage class of new objects, for example `STANDARD_IA`; the bucket's default without it. The
    /// objects must be readable at once: not one of the archives.
    storage_class: Option<Located<String>>,
    /// What the server encrypts new objects with: `AES256` or `aws:kms`; the bucket's default without it.
    sse: Option<Located<String>>,
    /// The key of `sse = "aws:kms"`; the bucket's default without it.
    sse_kms_key_id: Option<Located<String>>,
    /// Public keys of `age` to which new chunks are encrypted: `age1…`. Who puts needs no secret key, and
    /// can't read what it has put. Manifests are not encrypted.
    #[serde(default)]
    recipients: Vec<Located<String>>,
    /// The secret key of one of the `recipients`, as `age-keygen` writes it: for who gets.
    identity: Option<Located<SecretSource>>,
    /// The secret key that signs new manifests, as `openssl genpkey -algorithm ed25519` writes it.
    sign: Option<Located<SecretSource>>,
    /// Public keys whose manifests are read, that of `sign` beside them; every manifest where there is
    /// none. Each is the second line of what `openssl pkey -pubout` writes.
    #[serde(default)]
    trusted: Vec<Located<String>>,
}

/// A repository as stages know it, and its keys. Nothing is asked of it before a stage does.
#[derive(Debug, Clone)]
pub struct RepositoryResource(pub Arc<dyn Store>, pub Arc<Seal>);

register_resource!(RepositoryConfig);

impl ResourceConfig for RepositoryConfig {
    const TABLE: &'static str = "repositories";
    const USE: Option<&'static str> = None;
    type Resource = RepositoryResource;

    fn build(self, _name: &str, cx: &mut BuildCx<'_>) -> Option<RepositoryResource> {
        let address = Address::parse(&self.url)
            .map_err(|error| cx.problem(Problem::at(self.url.span(), error.to_string()).hint(error.hint())));
        let problems = self.problems(matches!(address, Ok(Address::File(_))));
        let good = problems.is_empty();
        problems.into_iter().for_each(|problem| cx.problem(problem));
        let keys = self.keys(cx);
        let seal = self.seal(cx);
        let (Ok(address), true, Some(seal)) = (address, good, seal.map(Arc::new)) else { return None };
        match address {
            Address::File(path) => Some(RepositoryResource(Arc::new(FileStore::new(path)), seal)),
            Address::S3 { bucket, prefix } => {
                let span = self.url.span();
                let settings = S3Settings { keys: keys?, ..self.settings(bucket, prefix) };
                let store = s3_store(settings).map_err(|error| cx.problem(in_words(error, span)));
                store.ok().map(|store| RepositoryResource(store, seal))
            }
        }
    }
}

impl RepositoryConfig {
    fn problems(&self, is_file: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |span, text: &str, hint: &str| problems.push(Problem::at(span, text).hint(hint));
        if is_file {
            for (name, span) in self.of_s3() {
                wrong(span, &format!("`{name}` is of no use to a directory"), "leave it out, or name an `s3://` URL");
            }
            return problems;
        }
        if let Some(endpoint) = self.endpoint.as_ref().filter(|endpoint| !is_endpoint(endpoint)) {
            wrong(endpoint.span(), "an endpoint is a URL without a path", "for example `https://s3.example.org:9000`");
        }
        if let Some(path) = self.ca_file.as_ref().filter(|path| !path.starts_with('/')) {
            wrong(path.span(), "a CA file is named by an absolute path", "for example `/etc/ssl/certs/own-ca.pem`");
        }
        match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), None) => wrong(id.span(), "the `secret_access_key` of this key is missing", "add it"),
            (None, Some(secret)) => wrong(secret.span(), "the `access_key_id` of this key is missing", "add it"),
            (None, None) => {
                if let Some(token) = &self.session_token {
                    wrong(token.span(), "a token belongs to keys", "add `access_key_id` and `secret_access_key`");
                }
            }
            (Some(_), Some(_)) => {}
        }
        if let (Some(profile), Some(_)) = (&self.profile, &self.access_key_id) {
            wrong(profile.span(), "credentials come from a profile or from keys", "leave one of them out");
        }
        if let Some(sse) = self.sse.as_ref().filter(|sse| !["AES256", "aws:kms"].contains(&sse.as_str())) {
            wrong(sse.span(), &format!("`{}` is not one of the choices here", **sse), "known here: AES256, aws:kms");
        }
        if let Some(key) = self.sse_kms_key_id.as_ref()
            && self.sse.as_ref().is_none_or(|sse| sse.as_str() != "aws:kms")
        {
            wrong(key.span(), "a key of KMS belongs to `sse = \"aws:kms\"`", "add `sse = \"aws:kms\"`");
        }
        problems
    }

    /// The keys that only a bucket has a use for.
    fn of_s3(&self) -> Vec<(&'static str, std::ops::Range<usize>)> {
        fn at<T>(name: &'static str, value: &Option<Located<T>>) -> Option<(&'static str, std::ops::Range<usize>)> {
            value.as_ref().map(|value| (name, value.span()))
        }
        let all = [
            at("endpoint", &self.endpoint),
            at("region", &self.region),
            at("path_style", &self.path_style),
            at("profile", &self.profile),
            at("ca_file", &self.ca_file),
            at("access_key_id", &self.access_key_id),
            at("secret_access_key", &self.secret_access_key),
            at("session_token", &self.session_token),
            at("storage_class", &self.storage_class),
            at("sse", &self.sse),
            at("sse_kms_key_id", &self.sse_kms_key_id),
        ];
        all.into_iter().flatten().collect()
    }

    /// The keys, where there are some; `None` where they can't be read, which has been told then.
    fn keys(&self, cx: &mut BuildCx<'_>) -> Option<Option<Keys>> {
        let mut read = |source: &Option<Located<SecretSource>>| match source {
            Some(source) => Secret::read(source, cx).map(Some),
            None => Some(None),
        };
        let (id, secret, token) = (read(&self.access_key_id), read(&self.secret_access_key), read(&self.session_token));
        let (id, secret, token) = (id?, secret?, token?);
        let text = |secret: Secret| secret.reveal().to_owned();
        let pair = id.zip(secret);
        Some(pair.map(|(id, secret)| Keys::new(text(id), text(secret), token.map(text))))
    }

    fn settings(self, bucket: String, prefix: String) -> S3Settings {
        let text = |value: Option<Located<String>>| value.map(Located::into_inner);
        S3Settings {
            endpoint: text(self.endpoint),
            region: text(self.region),
            path_style: self.path_style.map(Located::into_inner),
            profile: text(self.profile),
            ca_file: text(self.ca_file).map(Into::into),
            storage_class: text(self.storage_class),
            sse: text(self.sse),
            sse_kms_key_id: text(self.sse_kms_key_id),
            ..S3Settings::new(bucket, prefix)
        }
    }
}

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c);
    rest.is_some_and(|rest| {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        !rest.is_empty() && !rest.contains(odd)
    })
}

fn in_words(error: Error, span: std::ops::Range<usize>) -> Problem {
    let problem = Problem::at(span, error.chain());
    match error.hint_text() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// Opens a repository by its URL alone, as on a command line. `environment` gives the variables that
/// the AWS tools know: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_DEFAULT_REGION`,
/// `AWS_PROFILE`, `AWS_CA_BUNDLE`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
/// Nothing is asked of the repository yet.
///
/// # Errors
/// When the URL is none, or of a kind that this reseed was built without.
pub fn open(url: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<Arc<dyn Store>> {
    let address = Address::parse(url).map_err(|error| Error::refused(error.to_string()).hint(error.hint()))?;
    let (bucket, prefix) = match address {
        Address::File(path) => return Ok(Arc::new(FileStore::new(path))),
        Address::S3 { bucket, prefix } => (bucket, prefix),
    };
    let first = |names: &[&str]| names.iter().find_map(|name| environment(name).filter(|value| !value.is_empty()));
    let pair = first(&["AWS_ACCESS_KEY_ID"]).zip(first(&["AWS_SECRET_ACCESS_KEY"]));
    s3_store(S3Settings {
        endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
        profile: first(&["AWS_PROFILE"]).filter(|_| pair.is_none()),
        ca_file: first(&["AWS_CA_BUNDLE"]).map(Into::into),
        keys: pair.map(|(id, secret)| Keys::new(id, secret, first(&["AWS_SESSION_TOKEN"]))),
        ..S3Settings::new(bucket, prefix)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reseed_core::config;

    use super::*;

    /// The problems of a repository's table, as text.
    fn problems(table: &str) -> Vec<String> {
        let text = format!("name = \"t\"\n[repositories.r]\n{table}\n[[stage]]\nuse = \"hash\"\n");
        let found = config::load(&text, &BTreeMap::new()).err().unwrap_or_default();
        let in_table = |problem: &&Problem| {
            let end = text.find("[[stage]]").unwrap_or_default();
            problem.span.as_ref().is_some_and(|span| span.start < end)
        };
        found.iter().filter(in_table).map(|problem| problem.message.clone()).collect()
    }

    #[test]
    fn a_repository_is_a_directory_or_a_bucket() {
        assert_eq!(problems("url = \"file:///srv/reseed\""), Vec::<String>::new());
        #[cfg(feature = "s3")]
        assert_eq!(
            problems("url = \"s3://bucket/pg\"\nendpoint = \"http://127.0.0.1:8333/\"\npath_style = true"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_mistake_is_told_where_it_is() {
        assert_eq!(problems("url = \"/srv\""), ["`/srv` is no address of a repository"]);
        assert_eq!(problems(""), ["the key `url` is missing"]);
        assert_eq!(problems("url = \"file:///srv\"\nregion = \"x\""), ["`region` is of no use to a directory"]);
        assert_eq!(
            problems("url = \"s3://bucket\"\nendpoint = \"s3.example.org\"\nca_file = \"ca.pem\"\nsse = \"x\""),
            [
                "an endpoint is a URL without a path",
                "a CA file is named by an absolute path",
                "`x` is not one of the choices here"
            ]
        );
        let alone = "url = \"s3://bucket\"\naccess_key_id = { env = \"PATH\" }";
        assert_eq!(problems(alone), ["the `secret_access_key` of this key is missing"]);
        let plain = "url = \"s3://bucket\"\nsecret_access_key = \"hunter2\"";
        assert_eq!(problems(plain), ["a secret does not stand in the file itself"]);
    }

    #[test]
    fn a_key_that_is_none_is_told_and_no_secret_with_it() {
        let public = "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        assert_eq!(problems(&format!("url = \"file:///srv\"\ntrusted = [\"{public}\"]")), Vec::<String>::new());
        let wrong =
            "recipients = [\"age1x\"]\ntrusted = [\"x\"]\nidentity = { env = \"PATH\" }\nsign = { env = \"PATH\" }";
        assert_eq!(
            problems(&format!("url = \"file:///srv\"\n{wrong}")),
            [
                "`age1x` is no public key of age",
                "`x` is no public key of Ed25519",
                "this is no identity of age",
                "this is no secret key of Ed25519 in PEM"
            ]
        );
    }

    #[cfg(feature = "s3")]
    #[test]
    fn a_url_and_the_environment_are_enough_on_a_command_line() {
        let set = |name: &str| match name {
            "AWS_ENDPOINT_URL" => Some("http://127.0.0.1:1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("hunter2".to_owned()),
            _ => None,
        };
        let store = open("s3://bucket/pg/", &set).unwrap();
        assert_eq!(store.url(), "s3://bucket/pg");
        assert!(!format!("{store:?}").contains("hunter2"));
        let error = open("bucket", &set).unwrap_err();
        assert_eq!(error.hint_text(), Some("it is written `s3://bucket/prefix` or `file:///path`"));
    }
}
