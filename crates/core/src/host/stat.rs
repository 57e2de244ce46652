//! What proc(5) says of a process in `stat`. Elsewhere than on Linux it says nothing.

/// A process that is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: u32,
    /// 0 where its leader is not seen from here, as in a container.
    pub(crate) session: u32,
    /// When it began, in clock ticks since the machine was booted.
    pub(crate) began: u64,
}

impl Stat {
    /// Of the process of this number; `None` where there is none, or nobody tells.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::read(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is a name that may hold anything. `None` for a process that has ended, and only waits to
    /// be reaped.
    fn read(stat: &str) -> Option<Self> {
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let (parent, session, began) = (fields.get(1)?, fields.get(3)?, fields.get(19)?);
        Some(Self { parent: parent.parse().ok()?, session: session.parse().ok()?, began: began.parse().ok()? })
    }
}

/// When the process of this number began, in clock ticks since the machine was booted, by which it is told from a
/// later one of the same number; `None` where there is none, or nobody tells.
pub fn began(pid: u32) -> Option<u64> {
    Stat::of(pid).map(|stat| stat.began)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is_and_one_that_has_ended_is_none() {
        let stat = "7 (a) Z (c) S 3 7 5 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        assert_eq!(Stat::read(stat), Some(Stat { parent: 3, session: 5, began: 4711 }));
        assert_eq!(Stat::read(&stat.replace(") S ", ") Z ")), None);
        assert_eq!(Stat::read("nonsense"), None);
    }
}
