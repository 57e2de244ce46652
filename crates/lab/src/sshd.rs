//! A throw-away sshd on a high port of 127.0.0.1.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pool::script;
use crate::process::{Tool, make_directory, wait_until, which, write};
use crate::{Lab, LabError, Result, User, free_port};

/// What the far side of a connection has in its PATH besides the system's own programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FarPath {
    /// Everything that the machine has.
    #[default]
    Usual,
    /// The system's programs without these.
    Without(Vec<String>),
    /// Everything that the machine has, and these programs in front.
    With(Vec<PathBuf>),
}

/// An sshd with keys of its own.
#[derive(Debug)]
pub struct Sshd {
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The private key of the one user that may come in.
    pub identity_file: String,
    /// A `known_hosts` that has its key.
    pub known_hosts: String,
}

/// Ends the sshd of this directory, and no process that got its number later.
const END: &str = r#"p=$(cat "$1/pid" 2>/dev/null) && grep -qF "$1/config" "/proc/$p/cmdline" && kill "$p""#;

impl Sshd {
    /// Starts one that lets root in.
    ///
    /// # Errors
    /// When OpenSSH's programs are missing or it does not listen.
    pub fn in_lab(lab: &Lab, path: &FarPath) -> Result<Self> {
        Self::start(lab, path, None)
    }

    /// Starts one that runs as another user, lets only that user in, and so needs no account that is
    /// open for logins.
    ///
    /// # Errors
    /// When OpenSSH's programs are missing or it does not listen.
    pub fn of_user(lab: &Lab, user: &User) -> Result<Self> {
        Self::start(lab, &FarPath::Usual, Some(user))
    }

    fn start(lab: &Lab, path: &FarPath, user: Option<&User>) -> Result<Self> {
        let program = which("sshd").ok_or_else(|| LabError::Missing {
            what: "the program sshd".to_owned(),
            hint: "apt-get install openssh-server".to_owned(),
        })?;
        let port = free_port()?;
        let home = lab.directory().join(format!("ssh-{port}"));
        make_directory(&home)?;
        // Compiled in; Debian's init script makes it where sshd runs as a service.
        make_directory(Path::new("/run/sshd"))?;
        let sshd = Self::write_files(&home, port, path)?;
        lab.guard().add(&script(END, &home.to_string_lossy()))?;
        let mut tool = Tool::new(program).arg("-f").arg(home.join("config").to_string_lossy());
        if let Some(user) = user {
            give(&home, user)?;
            tool = tool.as_user(user);
        }
        tool.run()?;
        wait_until("an open port of sshd", Duration::from_secs(10), || {
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        Ok(sshd)
    }

    /// Lets in by this line of `authorized_keys` alone, from the next connection on.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn authorize(&self, line: &str) -> Result<()> {
        write(&Path::new(&self.identity_file).with_file_name("authorized_keys"), &format!("{line}\n"), 0o600)
    }

    fn write_files(home: &Path, port: u16, path: &FarPath) -> Result<Self> {
        let file = |name: &str| home.join(name).to_string_lossy().into_owned();
        for key in ["host_key", "client_key"] {
            let keygen = Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "reseed-lab"]);
            keygen.arg("-f").arg(file(key)).run()?;
        }
        let public = |key: &str| {
            let read = std::fs::read_to_string(file(&format!("{key}.pub")));
            read.map_err(LabError::io("reading a key that was just made"))
        };
        write(&home.join("authorized_keys"), &public("client_key")?, 0o600)?;
        write(&home.join("known_hosts"), &format!("[127.0.0.1]:{port} {}", public("host_key")?), 0o644)?;
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile {}\nStrictModes no\n\
             UsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nMaxStartups 200\nMaxSessions 200\n\
             LogLevel ERROR\nSetEnv PATH={} HOME={}\n",
            file("host_key"),
            file("authorized_keys"),
            file("pid"),
            path.value(home)?,
            // A home without rc files: a login shell reads them for every command.
            home.display()
        );
        write(&home.join("config"), &config, 0o600)?;
        Ok(Self { port, identity_file: file("client_key"), known_hosts: file("known_hosts") })
    }
}

impl FarPath {
    /// The value of PATH; programs picked one by one are linked in a directory under `home`.
    fn value(&self, home: &Path) -> Result<String> {
        const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let picked = home.join("bin");
        make_directory(&picked)?;
        match self {
            Self::Usual => return Ok(SYSTEM.to_owned()),
            Self::With(programs) => {
                programs.iter().try_for_each(|program| link(program, &picked))?;
                return Ok(format!("{}:{SYSTEM}", picked.display()));
            }
            Self::Without(names) => {
                // Administration programs are found by their full directories; only /usr/bin is sifted.
                let entries = std::fs::read_dir("/usr/bin").map_err(LabError::io("listing /usr/bin"))?.flatten();
                let wanted = |path: &PathBuf| {
                    !names.iter().any(|name| path.file_name().is_some_and(|file| file == name.as_str()))
                };
                entries.map(|entry| entry.path()).filter(wanted).try_for_each(|program| link(&program, &picked))?;
            }
        }
        Ok(format!("{}:/usr/sbin:/sbin", picked.display()))
    }
}

/// Makes the user the owner of a directory and the files in it.
fn give(directory: &Path, user: &User) -> Result<()> {
    let entries = std::fs::read_dir(directory).map_err(LabError::io("listing sshd's files"))?.flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).try_for_each(|path| user.own(&path))?;
    user.own(directory)
}

fn link(program: &Path, directory: &Path) -> Result<()> {
    let Some(name) = program.file_name() else { return Ok(()) };
    let linked = std::os::unix::fs::symlink(program, directory.join(name));
    linked.map_err(LabError::io(format!("linking {}", program.display())))
}
