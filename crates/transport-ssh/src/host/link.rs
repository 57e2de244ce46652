//! The one connection to a machine, shared by all of its commands.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder};
use reseed_core::host::{mark, shell_quote};
use tokio::sync::Mutex;

use crate::SshConfig;
use crate::error::ConnectError;

/// How long a connection outlives its last command, should nobody be left to close it: the end of a
/// run that was killed.
const IDLE: NonZeroUsize = NonZeroUsize::new(60).unwrap();
/// A socket's path may have 103 bytes, of which the client takes the last 46 and its directory's name 27.
const LONGEST_DIRECTORY: usize = 30;
/// How many names of a directory are tried.
const TRIES: usize = 1000;

/// Makes the connection, and makes it anew when it broke.
#[derive(Debug)]
pub(super) struct Connector {
    config: SshConfig,
    state: Mutex<State>,
}

/// What has become of the connection so far.
#[derive(Debug, Default)]
struct State {
    link: Option<Link>,
    /// Whether there has been one: something may then have to be undone on the machine.
    was_there: bool,
    /// Why there was none, and until when that is taken for the answer.
    failed: Option<(ConnectError, Instant)>,
}

/// A connection in use.
#[derive(Debug, Clone)]
pub(super) struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    // Dropped first: it takes its own files out of the directory.
    session: Session,
    _directory: PrivateDirectory,
}

impl Deref for Link {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0.session
    }
}

impl Connector {
    pub(super) fn new(config: SshConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// The machine's address, with its port where one is told.
    pub(super) fn address(&self) -> String {
        let address = &*self.config.address;
        let machine = address.rsplit_once('@').map_or(address.as_str(), |(_, machine)| machine);
        let port = self.config.port.map(|port| format!(" port {port}"));
        format!("{machine}{}", port.unwrap_or_default())
    }

    /// The connection, alive a moment ago. Calls that come together make one. A machine that was never there
    /// is asked again when as long has passed as it let wait for its answer, so that not every question to it
    /// takes that long.
    pub(super) async fn link(&self) -> Result<Link, ConnectError> {
        let mut state = self.state.lock().await;
        if let Some(link) = &state.link {
            if link.check().await.is_ok() {
                return Ok(link.clone());
            }
            state.link = None;
        }
        if let Some((error, _)) = state.failed.as_ref().filter(|(_, until)| !state.was_there && Instant::now() < *until)
        {
            return Err(error.clone());
        }
        let begun = Instant::now();
        let link = match self.connect().await {
            Ok(link) => link,
            Err(error) => {
                state.failed = Some((error.clone(), Instant::now() + begun.elapsed()));
                return Err(error);
            }
        };
        (state.was_there, state.link) = (true, Some(link.clone()));
        Ok(link)
    }

    async fn connect(&self) -> Result<Link, ConnectError> {
        let directory = PrivateDirectory::new().map_err(|e| ConnectError::Other(e.to_string()))?;
        let session = self.builder(directory.path()).connect_mux(&*self.config.address).await;
        let session = session.map_err(|error| ConnectError::of(&error))?;
        Ok(Link(Arc::new(Inner { session, _directory: directory })))
    }

    fn builder(&self, directory: &Path) -> SessionBuilder {
        let config = &self.config;
        let mut builder = SessionBuilder::default();
        builder
            .known_hosts_check(KnownHosts::Strict)
            .control_directory(directory)
            .control_persist(ControlPersist::IdleFor(IDLE))
            .connect_timeout(config.connect_timeout.0)
            .server_alive_interval(config.keep_alive.0)
            .jump_hosts(config.jump.iter().map(|host| host.as_str()));
        if let Some(port) = config.port {
            builder.port(port);
        }
        if let Some(user) = &config.user {
            builder.user(user.to_string());
        }
        if let Some(file) = &config.identity_file {
            builder.keyfile(file);
        }
        if let Some(file) = &config.known_hosts {
            builder.user_known_hosts_file(as_option_value(file));
        }
        if let Some(file) = &config.config_file {
            builder.config_file(file);
        }
        builder
    }

    /// The call that a person would type to try the same connection.
    pub(super) fn by_hand(&self) -> String {
        let config = &self.config;
        let mut words = vec!["ssh".to_owned()];
        let mut option = |name: &str, value: Option<String>| {
            words.extend(value.map(|value| format!("{name} {}", shell_quote(&value))));
        };
        option("-F", config.config_file.clone());
        option("-i", config.identity_file.clone());
        option("-o", config.known_hosts.as_ref().map(|file| format!("UserKnownHostsFile={}", as_option_value(file))));
        option("-p", config.port.map(|port| port.to_string()));
        option("-l", config.user.as_ref().map(|user| user.to_string()));
        let jump: Vec<_> = config.jump.iter().map(|host| host.as_str()).collect();
        option("-J", (!jump.is_empty()).then(|| jump.join(",")));
        words.extend([shell_quote(&config.address), "true".to_owned()]);
        words.join(" ")
    }
}

/// The client takes several files, separated by blanks, unless they are quoted.
fn as_option_value(file: &str) -> String {
    if file.contains(char::is_whitespace) { format!("\"{file}\"") } else { file.to_owned() }
}

/// A directory that only its owner may enter, gone when it is dropped. Its name tells whose it is.
#[derive(Debug)]
pub(super) struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new() -> std::io::Result<Self> {
        let parents = Self::parents();
        let parent = &parents[0];
        let mut tries = 0..TRIES;
        loop {
            let number = std::hash::RandomState::new().build_hasher().finish() & 0xfff;
            let path = parent.join(format!("{}{number:03x}", Self::of_process(mark())));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && tries.next().is_some() => {}
                made => return made.map(|()| Self(path)),
            }
        }
    }

    /// What the names of all those of the process with this mark begin with. The client has it in its
    /// arguments, and must not be taken for a job.
    pub(super) fn of_process(mark: &str) -> String {
        format!("reseed.{mark}")
    }

    /// Where such directories are: new ones in the first.
    pub(super) fn parents() -> Vec<PathBuf> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let short = |path: &PathBuf| path.as_os_str().len() <= LONGEST_DIRECTORY;
        let mut all: Vec<_> = runtime.into_iter().chain([std::env::temp_dir()]).filter(short).collect();
        all.push("/tmp".into());
        all.dedup();
        all
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // What can't be removed holds nothing but an empty socket's name.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use reseed_core::config::Located;

    use super::*;

    #[test]
    fn the_call_by_hand_names_what_the_file_names() {
        let mut config = SshConfig::new("op@db1");
        assert_eq!(Connector::new(config.clone()).by_hand(), "ssh op@db1 true");
        config.port = Some(2222);
        config.identity_file = Some("/etc/reseed/my key".into());
        config.jump = vec![Located::nowhere("gate".into()), Located::nowhere("inner".into())];
        let by_hand = Connector::new(config).by_hand();
        assert_eq!(by_hand, "ssh -i '/etc/reseed/my key' -p 2222 -J gate,inner op@db1 true");
    }
}
