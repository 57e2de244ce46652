//! A hash as 64 hex digits.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

use super::Sha256;

pub(crate) fn serialize<S: Serializer>(hash: &Sha256, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(hash)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sha256, D::Error> {
    let text = String::deserialize(from)?;
    Sha256::parse(&text).ok_or_else(|| D::Error::custom("a SHA-256 has 64 hex digits in small letters"))
}

/// One that may not be there.
pub(super) mod option {
    use super::{Deserializer, Serializer, Sha256};

    pub(in super::super) fn serialize<S: Serializer>(hash: &Option<Sha256>, to: S) -> Result<S::Ok, S::Error> {
        match hash {
            Some(hash) => to.collect_str(hash),
            None => to.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Sha256>, D::Error> {
        super::deserialize(from).map(Some)
    }
}
