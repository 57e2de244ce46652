//! The head of `global/pg_control`, whose layout is the same from PostgreSQL 9.4 to 18
//! (`src/include/catalog/pg_control.h`). Read by itself, since `pg_controldata` reads only the files
//! of its own major version and is not installed everywhere.

use reseed_core::host::Host;
use reseed_core::{Error, Result};

/// What the server wrote about its own state (`DBState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Just initialized.
    StartingUp,
    /// Shut down as a primary.
    ShutDown,
    /// Shut down as a standby.
    ShutDownInRecovery,
    /// Being shut down as a primary.
    ShuttingDown,
    /// Recovering from a crash as a primary.
    InCrashRecovery,
    /// A standby, or recovering from an archive.
    InArchiveRecovery,
    /// A primary; or a copy of one that has never been started.
    InProduction,
}

impl State {
    const ALL: [State; 7] = [
        State::StartingUp,
        State::ShutDown,
        State::ShutDownInRecovery,
        State::ShuttingDown,
        State::InCrashRecovery,
        State::InArchiveRecovery,
        State::InProduction,
    ];

    /// Whether a server writes this only while, or after, it followed another.
    pub(crate) fn in_recovery(self) -> bool {
        matches!(self, State::ShutDownInRecovery | State::InArchiveRecovery)
    }

    /// In the words of `pg_controldata`.
    pub(crate) fn words(self) -> &'static str {
        match self {
            State::StartingUp => "starting up",
            State::ShutDown => "shut down",
            State::ShutDownInRecovery => "shut down in recovery",
            State::ShuttingDown => "shutting down",
            State::InCrashRecovery => "in crash recovery",
            State::InArchiveRecovery => "in archive recovery",
            State::InProduction => "in production",
        }
    }
}

/// The head of `pg_control`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlFile {
    /// What tells this cluster and its copies from all others.
    pub(crate) system_identifier: u64,
    /// What state the server left it in.
    pub(crate) state: State,
}

/// Versions of the file's layout: 942 for 9.4, 1800 for 18. Any other number is in the other byte order.
const VERSIONS: std::ops::Range<u32> = 900..10_000;

impl ControlFile {
    /// Reads the control file of a data directory.
    ///
    /// # Errors
    /// When it is not there or is no control file.
    pub(crate) async fn read(host: &dyn Host, data_directory: &str) -> Result<Self> {
        let path = format!("{data_directory}/global/pg_control");
        let bytes = host.files().read(&path).await?;
        let Some(bytes) = bytes else {
            return Err(Error::failed(format!("{path} on {} is not there", host.name())));
        };
        Self::parse(&bytes).ok_or_else(|| Error::failed(format!("{path} on {} is no control file", host.name())))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let identifier: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
        let version: [u8; 4] = bytes.get(8..12)?.try_into().ok()?;
        let state: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
        let (system_identifier, state) = if VERSIONS.contains(&u32::from_le_bytes(version)) {
            (u64::from_le_bytes(identifier), u32::from_le_bytes(state))
        } else if VERSIONS.contains(&u32::from_be_bytes(version)) {
            (u64::from_be_bytes(identifier), u32::from_be_bytes(state))
        } else {
            return None;
        };
        Some(Self { system_identifier, state: *State::ALL.get(state as usize)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a control file, as `head -c 24 pg_control | xxd -p` prints them.
    fn head(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn every_version_is_read() {
        let recorded = [
            ("ade3ae6c1faf046bea030000cbce050c0100000000000000", 0x6b04_af1f_6cae_e3ad),
            ("be7303c91faf046bb1040000dce3080c0100000000000000", 0x6b04_af1f_c903_73be),
            ("cf53043f20af046b140500002de90b0c0100000000000000", 0x6b04_af20_3f04_53cf),
            ("13a4ecb421af046b1405000025770d0c0100000000000000", 7_711_481_021_269_320_723),
            ("f1039e0221af046ba40600008979100c0100000000000000", 0x6b04_af21_029e_03f1),
            ("0274945521af046b080700003300120c0100000000000000", 7_711_481_019_669_705_730),
        ];
        for (hex, system_identifier) in recorded {
            let wanted = ControlFile { system_identifier, state: State::ShutDown };
            assert_eq!(ControlFile::parse(&head(hex)), Some(wanted), "{hex}");
        }
    }

    #[test]
    fn the_other_byte_order_is_read() {
        let big = "6b04af21b4eca41300000514 0c0d7725 00000005".replace(' ', "");
        let wanted = ControlFile { system_identifier: 7_711_481_021_269_320_723, state: State::InArchiveRecovery };
        assert_eq!(ControlFile::parse(&head(&big)), Some(wanted));
    }

    #[test]
    fn what_is_no_control_file_is_none() {
        assert_eq!(ControlFile::parse(b"short"), None);
        assert_eq!(ControlFile::parse(&[0; 8192]), None);
        assert_eq!(ControlFile::parse(&[0xff; 8192]), None);
    }
}
