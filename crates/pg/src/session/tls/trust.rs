//! Whether a server's certificate is believed.
//!
//! What libpq takes and the stock verifier does not is judged here: a certificate that is itself among
//! the trusted ones (self-signed, as PostgreSQL's documentation makes it), a host name in the common
//! name of one without alternative names, and, where nothing is verified, one of X.509 version 1.

use std::sync::Arc;

use reseed_core::{Error, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, OtherError, SignatureScheme};
use x509_cert::certificate::Version;
use x509_cert::der::{Decode, Encode};

use super::Mode;
use super::files::Roots;
use super::said::Unfit;
use names::Names;

mod names;

/// Judges certificates by one connection's settings.
#[derive(Debug)]
pub(super) struct Trust {
    /// Who may have signed; where there is none, anyone may.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that are trusted as they are.
    trusted: Vec<CertificateDer<'static>>,
    /// Whether the name is verified.
    names: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

type Verdict<T> = std::result::Result<T, TlsError>;

impl Trust {
    pub fn new(
        roots: Option<Roots>,
        revoked: Vec<CertificateRevocationListDer<'static>>,
        mode: Mode,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let (store, trusted) = roots.map(|roots| (roots.store, roots.each)).unzip();
        let chain = store.map(|store| {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
            builder.with_crls(revoked).build()
        });
        let chain =
            chain.transpose().map_err(|error| Error::failed("the TLS settings can't be used").because(error))?;
        Ok(Self {
            chain,
            trusted: trusted.unwrap_or_default(),
            names: mode == Mode::VerifyFull,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Verdict<ServerCertVerified> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.trusted.iter().any(|trusted| trusted == shown) {
            in_time(shown, now)?;
        } else if is_version_1(shown) {
            return Err(unfit(Unfit::Version1));
        } else {
            match chain.verify_server_cert(shown, between, host, ocsp, now) {
                // The name is the last that it looks at; whether it counts is judged below.
                Err(error) if !is_of_name(&error) => return Err(error),
                _ => {}
            }
        }
        if self.names {
            is_for(shown, host)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Verdict<HandshakeSignatureValid> {
        verify_tls12_signature(message, shown, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Verdict<HandshakeSignatureValid> {
        match version_1_key(shown) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms),
            None => verify_tls13_signature(message, shown, dss, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn unfit(why: Unfit) -> TlsError {
    TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

fn is_of_name(error: &TlsError) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(error, TlsError::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }))
}

/// That a certificate which is trusted as it is has not run out.
fn in_time(shown: &CertificateDer<'_>, now: UnixTime) -> Verdict<()> {
    let bad = |error: CertificateError| Err(TlsError::InvalidCertificate(error));
    let Some(certificate) = parsed(shown) else { return bad(CertificateError::BadEncoding) };
    let validity = certificate.tbs_certificate.validity;
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return bad(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return bad(CertificateError::Expired);
    }
    Ok(())
}

/// That a certificate is for this host, by its alternative names or, where it has none, by its
/// common name, as libpq has it.
fn is_for(shown: &CertificateDer<'_>, host: &ServerName<'_>) -> Verdict<()> {
    let by_alternatives = ParsedCertificate::try_from(shown).and_then(|parsed| verify_server_name(&parsed, host));
    if by_alternatives.is_ok() {
        return Ok(());
    }
    let names = parsed(shown).map(|certificate| Names::of(&certificate)).unwrap_or_default();
    let host = host.to_str();
    match names.common_fits(&host) {
        true => Ok(()),
        false => Err(unfit(Unfit::Name { host: host.into_owned(), names: names.shown() })),
    }
}

fn parsed(shown: &CertificateDer<'_>) -> Option<x509_cert::Certificate> {
    x509_cert::Certificate::from_der(shown).ok()
}

fn is_version_1(shown: &CertificateDer<'_>) -> bool {
    parsed(shown).is_some_and(|certificate| certificate.tbs_certificate.version == Version::V1)
}

/// The key of a certificate of version 1, which the stock verifier does not read.
fn version_1_key(shown: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let certificate = parsed(shown).filter(|certificate| certificate.tbs_certificate.version == Version::V1)?;
    certificate.tbs_certificate.subject_public_key_info.to_der().ok().map(SubjectPublicKeyInfoDer::from)
}
