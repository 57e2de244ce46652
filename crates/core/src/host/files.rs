//! Files on a host, by POSIX programs only, so that one implementation serves every host and `become`.

use super::{Command, Host};
use crate::{Error, Result};

/// Owner and permissions of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileAttributes {
    /// Name of the owning user.
    pub owner: String,
    /// Name of the owning group.
    pub group: String,
    /// Permission bits, for example `0o700`.
    pub mode: u32,
    /// Whether it is a directory, after following links.
    pub is_dir: bool,
}

/// Files on a host. Everything runs as root where the host can (`become`), since data directories
/// are private to their owner.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    host: &'a dyn Host,
}

/// Exit status by which the scripts here say "there is no such file".
const ABSENT: i32 = 44;

/// Prints the file `$1`.
pub(crate) const READ: &str = r#"[ -e "$1" ] || [ -L "$1" ] || exit 44; exec cat -- "$1""#;

/// Prints the path `$1` with every link resolved.
pub(crate) const RESOLVE: &str = r#"realpath -- "$1" 2>/dev/null || readlink -f -- "$1""#;

impl<'a> Files<'a> {
    pub(super) fn new(host: &'a dyn Host) -> Self {
        Self { host }
    }

    /// The content of a file; `None` where there is none.
    ///
    /// # Errors
    /// When it is there and can't be read.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let output = self.host.output(Command::script(READ).titled("read").arg(path).as_root()).await?;
        if output.exit.code() == Some(ABSENT) {
            return Ok(None);
        }
        output.exit.success_on(self.host.name())?;
        Ok(Some(output.stdout))
    }

    /// The content of a file as text; `None` where there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read), and when it is not UTF-8.
    pub async fn read_text(&self, path: &str) -> Result<Option<String>> {
        let Some(bytes) = self.read(path).await? else { return Ok(None) };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|e| Error::failed(format!("{path} on {} is not text", self.host.name())).because(e))
    }

    /// Writes a file so that after a crash it is either the old or the new one: a temporary
    /// beside it, synced, renamed. Owner and group are those of the directory.
    ///
    /// # Errors
    /// When any step fails; the old file is then still there.
    pub async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let script = r#"set -e; umask 077; d=$(dirname -- "$1"); t="$1.reseed-tmp"; cat > "$t"
[ "$(wc -c < "$t")" -eq "$3" ] || { rm -f -- "$t"; echo "the content was cut off on its way" >&2; exit 1; }
o=$(ls -ldn -- "$d" | awk '{print $3 ":" $4}'); [ "$(id -u)" != 0 ] || chown "$o" "$t"
chmod "$2" "$t"; sync -- "$t" 2>/dev/null || sync; mv -f -- "$t" "$1"; sync -- "$d" 2>/dev/null || sync"#;
        let command = Command::script(script).titled("write").arg(path).arg(format!("{mode:04o}"));
        let command = command.arg(content.len().to_string()).as_root();
        self.host.output_with(command, content).await?.exit.success_on(self.host.name())
    }

    /// Owner, group and mode, following links; `None` where there is nothing.
    ///
    /// # Errors
    /// When the host can't be reached or the directory above can't be searched.
    pub async fn attributes(&self, path: &str) -> Result<Option<FileAttributes>> {
        let script = r#"[ -e "$1" ] || exit 44
stat -L -c '%U %G %a %F' -- "$1" 2>/dev/null || stat -L -f '%Su %Sg %Lp %HT' -- "$1""#;
        let output = self.host.output(Command::script(script).titled("stat").arg(path).as_root()).await?;
        if output.exit.code() == Some(ABSENT) {
            return Ok(None);
        }
        output.exit.success_on(self.host.name())?;
        parse_stat(&output.text()).map(Some)
    }

    /// Whether something is there, following links.
    ///
    /// # Errors
    /// When the host can't be reached.
    pub async fn exists(&self, path: &str) -> Result<bool> {
        let output = self.host.output(Command::new("test").args(["-e", path]).as_root()).await?;
        Ok(output.exit.success())
    }

    /// The path with every link resolved.
    ///
    /// # Errors
    /// When there is no such path.
    pub async fn canonical(&self, path: &str) -> Result<String> {
        let text = self.host.run(Command::script(RESOLVE).titled("realpath").arg(path).as_root()).await?;
        Ok(text.trim_end_matches('\n').to_owned())
    }
}

fn parse_stat(text: &str) -> Result<FileAttributes> {
    let mut fields = text.trim().splitn(4, ' ');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    let (owner, group, mode, kind) = (field(), field(), field(), field());
    let mode = u32::from_str_radix(&mode, 8)
        .map_err(|e| Error::failed(format!("stat printed `{}`", text.trim())).because(e))?;
    Ok(FileAttributes { owner, group, mode, is_dir: kind.eq_ignore_ascii_case("directory") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{LocalConfig, LocalHost};

    #[test]
    fn stat_of_both_families_is_read() {
        let linux = parse_stat("someone others 700 directory\n").unwrap();
        let bsd = parse_stat("someone others 700 Directory\n").unwrap();
        assert_eq!(linux, bsd);
        assert_eq!(linux.mode, 0o700);
        assert!(linux.is_dir);
    }

    #[tokio::test]
    async fn a_file_comes_back_as_it_was_written() {
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        let path = std::env::temp_dir().join(format!("reseed-files-{}", std::process::id()));
        let path = path.to_str().unwrap();
        assert_eq!(host.files().read(path).await.unwrap(), None);
        host.files().write(path, b"a\0b'\n", 0o640).await.unwrap();
        assert_eq!(host.files().read(path).await.unwrap().unwrap(), b"a\0b'\n");
        assert_eq!(host.files().attributes(path).await.unwrap().unwrap().mode, 0o640);
        std::fs::remove_file(path).unwrap();
    }
}
