//! The files that the settings of TLS name, in PEM; by default those in `~/.postgresql`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use reseed_core::{Error, Result};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::super::Conninfo;
use super::Mode;

/// Certificates of authorities.
#[derive(Debug)]
pub(super) struct Roots {
    /// What a chain may end at.
    pub store: RootCertStore,
    /// The same one by one: a server may show one of them itself.
    pub each: Vec<CertificateDer<'static>>,
}

/// A certificate with those that lead to its authority, and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The authorities of `sslrootcert`; `None` where none is named or there by default, and none needed.
pub(super) fn roots(settings: &Conninfo, mode: Mode) -> Result<Option<Roots>> {
    if settings.get("sslrootcert") == Some("system") {
        return system().map(Some);
    }
    let file = File::of(settings, "sslrootcert", "root.crt");
    let needed = mode >= Mode::VerifyCa || (file.named && mode >= Mode::Require);
    match file.read()? {
        Some(pem) => file.roots(&pem).map(Some),
        None if needed => Err(file.missing()),
        None => Ok(None),
    }
}

/// What the operating system trusts.
fn system() -> Result<Roots> {
    let each = rustls_native_certs::load_native_certs().certs;
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(each.iter().cloned());
    match store.is_empty() {
        false => Ok(Roots { store, each }),
        true => Err(Error::failed("the system has no certificates of authorities, which sslrootcert=system needs")
            .hint("apt-get install ca-certificates")),
    }
}

/// Revocation lists of `sslcrl`.
pub(super) fn revoked(settings: &Conninfo) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    if settings.get("sslcrldir").is_some() {
        return Err(Error::failed("`sslcrldir` is not supported")
            .hint("put the revocation lists into one file and name it: `sslcrl=/path/root.crl`"));
    }
    let file = File::of(settings, "sslcrl", "root.crl");
    match file.read()? {
        Some(pem) => file.all(&pem),
        None if file.named => Err(file.missing()),
        None => Ok(vec![]),
    }
}

/// Certificate and key of `sslcert` and `sslkey`, to show to the server.
pub(super) fn identity(settings: &Conninfo) -> Result<Option<Identity>> {
    match settings.get("sslcertmode") {
        None | Some("allow") => {}
        Some("disable") => return Ok(None),
        Some(other) => {
            let error = Error::failed(format!("`sslcertmode={other}` is not supported"));
            return Err(error.hint("`allow` or `disable`"));
        }
    }
    let (certificate, key) =
        (File::of(settings, "sslcert", "postgresql.crt"), File::of(settings, "sslkey", "postgresql.key"));
    let Some(chain) = certificate.read()? else {
        return if certificate.named { Err(certificate.missing()) } else { Ok(None) };
    };
    key.is_private()?;
    let pem = key.read()?.ok_or_else(|| key.missing())?;
    Ok(Some((certificate.all(&chain)?, key.key(&pem)?)))
}

/// A file of one setting.
struct File {
    setting: &'static str,
    path: Option<PathBuf>,
    /// Whether it was named; else it is the default one, which need not be there.
    named: bool,
}

