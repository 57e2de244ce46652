//! The last look at a copy before its server is started on it. What PostgreSQL makes of a copy is decided
//! by files that anybody could have touched since it was configured, and no answer of the running server
//! tells that one of them was missing.

use reseed_core::{Error, Result};

use crate::facts::{Backup, Mode};
use crate::service::Server;

/// Fails unless the copy is that of a standby, and has the label that its backup asks for.
///
/// # Errors
/// Which file is missing, or is not what it was.
pub(super) async fn check(server: &Server, backup: Option<&Backup>) -> Result<()> {
    let (files, directory) = (server.host.files(), &server.data_directory);
    let path = |name: &str| format!("{directory}/{name}");
    let (signal, conf, label) = (path("standby.signal"), path("recovery.conf"), path("backup_label"));
    // The standby is down by now: all at once.
    let (signal, conf, is) = tokio::try_join!(files.exists(&signal), files.exists(&conf), files.read(&label))?;
    if !signal && !conf {
        let text = format!("{directory} has no standby.signal any more: its server would be a primary of its own");
        return Err(Error::failed(text).hint("see what touches the copy between pg-configure and the start"));
    }
    let Some(backup) = backup else { return Ok(()) };
    let wanted = backup.label.as_deref().filter(|_| backup.mode == Mode::Backup).map(str::as_bytes);
    match what_is_wrong(is.as_deref(), wanted) {
        None => Ok(()),
        Some(wrong) => {
            let text = format!("backup_label in {directory} {wrong}: its server would recover from the wrong place");
            Err(Error::failed(text).hint("see what touches the copy between pg-configure and the start"))
        }
    }
}

/// Without its label a copy that was taken bit by bit is broken for ever; with another's, an atomic one is.
fn what_is_wrong(is: Option<&[u8]>, wanted: Option<&[u8]>) -> Option<&'static str> {
    match (is, wanted) {
        (is, wanted) if is == wanted => None,
        (None, _) => Some("is gone"),
        (_, None) => Some("is there, and the snapshot needs none"),
        _ => Some("is not the one that ended the backup"),
    }
}

#[cfg(test)]
mod tests {
    use super::what_is_wrong;

    #[test]
    fn only_the_very_label_or_none_at_all_will_do() {
        assert_eq!(what_is_wrong(Some(b"label"), Some(b"label")), None);
        assert_eq!(what_is_wrong(None, None), None);
        assert_eq!(what_is_wrong(None, Some(b"label")), Some("is gone"));
        assert!(what_is_wrong(Some(b"label\n"), Some(b"label")).is_some());
        assert!(what_is_wrong(Some(b"label"), None).is_some());
    }
}
