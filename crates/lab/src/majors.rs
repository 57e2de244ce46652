//! PostgreSQL installations on this machine.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reseed_core::host::shell_quote;

use crate::process::{Tool, make_directory, write};
use crate::{Lab, LabError, Result};

/// Where Debian keeps each major version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Variable of the environment that names a directory with one directory for each major version.
pub(crate) const OTHERS: &str = "RESEED_PG_DIR";

/// One major version of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Major {
    /// The version: 10, 11 … 18.
    pub number: u32,
    /// The directory that holds its `bin`.
    directory: PathBuf,
    /// Whether it was made by `scripts/get-postgres` and not by the system's packages.
    fetched: bool,
}

/// Every major version that is installed: Debian's, those in the directory that `RESEED_PG_DIR`
/// names, and those in the cache that `scripts/get-postgres` fills.
pub fn installed_majors() -> BTreeMap<u32, Major> {
    let mut found = BTreeMap::new();
    let others = std::env::var_os(OTHERS).map(PathBuf::from).into_iter().chain(cache());
    for tree in others {
        found.extend(in_tree(&tree, true));
    }
    found.extend(in_tree(Path::new(DEBIAN), false));
    found
}

fn cache() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
    Some(base.join("reseed/postgres"))
}

fn in_tree(tree: &Path, fetched: bool) -> Vec<(u32, Major)> {
    let entries = std::fs::read_dir(tree).into_iter().flatten().flatten();
    let major = |directory: PathBuf| {
        let number = directory.file_name()?.to_str()?.parse().ok()?;
        let found = directory.join("bin/postgres").is_file();
        found.then_some((number, Major { number, directory, fetched }))
    };
    entries.filter_map(|entry| major(entry.path())).collect()
}

impl Major {
    /// The newest version that Debian installed, or any.
    ///
    /// # Errors
    /// When there is none.
    pub fn newest() -> Result<Self> {
        let debian = in_tree(Path::new(DEBIAN), false).into_iter().max_by_key(|(number, _)| *number);
        let any = || installed_majors().pop_last();
        debian.or_else(any).map(|(_, major)| major).ok_or_else(|| LabError::Missing {
            what: "PostgreSQL".to_owned(),
            hint: "apt-get install postgresql".to_owned(),
        })
    }

    /// One version.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn numbered(number: u32) -> Result<Self> {
        installed_majors().remove(&number).ok_or_else(|| LabError::Missing {
            what: format!("PostgreSQL {number}"),
            hint: format!("scripts/get-postgres {number}, or set {OTHERS}"),
        })
    }

    /// The directory of the programs as the servers' user can call them, with nothing set in the
    /// environment: where the libraries lie apart, one in the lab with a wrapper for each program.
    ///
    /// # Errors
    /// When the wrappers can't be written.
    pub fn callable(&self, lab: &Lab) -> Result<PathBuf> {
        if !self.fetched {
            return Ok(self.directory.join("bin"));
        }
        let tree = self.reachable(lab)?;
        let (programs, libraries) = (tree.join("bin"), tree.join("lib"));
        if !libraries.is_dir() {
            return Ok(programs);
        }
        let wrappers = lab.directory().join(format!("programs-{}", self.number));
        make_directory(&wrappers)?;
        for entry in std::fs::read_dir(&programs).map_err(LabError::io("listing PostgreSQL's programs"))?.flatten() {
            write(&wrappers.join(entry.file_name()), &wrapper(&entry.path(), &libraries), 0o755)?;
        }
        Ok(wrappers)
    }

    /// The tree, or, where only root can get at it (as in root's own cache), a copy of it in the
    /// lab, by hard links where the file system allows them.
    fn reachable(&self, lab: &Lab) -> Result<PathBuf> {
        let open = |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
        if self.directory.ancestors().all(open) {
            return Ok(self.directory.clone());
        }
        let copy = lab.directory().join(format!("postgres-{}", self.number));
        if !copy.exists() {
            let script = r#"cp -al -- "$1" "$2" 2>/dev/null || { rm -rf -- "$2"; cp -a -- "$1" "$2"; }"#;
            let paths = [&self.directory, &copy].map(|path| path.to_string_lossy().into_owned());
            Tool::new("sh").args(["-c", script, "sh"]).args(paths).run()?;
        }
        Ok(copy)
    }

    /// A client program: of this version where the system's packages have it, else of the newest that
    /// they have, since `psql` and `pgbench` get along with older servers and fetched ones lack them.
    pub(crate) fn client(&self, program: &str) -> PathBuf {
        let packaged = in_tree(Path::new(DEBIAN), false);
        let own = packaged.iter().find(|(number, _)| *number == self.number);
        let best = own.or_else(|| packaged.iter().max_by_key(|(number, _)| *number));
        best.map_or(self.directory.as_path(), |(_, major)| major.directory.as_path()).join("bin").join(program)
    }
}

fn wrapper(program: &Path, libraries: &Path) -> String {
    let quoted = |path: &Path| shell_quote(&path.to_string_lossy());
    let (program, libraries) = (quoted(program), quoted(libraries));
    format!("#!/bin/sh\nLD_LIBRARY_PATH={libraries}\nexport LD_LIBRARY_PATH\nexec {program} \"$@\"\n")
}