impl File {
    fn of(settings: &Conninfo, setting: &'static str, default: &str) -> Self {
        let named = settings.get(setting).map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".postgresql").join(default));
        Self { setting, named: named.is_some(), path: named.or_else(home) }
    }

    /// As messages name it.
    fn shown(&self) -> String {
        let path = self.path.as_deref().map(|path| path.display().to_string());
        path.unwrap_or_else(|| "without a home directory, no file".to_owned())
    }

    /// Its content; `None` where it is not there.
    fn read(&self) -> Result<Option<Vec<u8>>> {
        let Some(path) = &self.path else { return Ok(None) };
        match std::fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unusable().because(error)),
        }
    }

    fn unusable(&self) -> Error {
        Error::failed(format!("{} of `{}` can't be used", self.shown(), self.setting))
            .hint(format!("see the file, or name another: `{}=/path`", self.setting))
    }

    fn missing(&self) -> Error {
        let what = match self.setting {
            "sslrootcert" => "the certificate of the authority that signed the server's",
            "sslkey" => "the key of the certificate in `sslcert`",
            _ => "it",
        };
        Error::failed(format!("{} is not there, which is `{}`", self.shown(), self.setting))
            .hint(format!("name {what}: `{}=/path`", self.setting))
    }

    /// Every item of one sort; at least one.
    fn all<T: PemObject>(&self, pem: &[u8]) -> Result<Vec<T>> {
        let items: Result<Vec<T>, _> = T::pem_slice_iter(pem).collect();
        match items {
            Ok(items) if items.is_empty() => Err(self.unusable().because("there is none in it, in PEM")),
            Ok(items) => Ok(items),
            Err(error) => Err(self.unusable().because(error)),
        }
    }

    fn roots(&self, pem: &[u8]) -> Result<Roots> {
        let each: Vec<CertificateDer<'static>> = self.all(pem)?;
        let mut store = RootCertStore::empty();
        for certificate in &each {
            store.add(certificate.clone()).map_err(|error| self.unusable().because(error))?;
        }
        Ok(Roots { store, each })
    }

    fn key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
        if pem.windows(9).any(|word| word == b"ENCRYPTED") {
            let path = self.shown();
            return Err(Error::failed(format!("the key in {path} is encrypted, which is not supported"))
                .hint(format!("openssl pkey -in {path} -out {path}.plain && chmod 600 {path}.plain")));
        }
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| self.unusable().because(error))
    }

    /// That nobody else can read it. As for libpq, root may own it and lend it to a group.
    fn is_private(&self) -> Result<()> {
        let Some(found) = self.path.as_ref().and_then(|path| std::fs::metadata(path).ok()) else { return Ok(()) };
        let open = if found.uid() == 0 { 0o037 } else { 0o077 };
        match found.mode() & open {
            0 => Ok(()),
            _ => Err(Error::failed(format!("others may read the key in {}", self.shown()))
                .hint(format!("chmod 600 {}", self.shown()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Conninfo {
        Conninfo::parse(text).unwrap()
    }

    #[test]
    fn a_named_file_that_is_not_there_is_an_error_where_it_counts() {
        let named = settings("sslrootcert=/none/root.crt");
        for mode in [Mode::Require, Mode::VerifyCa, Mode::VerifyFull] {
            let error = roots(&named, mode).unwrap_err();
            assert_eq!(error.to_string(), "/none/root.crt is not there, which is `sslrootcert`");
            assert!(error.hint_text().unwrap().contains("sslrootcert="));
        }
        assert!(roots(&named, Mode::Prefer).unwrap().is_none(), "libpq goes without verifying");
        assert!(identity(&settings("sslcert=/none/a.crt")).is_err());
        assert!(revoked(&settings("sslcrl=/none/a.crl")).is_err());
    }

    #[test]
    fn what_can_not_be_honoured_is_refused() {
        assert!(revoked(&settings("sslcrldir=/etc/crls")).unwrap_err().to_string().contains("sslcrldir"));
        assert!(identity(&settings("sslcertmode=require")).unwrap_err().to_string().contains("sslcertmode"));
        assert!(identity(&settings("sslcertmode=disable sslcert=/none")).unwrap().is_none());
        let file = File { setting: "sslkey", path: Some("/a.key".into()), named: true };
        let error = file.key(b"-----BEGIN ENCRYPTED PRIVATE KEY-----").unwrap_err();
        assert!(error.hint_text().unwrap().contains("openssl pkey -in /a.key"));
    }

    #[test]
    fn a_file_without_what_it_should_hold_is_named() {
        let error = roots(&settings("sslrootcert=/dev/null"), Mode::VerifyCa).unwrap_err();
        assert_eq!(error.chain(), "/dev/null of `sslrootcert` can't be used: there is none in it, in PEM");
    }
}
