//! How a bucket is reached and what its objects get, as a repository's table says it.

use std::collections::BTreeMap;
use std::ops::Range;

use reseed_core::config::{BuildCx, Located, Problem, Secret, SecretSource};

use super::{LockConfig, RepositoryConfig};
use crate::store::{CustomerKey, Keys, ObjectLock, Proxy, S3Settings};

/// What stands in the place of a proxy where there shall be none.
const STRAIGHT: &str = "none";

pub(super) const OF_SSE_C: &str = "`openssl rand -base64 32` makes one";

/// What of a table stands in files and variables.
pub(super) struct Secrets {
    keys: Option<Keys>,
    sse_c: Option<CustomerKey>,
    login: Option<(String, String)>,
}

impl RepositoryConfig {
    pub(super) fn problems(&self, is_file: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut wrong = |span, text: &str, hint: &str| problems.push(Problem::at(span, text).hint(hint));
        if is_file {
            for (name, span) in self.of_s3() {
                wrong(span, &format!("`{name}` is of no use to a directory"), "leave it out, or name an `s3://` URL");
            }
            return problems;
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
        self.problems_of_objects(&mut wrong);
        if let (None, Some(login)) = (&self.proxy, &self.proxy_login) {
            wrong(login.span(), "a login belongs to a `proxy`", "add `proxy`");
        }
        problems.extend(self.problems_of_urls());
        problems
    }

    /// Of URLs that may hold a password: none of them is shown then.
    fn problems_of_urls(&self) -> Vec<Problem> {
        let wrong = |url: &Located<String>, text: &str, hint: &str| {
            let problem = Problem::at(url.span(), text).hint(hint);
            if url.contains('@') { problem.private() } else { problem }
        };
        let endpoint = self.endpoint.as_ref().filter(|url| !is_endpoint(url)).map(|url| {
            let hint =
                "for example `https://s3.example.org:9000`; keys go into `access_key_id` and `secret_access_key`";
            wrong(url, "an endpoint is a URL without a path", hint)
        });
        let proxy = self.proxy.as_ref().filter(|url| url.as_str() != STRAIGHT && !is_endpoint(url)).map(|url| {
            let hint = "for example `http://proxy.example.org:3128`; user and password go into `proxy_login`";
            wrong(url, "a proxy is a URL without a path, or `none`", hint)
        });
        endpoint.into_iter().chain(proxy).collect()
    }

    fn problems_of_objects(&self, wrong: &mut impl FnMut(Range<usize>, &str, &str)) {
        if let (Some(key), Some(_)) = (&self.sse_c_key, &self.sse) {
            wrong(key.span(), "the server encrypts by `sse` or by a key of your own", "leave one of them out");
        }
        if let Some(tags) = self.tags.as_ref().filter(|tags| !are_tags(tags)) {
            let what = "S3 takes ten tags, with names of 1 to 128 letters and values of at most 256";
            wrong(tags.span(), what, "for example `tags = { team = \"data\" }`");
        }
        if let Some(lock) = self.object_lock.as_ref().filter(|lock| lock.keep.0.is_zero()) {
            wrong(lock.span(), "a lock holds for a time", "for example `keep = \"720h\"`");
        }
    }

    /// The keys that only a bucket has a use for.
    fn of_s3(&self) -> Vec<(&'static str, Range<usize>)> {
        fn at<T>(name: &'static str, value: &Option<Located<T>>) -> Option<(&'static str, Range<usize>)> {
            value.as_ref().map(|value| (name, value.span()))
        }
        let all = [
            at("endpoint", &self.endpoint),
            at("region", &self.region),
            at("path_style", &self.path_style),
            at("conditional_writes", &self.conditional_writes),
            at("profile", &self.profile),
            at("ca_file", &self.ca_file),
            at("access_key_id", &self.access_key_id),
            at("secret_access_key", &self.secret_access_key),
            at("session_token", &self.session_token),
            at("storage_class", &self.storage_class),
            at("sse", &self.sse),
            at("sse_kms_key_id", &self.sse_kms_key_id),
            at("sse_c_key", &self.sse_c_key),
            at("object_lock", &self.object_lock),
            at("legal_hold", &self.legal_hold),
            at("tags", &self.tags),
            at("proxy", &self.proxy),
            at("proxy_login", &self.proxy_login),
        ];
        all.into_iter().flatten().collect()
    }

    /// What stands in files and variables; `None` where something can't be read or is not right, which has been
    /// told then.
    pub(super) fn secrets(&self, cx: &mut BuildCx<'_>) -> Option<Secrets> {
        let mut read = |source: &Option<Located<SecretSource>>| match source {
            Some(source) => Secret::read(source, cx).map(Some),
            None => Some(None),
        };
        let (id, secret, token) = (read(&self.access_key_id), read(&self.secret_access_key), read(&self.session_token));
        let (own, login) = (read(&self.sse_c_key), read(&self.proxy_login));
        let (id, secret, token, own, login) = (id?, secret?, token?, own?, login?);
        let text = |secret: Secret| secret.reveal().to_owned();
        let keys = id.zip(secret).map(|(id, secret)| Keys::new(text(id), text(secret), token.map(text)));
        let mut right = |source: &Option<Located<SecretSource>>, why: String, hint: &str| {
            let span = source.as_ref().map(Located::span).unwrap_or_default();
            cx.problem(Problem::at(span, why).hint(hint));
        };
        let sse_c = own.map(|key| CustomerKey::parse(key.reveal())).transpose();
        let sse_c = sse_c.map_err(|why| right(&self.sse_c_key, why, OF_SSE_C));
        let pair =
            |login: Secret| login.reveal().split_once(':').map(|(user, word)| (user.to_owned(), word.to_owned()));
        let login = login.map(|login| pair(login).ok_or(())).transpose();
        let login = login.map_err(|()| right(&self.proxy_login, "this is no login".to_owned(), "user:password"));
        Some(Secrets { keys, sse_c: sse_c.ok()?, login: login.ok()? })
    }

    pub(super) fn settings(self, bucket: String, prefix: String, secrets: Secrets) -> S3Settings {
        let text = |value: Option<Located<String>>| value.map(Located::into_inner);
        let lock = |lock: Located<LockConfig>| ObjectLock { mode: lock.mode, keep: lock.keep.0 };
        S3Settings {
            endpoint: text(self.endpoint),
            region: text(self.region),
            path_style: self.path_style.map(Located::into_inner),
            profile: text(self.profile),
            ca_file: text(self.ca_file).map(Into::into),
            keys: secrets.keys,
            storage_class: text(self.storage_class),
            sse: text(self.sse),
            sse_kms_key_id: text(self.sse_kms_key_id),
            sse_c_key: secrets.sse_c,
            object_lock: self.object_lock.map(lock),
            legal_hold: self.legal_hold.is_some_and(Located::into_inner),
            tags: self.tags.map(Located::into_inner).unwrap_or_default(),
            proxy: match text(self.proxy) {
                None => Proxy::Environment,
                Some(url) if url == STRAIGHT => Proxy::Straight,
                Some(url) => Proxy::Url { url, login: secrets.login },
            },
            ..S3Settings::new(bucket, prefix)
        }
    }
}

fn are_tags(tags: &BTreeMap<String, String>) -> bool {
    let fits =
        |(name, value): (&String, &String)| (1..=128).contains(&name.chars().count()) && value.chars().count() <= 256;
    tags.len() <= 10 && tags.iter().all(fits)
}

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/?#@".contains(c);
    rest.is_some_and(|rest| {
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        !rest.is_empty() && !rest.contains(odd)
    })
}
