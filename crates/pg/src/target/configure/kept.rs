//! Files of the old standby that the copy gets.

use reseed_core::host::{Command, FileAttributes};
use reseed_core::{Error, Result};

use crate::target::copy::Copy;
use crate::target::survey::Standby;

/// A file as the old standby had it.
#[derive(Debug, Clone)]
pub(crate) struct KeptFile {
    name: String,
    content: Vec<u8>,
    attributes: FileAttributes,
}

/// Reads the files now: later the old data directory may be down, moved or rolled back.
///
/// # Errors
/// A refusal when one is not there, or is a directory.
pub(crate) async fn read(standby: &Standby, names: &[String]) -> Result<Vec<KeptFile>> {
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        let path = format!("{}/{name}", standby.data_directory);
        let files = standby.cluster.host.files();
        let on = standby.cluster.host.name();
        let absent = || {
            Error::refused(format!("{path} on {on} shall be kept, but is not there"))
                .hint(format!("take \"{name}\" out of `keep_files`"))
        };
        let attributes = files.attributes(&path).await?.ok_or_else(absent)?;
        if attributes.is_dir {
            return Err(Error::refused(format!("{path} on {on} shall be kept, but is a directory"))
                .hint("name its files one by one"));
        }
        let content = files.read(&path).await?.ok_or_else(absent)?;
        kept.push(KeptFile { name: name.clone(), content, attributes });
    }
    Ok(kept)
}

/// That the files are as they were read.
///
/// # Errors
/// When one is not.
pub(crate) async fn unchanged(standby: &Standby, kept: &[KeptFile]) -> Result<()> {
    for file in kept {
        let path = format!("{}/{}", standby.data_directory, file.name);
        let files = standby.cluster.host.files();
        let now = (files.attributes(&path).await?, files.read(&path).await?);
        let changed = match now {
            (Some(attributes), Some(content)) if attributes == file.attributes && content == file.content => continue,
            (Some(_), Some(_)) => "was changed",
            _ => "has vanished",
        };
        let text = format!("{path} on {}, which the copy keeps, {changed} meanwhile", standby.cluster.host.name());
        return Err(Error::failed(text).hint("nothing was stopped; run it again"));
    }
    Ok(())
}

/// Makes the directory of the file `$2` in the data directory `$1`; it must not lead out of it.
const DIRECTORY: &str = r#"set -eu
cd -- "$1"; top=$(pwd -P); d=$(dirname -- "$2")
own=$(ls -ldn . | awk '{print $3 ":" $4}')
[ -d "$d" ] || { mkdir -p -m 700 -- "$d"; [ "$(id -u)" != 0 ] || chown "$own" "$d"; }
case "$(cd -- "$d" && pwd -P)/" in "$top"/*) ;; *) exit 51;; esac"#;

const OUTSIDE: i32 = 51;

/// Writes the files into the copy, each with its owner and mode.
///
/// # Errors
/// When one can't be written.
pub(crate) async fn write(kept: &[KeptFile], copy: &Copy) -> Result<()> {
    for file in kept {
        let directory = Command::script(DIRECTORY).arg(&copy.data).arg(&file.name).as_root();
        let exit = copy.host.output(directory).await?.exit;
        if exit.code() == Some(OUTSIDE) {
            return Err(Error::failed(format!("{} leads out of the copy's data directory", file.name)));
        }
        exit.success_on(copy.host.name())?;
        let path = format!("{}/{}", copy.data, file.name);
        copy.host.files().write(&path, &file.content, file.attributes.mode).await?;
        let owner = format!("{}:{}", file.attributes.owner, file.attributes.group);
        // Changing the owner may take off bits of the mode, so the mode comes last.
        let own = r#"[ "$(id -u)" != 0 ] || { chown -- "$1" "$3" && chmod -- "$2" "$3"; }"#;
        let mode = format!("{:04o}", file.attributes.mode);
        copy.host.run(Command::script(own).arg(owner).arg(mode).arg(path).as_root()).await?;
    }
    Ok(())
}
