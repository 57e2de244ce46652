//! `sslmode`: whether TLS is tried, must be, and what is verified.

use reseed_core::{Error, Result};

use super::super::Conninfo;

/// `sslmode`, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Never TLS.
    Disable,
    /// TLS only where the server takes nothing else.
    Allow,
    /// TLS first, and without it where that fails.
    Prefer,
    /// TLS or nothing; who signed is verified where an authority is known.
    Require,
    /// TLS, signed by a known authority.
    VerifyCa,
    /// TLS, signed by a known authority for this very host.
    VerifyFull,
}

/// One way to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls,
}

const NAMES: [(&str, Mode); 6] = [
    ("disable", Mode::Disable),
    ("allow", Mode::Allow),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

impl Mode {
    /// The mode of these settings.
    ///
    /// # Errors
    /// When it is unknown, or weaker than another setting demands.
    pub fn of(settings: &Conninfo) -> Result<Self> {
        let system = settings.get("sslrootcert") == Some("system");
        let mode = match settings.get("sslmode") {
            None if system => Self::VerifyFull,
            None => Self::Prefer,
            Some(text) => Self::named(text)?,
        };
        if system && mode < Self::VerifyFull {
            return Err(mode.too_weak("sslrootcert=system", "verify-full"));
        }
        match settings.get("sslnegotiation") {
            None | Some("postgres") => Ok(mode),
            Some("direct") if mode >= Self::Require => Ok(mode),
            Some("direct") => Err(mode.too_weak("sslnegotiation=direct", "require")),
            Some(other) => {
                Err(Error::failed(format!("`sslnegotiation={other}` is unknown")).hint("`postgres` or `direct`"))
            }
        }
    }

    fn named(text: &str) -> Result<Self> {
        let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, mode)| *mode);
        found.ok_or_else(|| {
            let known = NAMES.map(|(name, _)| name).join(", ");
            Error::failed(format!("`sslmode={text}` is unknown")).hint(format!("one of: {known}"))
        })
    }

    fn too_weak(self, for_what: &str, least: &str) -> Error {
        Error::failed(format!("sslmode={} is too weak for {for_what}", self.name()))
            .hint(format!("write `sslmode={least}`"))
    }

    /// As in a connection string.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }

    /// How to connect, and how where that way leads nowhere.
    pub fn ways(self) -> (Way, Option<Way>) {
        match self {
            Self::Disable => (Way::Plain, None),
            Self::Allow => (Way::Plain, Some(Way::Tls)),
            Self::Prefer => (Way::Tls, Some(Way::Plain)),
            Self::Require | Self::VerifyCa | Self::VerifyFull => (Way::Tls, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> Result<&'static str, String> {
        Mode::of(&Conninfo::parse(text).unwrap()).map(Mode::name).map_err(|error| error.to_string())
    }

    #[test]
    fn every_mode_has_its_name_and_prefer_is_the_default() {
        for (name, _) in NAMES {
            assert_eq!(mode(&format!("sslmode={name}")).as_deref(), Ok(name));
        }
        assert_eq!(mode("").as_deref(), Ok("prefer"));
        assert_eq!(mode("sslmode=nonsense").unwrap_err(), "`sslmode=nonsense` is unknown");
    }

    #[test]
    fn the_system_s_authorities_verify_fully_or_not_at_all() {
        assert_eq!(mode("sslrootcert=system").as_deref(), Ok("verify-full"));
        assert_eq!(
            mode("sslrootcert=system sslmode=verify-ca").unwrap_err(),
            "sslmode=verify-ca is too weak for sslrootcert=system"
        );
    }

    #[test]
    fn direct_negotiation_has_no_way_back() {
        assert_eq!(mode("sslnegotiation=direct sslmode=require").as_deref(), Ok("require"));
        assert!(mode("sslnegotiation=direct").unwrap_err().contains("too weak"));
        assert!(mode("sslnegotiation=x").unwrap_err().contains("unknown"));
    }

    #[test]
    fn only_modes_that_may_go_without_have_a_second_way() {
        assert_eq!(Mode::Prefer.ways(), (Way::Tls, Some(Way::Plain)));
        assert_eq!(Mode::Allow.ways(), (Way::Plain, Some(Way::Tls)));
        for mode in [Mode::Require, Mode::VerifyCa, Mode::VerifyFull] {
            assert_eq!(mode.ways(), (Way::Tls, None));
        }
    }
}
