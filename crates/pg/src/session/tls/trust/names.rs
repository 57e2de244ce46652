//! The names that a certificate is for.

use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::der::asn1::{PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::{Any, Tag, Tagged};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// `id-at-commonName` of X.520.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Alternative names that are hosts, and common names.
#[derive(Debug, Default)]
pub(super) struct Names {
    alternatives: Vec<String>,
    common: Vec<String>,
}

impl Names {
    pub fn of(certificate: &Certificate) -> Self {
        let subject = &certificate.tbs_certificate.subject.0;
        let attributes = subject.iter().flat_map(|part| part.0.iter());
        let common = attributes.filter(|attribute| attribute.oid == COMMON_NAME);
        let alternatives = certificate.tbs_certificate.get::<SubjectAltName>().ok().flatten();
        let alternatives = alternatives.map(|(_, names)| names.0).unwrap_or_default();
        Self {
            alternatives: alternatives.iter().filter_map(host).collect(),
            common: common.filter_map(|attribute| text(&attribute.value)).collect(),
        }
    }

    /// Whether a common name is this host; it counts only where no alternative name is a host.
    pub fn common_fits(&self, host: &str) -> bool {
        self.alternatives.is_empty() && self.common.iter().any(|name| fits(name, host))
    }

    /// All of them, for a message.
    pub fn shown(&self) -> String {
        let names = if self.alternatives.is_empty() { &self.common } else { &self.alternatives };
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }
}

fn host(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        GeneralName::IpAddress(bytes) => match bytes.as_bytes().len() {
            4 => <[u8; 4]>::try_from(bytes.as_bytes()).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(bytes.as_bytes()).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    }
}

fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => Utf8StringRef::try_from(value).ok().map(|text| text.to_string()),
        Tag::PrintableString => PrintableStringRef::try_from(value).ok().map(|text| text.to_string()),
        Tag::TeletexString => TeletexStringRef::try_from(value).ok().map(|text| text.to_string()),
        _ => None,
    }
}

/// libpq's rule: without regard to case, and `*.` at the beginning stands for one label.
fn fits(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(rest) = name.strip_prefix("*.").filter(|rest| rest.contains('.')) else { return false };
    host.split_once('.').is_some_and(|(label, parent)| !label.is_empty() && parent.eq_ignore_ascii_case(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(alternatives: &[&str], common: &[&str]) -> Names {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names { alternatives: owned(alternatives), common: owned(common) }
    }

    #[test]
    fn a_common_name_counts_only_without_alternatives() {
        assert!(names(&[], &["DB1.example.org"]).common_fits("db1.example.org"));
        assert!(!names(&["other"], &["db1"]).common_fits("db1"));
        assert!(!names(&[], &["db1"]).common_fits("db2"));
    }

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(fits("*.example.org", "db1.example.org"));
        for (name, host) in [
            ("*.example.org", "a.b.example.org"),
            ("*.example.org", "example.org"),
            ("*.example.org", ".example.org"),
            ("*.org", "example.org"),
            ("d*.example.org", "db.example.org"),
            ("*", "db"),
        ] {
            assert!(!fits(name, host), "{name} {host}");
        }
    }

    #[test]
    fn names_are_shown_as_they_count() {
        assert_eq!(names(&["a", "1.2.3.4"], &["b"]).shown(), "a, 1.2.3.4");
        assert_eq!(names(&[], &["b"]).shown(), "b");
        assert_eq!(names(&[], &[]).shown(), "nobody");
    }
}
