//! Connections of a process that is gone.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use openssh::{Session, Stdio};
use tokio::task::JoinSet;

use super::link::PrivateDirectory;
use super::marker::Nonce;
use super::remote;

/// How long the other machines may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the other ends of the process's connections have begun all that it asked for. A connection
/// outlives its process, and what was asked for may still be on the wire, where it is not seen by anybody: but
/// it is heard before what is asked for now. `false` where one does not answer: then nobody can tell.
pub(super) async fn heard(mark: &str) -> bool {
    let mut asked = JoinSet::new();
    for socket in sockets(mark) {
        asked.spawn(async move {
            let argv = remote::settled(1, 1).argv("", None);
            let session = Session::resume_mux(socket.into_boxed_path(), None);
            let mut command = session.raw_command(remote::command(&Nonce::new(), &[argv]));
            // Without a name it ends at once.
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        });
    }
    let all = async { while asked.join_next().await.is_some() {} };
    tokio::time::timeout(PATIENCE, all).await.is_ok()
}

/// Where the process's connections listen: only in directories of this user's own.
fn sockets(mark: &str) -> Vec<PathBuf> {
    let inside = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
    let named =
        |one: &std::fs::DirEntry| one.file_name().to_string_lossy().starts_with(&PrivateDirectory::of_process(mark));
    let is_own = |one: &std::fs::DirEntry| {
        one.metadata().is_ok_and(|is| is.is_dir() && is.uid() == rustix::process::geteuid().as_raw())
    };
    let parents = PrivateDirectory::parents();
    let own = parents.iter().flat_map(|parent| inside(parent)).filter(named).filter(is_own);
    let sockets = own.flat_map(|directory| inside(&directory.path())).map(|one| one.path().join("master"));
    sockets.filter(|socket| socket.exists()).collect()
}
