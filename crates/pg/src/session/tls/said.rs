//! What went wrong with TLS, in words that help.

use rustls::{CertificateError, Error as TlsError};

/// Why a certificate is not believed, where the stock verifier has no word for it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// It is of X.509 version 1.
    #[error("it is of X.509 version 1")]
    Version1,
    /// It is for others.
    #[error("it is for {names}, not for {host}")]
    Name {
        /// The host that was asked for.
        host: String,
        /// Those that it is for.
        names: String,
    },
}

/// An error in words, with what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) struct Said {
    /// What is wrong.
    pub text: String,
    /// What helps; `None` where nothing in particular does.
    pub hint: Option<String>,
}

/// The driver's words for a server that answers a request for TLS with no.
const NO_TLS: &str = "server does not support TLS";
/// The driver's words in front of what goes wrong before TLS stands.
const HANDSHAKE: &str = "error performing TLS handshake";

/// The stock verifier's word for an authority's certificate that a server shows as its own. It has no
/// type for it.
const SELF_SIGNED: &str = "CaUsedAsEndEntity";

/// Whether TLS did not come about, for whatever reason.
pub(in crate::session) fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string().starts_with(HANDSHAKE) || tls_error(error).is_some()
}

/// What is wrong with TLS; `None` where it is something else. `direct` says that
/// `sslnegotiation=direct` was asked for.
pub(in crate::session) fn explain(error: &tokio_postgres::Error, direct: bool) -> Option<Said> {
    if !is_of_tls(error) {
        return None;
    }
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Some(match tls_error(error) {
        Some(TlsError::InvalidCertificate(error)) => of_certificate(error),
        Some(TlsError::AlertReceived(alert)) => said(
            format!("the server breaks TLS off: {alert:?}"),
            "if it asks for a certificate, name one that its ssl_ca_file knows: `sslcert=/path sslkey=/path`",
        ),
        _ if cause == NO_TLS => said(
            "the server speaks no TLS (ssl = off)",
            "give the server a certificate and `ssl = on`, or write `sslmode=prefer` if TLS is not needed",
        ),
        _ if direct => said(
            format!("TLS does not come about: {cause}"),
            "PostgreSQL knows sslnegotiation=direct from 17 on: leave it out for older servers",
        ),
        _ => Said { text: format!("TLS does not come about: {cause}"), hint: None },
    })
}

fn said(text: impl Into<String>, hint: &str) -> Said {
    Said { text: text.into(), hint: Some(hint.to_owned()) }
}

/// The error of TLS among the causes. It is wrapped in one of input and output, which hides it
/// behind `get_ref`.
fn tls_error(error: &tokio_postgres::Error) -> Option<&TlsError> {
    let io = std::error::Error::source(error)?.downcast_ref::<std::io::Error>()?;
    io.get_ref()?.downcast_ref()
}

fn of_certificate(error: &CertificateError) -> Said {
    use CertificateError as E;
    let unfit = match error {
        E::Other(other) => other.0.downcast_ref::<Unfit>(),
        _ => None,
    };
    match (unfit, error) {
        (Some(why @ Unfit::Name { .. }), _) => said(
            format!("the server's certificate is another host's: {why}"),
            "write the name of the certificate as `host=`, and the address, if it differs, as `hostaddr=`",
        ),
        (Some(why @ Unfit::Version1), _) => said(
            format!("the server's certificate can't be verified: {why}"),
            "sign it anew with an extension: openssl x509 -req … -extfile FILE, with \
             `subjectAltName = DNS:name` in FILE",
        ),
        (None, E::UnknownIssuer) => said(
            "the server's certificate is signed by none of the known authorities",
            "let `sslrootcert=/path` name the certificate of the authority that signed it",
        ),
        (None, E::Expired | E::ExpiredContext { .. }) => {
            said("the server's certificate has run out", "renew it on the server, and SELECT pg_reload_conf()")
        }
        (None, E::NotValidYet | E::NotValidYetContext { .. }) => {
            said("the server's certificate is not valid yet", "compare the clocks of both machines")
        }
        (None, E::Revoked) => said("the server's certificate has been revoked", "renew it on the server"),
        (None, E::UnknownRevocationStatus) => said(
            "the revocation list of `sslcrl` is not of the authority that signed the server's certificate",
            "let `sslcrl=/path` name a file with a list of every authority",
        ),
        (None, other) if format!("{other:?}").contains(SELF_SIGNED) => said(
            "the server's certificate is signed by itself and not among the known ones",
            "let `sslrootcert=/path` name a copy of that very certificate, or have an authority sign it",
        ),
        (None, other) => Said { text: format!("the server's certificate can't be verified: {other}"), hint: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_with_what_helps() {
        let unfit = |why: Unfit| CertificateError::Other(rustls::OtherError(std::sync::Arc::new(why)));
        let name = of_certificate(&unfit(Unfit::Name { host: "a".into(), names: "b, c".into() }));
        assert_eq!(name.text, "the server's certificate is another host's: it is for b, c, not for a");
        assert!(name.hint.unwrap().contains("hostaddr="));
        assert!(of_certificate(&unfit(Unfit::Version1)).hint.unwrap().contains("subjectAltName"));
        assert!(of_certificate(&CertificateError::UnknownIssuer).hint.unwrap().contains("sslrootcert="));
        assert!(of_certificate(&CertificateError::BadEncoding).text.contains("can't be verified"));
    }
}
