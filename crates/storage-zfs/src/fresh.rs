//! The properties that a copy takes over from what it replaces.

use reseed_core::Result;

use crate::zfs::Zfs;

/// Properties that belong to one dataset and not to the next one of its name, or that can't be set
/// on a clone.
const OWN: &[&str] = &[
    "mountpoint",
    "canmount",
    "readonly",
    "reservation",
    "refreservation",
    "encryption",
    "keyformat",
    "keylocation",
    "pbkdf2iters",
    "version",
    "utf8only",
    "normalization",
    "casesensitivity",
    "volsize",
    "volblocksize",
    "zoned",
    "jailed",
    "filesystem_limit",
    "snapshot_limit",
    "filesystem_count",
    "snapshot_count",
    "mlslabel",
];

/// Properties that are set on a dataset itself and that its successor takes over; none where there
/// is no such dataset.
pub(crate) async fn inheritance(zfs: &Zfs, dataset: &str) -> Result<Vec<(String, String)>> {
    let all = zfs.properties(dataset, "all").await?;
    let local = all.into_iter().filter(|(_, property)| property.source == "local");
    let kept = local.filter(|(name, _)| !OWN.contains(&name.as_str()) && !name.starts_with("reseed:"));
    Ok(kept.map(|(name, property)| (name, property.value)).collect())
}
