//! The host `ssh` in a pipeline file.

use std::sync::Arc;

use reseed_core::config::{BuildCx, Located, Period, Problem};
use reseed_core::host::Become;
use reseed_core::register_resource;
use reseed_core::registry::{HostResource, ResourceConfig};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::SshHost;

/// A machine that is reached over SSH, by the operator's own OpenSSH client and its configuration.
/// Its host key must be known already; reseed never accepts a new one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshConfig {
    /// Where it is: `host`, `user@host`, or a host of `ssh_config`.
    pub address: Located<String>,
    /// The port, where it is not the one of `ssh_config` or 22.
    #[serde(default)]
    pub port: Option<u16>,
    /// The user, where it is neither in the address nor in `ssh_config`.
    #[serde(default)]
    pub user: Option<Located<String>>,
    /// The private key; only this one is tried then. It must not need a passphrase, unless an agent holds it.
    #[serde(default)]
    pub identity_file: Option<String>,
    /// The file of known host keys, where it is not the operator's own.
    #[serde(default)]
    pub known_hosts: Option<String>,
    /// The client's configuration file, where it is not the operator's own.
    #[serde(default)]
    pub config_file: Option<String>,
    /// Hosts to go through, in order, each as an address.
    #[serde(default)]
    pub jump: Vec<Located<String>>,
    /// How commands that need root, or another user, get it there: `sudo` or `doas`.
    #[serde(default, rename = "become")]
    pub become_: Option<Become>,
    /// How long to wait for a connection.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Period,
    /// How often a silent connection is tested; three failures end it.
    #[serde(default = "default_keep_alive")]
    pub keep_alive: Period,
}

register_resource!(SshConfig);

impl SshConfig {
    /// A host at this address with everything else as it is by default.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: Located::nowhere(address.into()),
            port: None,
            user: None,
            identity_file: None,
            known_hosts: None,
            config_file: None,
            jump: vec![],
            become_: None,
            connect_timeout: default_connect_timeout(),
            keep_alive: default_keep_alive(),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for address in self.jump.iter().chain([&self.address]) {
            problems.extend(address_problem(address).map(|text| Problem::at(address.span(), text)));
        }
        if let Some(user) = &self.user {
            let text = match self.address.contains('@') {
                true => Some("the address names a user already".to_owned()),
                false => (!is_user(user)).then(|| format!("`{}` is no name of a user", **user)),
            };
            problems.extend(text.map(|text| Problem::at(user.span(), text)));
        }
        problems
    }
}

fn default_connect_timeout() -> Period {
    Period::seconds(20)
}

fn default_keep_alive() -> Period {
    Period::seconds(15)
}

impl ResourceConfig for SshConfig {
    const TABLE: &'static str = "hosts";
    const USE: Option<&'static str> = Some("ssh");
    type Resource = HostResource;

    fn build(self, name: &str, cx: &mut BuildCx<'_>) -> Option<HostResource> {
        let problems = self.problems();
        let good = problems.is_empty();
        problems.into_iter().for_each(|problem| cx.problem(problem));
        good.then(|| HostResource(Arc::new(SshHost::new(name, self))))
    }
}

/// Why this is no address. Nothing that the client could take for an option may pass, and nothing
/// that a shell in its configuration could take for more than a name.
fn address_problem(address: &str) -> Option<String> {
    if address.contains("://") {
        return Some("an address is `host` or `user@host`; the port has a key of its own".to_owned());
    }
    let (user, host) = match address.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, address),
    };
    let odd = |c: char| !(c.is_ascii_alphanumeric() || ".-_:[]%".contains(c));
    let bad_host = host.is_empty() || host.starts_with('-') || host.contains(odd);
    if bad_host || user.is_some_and(|user| !is_user(user)) {
        return Some(format!("`{address}` is no address: it is written `host` or `user@host`"));
    }
    None
}

fn is_user(user: &str) -> bool {
    let odd = |c: char| !(c.is_ascii_alphanumeric() || "._-+@".contains(c));
    !user.is_empty() && !user.starts_with('-') && !user.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_a_user() {
        for good in ["db1", "db1.example.org", "zfssync@10.0.0.1", "op@::1", "a@b@host", "fe80::1%eth0"] {
            assert_eq!(address_problem(good), None, "{good}");
        }
    }

    #[test]
    fn nothing_that_is_an_option_or_a_command_is_an_address() {
        for bad in ["", "-oProxyCommand=x", "op@-oProxyCommand=x", "-l@host", "@host", "op@", "a b", "h;id", "ssh://h"]
        {
            assert!(address_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_user_is_named_once() {
        let twice = SshConfig { user: Some(Located::nowhere("b".into())), ..SshConfig::new("a@host") };
        assert_eq!(twice.problems().len(), 1);
        let once = SshConfig { user: Some(Located::nowhere("b".into())), ..SshConfig::new("host") };
        assert!(once.problems().is_empty());
    }
}
