//! TLS to a server: libpq's settings with libpq's meanings.
//!
//! Settings: <https://www.postgresql.org/docs/current/libpq-ssl.html>. Two things are stricter here: a
//! file that was named and is not there is an error where TLS is required, and what can't be honoured
//! (`sslcrldir`, an encrypted key) is refused instead of passed over.

mod files;
mod mode;
mod said;
mod trust;

use std::sync::Arc;

use reseed_core::{Error, Result};
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Conninfo;
pub(super) use mode::{Mode, Way};
pub(super) use said::{explain, is_of_tls};
use trust::Trust;

/// By this name a client says which protocol it wants inside TLS; `sslnegotiation=direct` needs it.
const ALPN: &[u8] = b"postgresql";

/// What wraps a connection in TLS by these settings.
///
/// # Errors
/// When a file can't be used, or a setting can't be honoured.
pub(super) fn connector(settings: &Conninfo, mode: Mode) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let trust = Trust::new(files::roots(settings, mode)?, files::revoked(settings)?, mode, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions(settings)?);
    let builder = builder.map_err(unusable)?.dangerous().with_custom_certificate_verifier(Arc::new(trust));
    let mut config = match files::identity(settings)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            unusable(error).hint("`sslkey` must be the key of the certificate in `sslcert`, unencrypted, in PEM")
        })?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = settings.get("sslsni") != Some("0");
    Ok(MakeRustlsConnect::new(config))
}

fn unusable(error: rustls::Error) -> Error {
    Error::failed("the TLS settings can't be used").because(error)
}

/// The versions of the protocol that `ssl_min_protocol_version` and `ssl_max_protocol_version` leave.
/// Those before 1.2 are not spoken, as they are not by libpq's default.
fn versions(settings: &Conninfo) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let bound = |key: &str, default: u8| match settings.get(key) {
        None => Ok(default),
        Some("TLSv1" | "TLSv1.1") => Ok(1),
        Some("TLSv1.2") => Ok(2),
        Some("TLSv1.3") => Ok(3),
        Some(other) => Err(Error::failed(format!("`{key}={other}` is no version of TLS")).hint("TLSv1.2 or TLSv1.3")),
    };
    match (bound("ssl_min_protocol_version", 2)?, bound("ssl_max_protocol_version", 3)?) {
        (3, 3) => Ok(vec![&TLS13]),
        (1 | 2, 3) => Ok(vec![&TLS13, &TLS12]),
        (1 | 2, 2) => Ok(vec![&TLS12]),
        _ => Err(Error::failed("ssl_min_protocol_version and ssl_max_protocol_version leave no version of TLS")
            .hint("reseed speaks TLSv1.2 and TLSv1.3")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Option<usize> {
        versions(&Conninfo::parse(text).unwrap()).ok().map(|versions| versions.len())
    }

    #[test]
    fn versions_are_what_both_bounds_leave() {
        assert_eq!(count(""), Some(2));
        assert_eq!(count("ssl_min_protocol_version=TLSv1"), Some(2));
        assert_eq!(count("ssl_min_protocol_version=TLSv1.3"), Some(1));
        assert_eq!(count("ssl_max_protocol_version=TLSv1.2"), Some(1));
        assert_eq!(count("ssl_max_protocol_version=TLSv1.1"), None);
        assert_eq!(count("ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2"), None);
        assert_eq!(count("ssl_min_protocol_version=SSLv3"), None);
    }
}
