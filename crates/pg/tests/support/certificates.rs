//! Authorities and what they sign, made for one test.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyPair};
use rcgen::{KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};
use reseed_lab::{Lab, User};

/// An authority, with its certificate in a file.
pub struct Authority<'l> {
    lab: &'l Lab,
    issuer: Issuer<'static, KeyPair>,
    /// Path of its certificate.
    pub path: String,
}

/// Writes a file that its owner alone may read, or everyone.
pub fn put(lab: &Lab, name: &str, text: &str, owner: &str, mode: u32) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = lab.path(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    User::named(owner).unwrap().own(Path::new(&path)).unwrap();
    path
}

fn named(common: &str, alternatives: &[&str]) -> CertificateParams {
    let names: Vec<_> = alternatives.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

impl<'l> Authority<'l> {
    pub fn new(lab: &'l Lab, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let path = put(lab, &format!("{name}.crt"), &params.self_signed(&key).unwrap().pem(), "root", 0o644);
        Self { lab, issuer: Issuer::new(params, key), path }
    }

    /// Paths of a certificate and its key, which `owner` owns.
    pub fn issue(&self, common: &str, alternatives: &[&str], owner: &str) -> (String, String) {
        let mut params = named(common, alternatives);
        params.serial_number = Some(SerialNumber::from(alternatives.len() as u64 + 7));
        self.sign(params, common, owner)
    }

    /// The same, run out long ago.
    pub fn issue_old(&self, common: &str, owner: &str) -> (String, String) {
        let mut params = named(common, &[common]);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(params, &format!("old-{common}"), owner)
    }

    fn sign(&self, params: CertificateParams, name: &str, owner: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let certificate = put(self.lab, &format!("{name}.crt"), &certificate.pem(), owner, 0o644);
        (certificate, put(self.lab, &format!("{name}.key"), &key.serialize_pem(), owner, 0o600))
    }

    /// Path of a revocation list with this serial number.
    pub fn revoke(&self, serial: u64) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let pem = list.signed_by(&self.issuer).unwrap().pem().unwrap();
        put(self.lab, &format!("revoked-{serial}.crl"), &pem, "root", 0o644)
    }
}
