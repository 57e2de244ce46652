//! The resource `repositories`: where staged streams are kept, and how it is reached.

mod bucket;
mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;

use reseed_core::config::{BuildCx, Located, Period, Problem, SecretSource};
use reseed_core::registry::ResourceConfig;
use reseed_core::{Error, Result, register_resource};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::address::{Address, AddressError};
use crate::seal::Seal;
use crate::store::{CustomerKey, FileStore, Keys, Lasting, Leased, LockMode, S3Settings, Store, s3_store};

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
    /// Whether the server heeds conditional writes (`If-None-Match: *`); by default it must. With `false` leases,
    /// which are small objects, guard against two runs that put at once: weaker, as it relies on listings
    /// being up to date, and on clocks where a run was killed.
    conditional_writes: Option<Located<bool>>,
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
    /// A key of your own with which the server encrypts and decrypts objects and which it forgets at once
    /// (SSE-C): 32 bytes in base64, as `openssl rand -base64 32` writes them. Without it nothing can be read again.
    sse_c_key: Option<Located<SecretSource>>,
    /// Locks what is put for a time, so that nobody can delete it: the bucket must have object lock. A run that
    /// fails, and pruning, can't free locked objects either.
    object_lock: Option<Located<LockConfig>>,
    /// Locks what is put until somebody lifts that, object by object.
    legal_hold: Option<Located<bool>>,
    /// Tags of new objects, ten at most: `{ team = "data" }`.
    tags: Option<Located<BTreeMap<String, String>>>,
    /// HTTP proxy on the way to the server: `http://proxy.example.org:3128`, or `none`. By default what the
    /// environment says: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`.
    proxy: Option<Located<String>>,
    /// What `proxy` asks for: `user:password`.
    proxy_login: Option<Located<SecretSource>>,
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

/// A lock on new objects.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LockConfig {
    /// `governance`, which a permission of its own can lift, or `compliance`, which nobody can.
    mode: LockMode,
    /// For how long from the writing on: `720h`.
    keep: Period,
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
        let address = Address::parse(&self.url).map_err(|error| {
            let problem = Problem::at(self.url.span(), error.to_string()).hint(error.hint());
            cx.problem(if error == AddressError::Credentials { problem.private() } else { problem });
        });
        let problems = self.problems(matches!(address, Ok(Address::File(_))));
        let good = problems.is_empty();
        problems.into_iter().for_each(|problem| cx.problem(problem));
        let secrets = self.secrets(cx);
        let seal = self.seal(cx);
        let (Ok(address), true, Some(seal)) = (address, good, seal.map(Arc::new)) else { return None };
        match address {
            Address::File(path) => Some(RepositoryResource(Lasting::over(Arc::new(FileStore::new(path))), seal)),
            Address::S3 { bucket, prefix } => {
                let span = self.url.span();
                let leased = self.conditional_writes.as_ref().is_some_and(|heeds| !**heeds);
                let settings = self.settings(bucket, prefix, secrets?);
                let store = s3_store(settings).map_err(|error| cx.problem(in_words(error, span))).ok()?;
                let store = if leased { Leased::over(store) } else { store };
                Some(RepositoryResource(Lasting::over(store), seal))
            }
        }
    }
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
/// `AWS_PROFILE`, `AWS_CA_BUNDLE`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`;
/// and `RESEED_SSE_C_KEY`, the `sse_c_key` of a repository that has one.
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
    let own = first(&["RESEED_SSE_C_KEY"]).map(|key| CustomerKey::parse(&key)).transpose();
    let own = own.map_err(|why| Error::refused(format!("RESEED_SSE_C_KEY: {why}")).hint(bucket::OF_SSE_C))?;
    let pair = first(&["AWS_ACCESS_KEY_ID"]).zip(first(&["AWS_SECRET_ACCESS_KEY"]));
    s3_store(S3Settings {
        endpoint: first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        region: first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
        profile: first(&["AWS_PROFILE"]).filter(|_| pair.is_none()),
        ca_file: first(&["AWS_CA_BUNDLE"]).map(Into::into),
        keys: pair.map(|(id, secret)| Keys::new(id, secret, first(&["AWS_SESSION_TOKEN"]))),
        sse_c_key: own,
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
        found(table).into_iter().map(|problem| problem.message).collect()
    }

    fn found(table: &str) -> Vec<Problem> {
        let text = format!("name = \"t\"\n[repositories.r]\n{table}\n[[stage]]\nuse = \"hash\"\n");
        let found = config::load(&text, &BTreeMap::new()).err().unwrap_or_default();
        let in_table = |problem: &Problem| {
            let end = text.find("[[stage]]").unwrap_or_default();
            problem.span.as_ref().is_some_and(|span| span.start < end)
        };
        found.into_iter().filter(in_table).collect()
    }

    #[test]
    fn a_url_with_a_password_is_not_shown() {
        for url in ["http://me:hunter2@proxy:3128", "http://me:hunter2@proxy/path", "me:hunter2@proxy"] {
            for table in [
                format!("url = \"s3://bucket\"\nproxy = \"{url}\""),
                format!("url = \"s3://bucket\"\nendpoint = \"{url}\""),
                format!("url = \"{}\"", url.replace("http://", "s3://")),
            ] {
                let found = found(&table);
                let told = format!("{found:?}");
                assert!(found.len() == 1 && !told.contains("hunter2"), "{table}: {told}");
                assert!(found[0].private, "{table}: {told}");
            }
        }
        assert!(!found("url = \"s3://bucket\"\nproxy = \"socks5://proxy\"")[0].private);
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
        let wrong = "url = \"s3://bucket\"\nsse = \"AES256\"\nsse_c_key = { env = \"PATH\" }\nproxy = \"socks5://a\"\n\
                     proxy_login = { env = \"PATH\" }\ntags = { \"\" = \"x\" }\n\
                     object_lock = { mode = \"compliance\", keep = \"0s\" }";
        assert_eq!(
            problems(wrong),
            [
                "the server encrypts by `sse` or by a key of your own",
                "this is no key of 32 bytes in base64",
                "a proxy is a URL without a path, or `none`",
                "S3 takes ten tags, with names of 1 to 128 letters and values of at most 256",
                "a lock holds for a time",
            ]
        );
        let login = "url = \"s3://bucket\"\nproxy_login = { env = \"PATH\" }";
        assert_eq!(problems(login), ["a login belongs to a `proxy`"]);
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
