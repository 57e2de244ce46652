//! The scripted output (`-H`) of `zfs list`, `zfs get` and `zfs send -nP`: fields between tabs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A file system or volume, as `zfs list -H -o name,origin,mountpoint,canmount,mounted` tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Filesystem {
    /// Its name.
    pub(crate) name: String,
    /// The snapshot that it is a clone of.
    pub(crate) origin: Option<String>,
    /// Its property `mountpoint`: a path, `none` or `legacy`.
    pub(crate) mountpoint: String,
    /// Its property `canmount`: `on`, `off` or `noauto`.
    pub(crate) canmount: String,
    /// Whether it is mounted.
    pub(crate) mounted: bool,
}

/// A property's value and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Property {
    /// The value.
    pub(crate) value: String,
    /// `local`, `default`, `received`, `inherited from …` or `-`.
    pub(crate) source: String,
}

/// A snapshot or a bookmark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Its whole name: `pool/dataset@name`, or with `#` a bookmark.
    pub(crate) name: String,
    /// Its identity, as 16 hex digits.
    pub(crate) guid: String,
    /// The target that reseed made it for; `None` where reseed did not make it.
    pub(crate) target: Option<String>,
    /// How many holds are on it.
    pub(crate) holds: u64,
}

impl Snapshot {
    /// Whether it is a bookmark: an increment may start from it, but it holds no data.
    pub(crate) fn is_bookmark(&self) -> bool {
        self.name.contains('#')
    }

    /// Whether a hold is on it.
    pub(crate) fn held(&self) -> bool {
        self.holds > 0
    }

    /// The part of its name behind the dataset.
    pub(crate) fn short(&self) -> &str {
        self.name.split_once(['@', '#']).map_or(self.name.as_str(), |(_, short)| short)
    }
}

/// Reads `zfs list -H -o name,origin,mountpoint,canmount,mounted`.
pub(crate) fn filesystems(text: &str) -> Vec<Filesystem> {
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.split('\t').map(str::to_owned);
        let (name, origin) = (fields.next()?, fields.next()?);
        let (mountpoint, canmount) = (fields.next()?, fields.next()?);
        let mounted = fields.next()? == "yes";
        Some(Filesystem { name, origin: Some(origin).filter(|origin| origin != "-"), mountpoint, canmount, mounted })
    });
    rows.collect()
}

/// Reads `zfs get -Hp -o name,property,value,source`: properties by dataset, in the order told.
pub(crate) fn properties(text: &str) -> Vec<(String, BTreeMap<String, Property>)> {
    let mut datasets: Vec<(String, BTreeMap<String, Property>)> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t').map(str::to_owned);
        let (Some(name), Some(key), Some(value)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let property = Property { value, source: fields.next().unwrap_or_default() };
        match datasets.last_mut() {
            Some((last, properties)) if *last == name => {
                properties.insert(key, property);
            }
            _ => datasets.push((name, BTreeMap::from([(key, property)]))),
        }
    }
    datasets
}

/// Reads `zfs get -Hp` of `guid`, `userrefs` and `reseed:target`: the snapshots and bookmarks of
/// one dataset, the oldest first (`zfs` sorts those of one dataset by transaction).
pub(crate) fn snapshots(text: &str, dataset: &str) -> Vec<Snapshot> {
    let mine = |name: &str| name.strip_prefix(dataset).is_some_and(|rest| rest.starts_with(['@', '#']));
    let told = properties(text).into_iter().filter(|(name, _)| mine(name));
    told.filter_map(|(name, mut properties)| {
        let guid = properties.remove("guid")?.value.parse().ok().map(hex)?;
        // What can't be read is taken for a hold.
        let holds = properties.get("userrefs").map(|refs| refs.value.as_str()).filter(|refs| !["-", ""].contains(refs));
        let holds = holds.map_or(0, |refs| refs.parse().unwrap_or(1));
        // A snapshot's property must be its own: one that is inherited was not set by a run.
        let own = properties.remove("reseed:target").filter(|target| ["local", "received"].contains(&&*target.source));
        Some(Snapshot { name, guid, holds, target: own.map(|target| target.value) })
    })
    .collect()
}

/// A GUID in the form in which reseed tells it.
pub(super) fn hex(guid: u64) -> String {
    format!("{guid:016x}")
}

/// Reads the estimate of `zfs send -nvP`: the line `size`, in bytes.
pub(crate) fn estimate(text: &str) -> Option<u64> {
    let mut sizes = text.lines().filter_map(|line| line.strip_prefix("size")?.trim().parse().ok());
    sizes.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_of_one_dataset_are_told_from_its_childrens() {
        let text = "ta/a\tguid\t3068077593410840926\t-
ta/a@s1\tguid\t14560545130374372873\t-
ta/a@s1\tuserrefs\t0\t-
ta/a@s1\treseed:target\t-\t-
ta/a@r1\tguid\t255\t-
ta/a@r1\tuserrefs\t1\t-
ta/a@r1\treseed:target\t9f:tb/x\tlocal
ta/a@r2\tguid\t256\t-
ta/a@r2\treseed:target\t9f:tb/x\tinherited from ta/a
ta/a#b\tguid\t255\t-
ta/a/wal@r1\tguid\t2645053218694651440\t-
";
        let all = snapshots(text, "ta/a");
        let names: Vec<_> = all.iter().map(|snapshot| snapshot.short()).collect();
        assert_eq!(names, ["s1", "r1", "r2", "b"]);
        assert_eq!(all[0].guid, "ca1172a6a8021e09");
        assert_eq!(all[1].guid, "00000000000000ff");
        assert_eq!(all[1].target.as_deref(), Some("9f:tb/x"));
        assert!(all[1].held() && !all[0].held() && all[3].is_bookmark());
        assert_eq!(all[2].target, None);
    }

    #[test]
    fn file_systems_and_their_origins_are_read() {
        let all = filesystems("tb\t-\t/tb\ton\tyes\ntb/c\ttb/a@s1\tnone\tnoauto\tno\n");
        assert_eq!(all[0].origin, None);
        assert_eq!(all[1].origin.as_deref(), Some("tb/a@s1"));
        assert!(all[0].mounted && !all[1].mounted);
    }

    #[test]
    fn an_estimate_is_the_last_size() {
        let text = "incremental\tta/a@1\tta/a@2\t624\nsize\t624\n";
        assert_eq!(estimate(text), Some(624));
        assert_eq!(estimate("total estimated size is 1K\n"), None);
    }
}
