//! PostgreSQL installations on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reseed_core::host::shell_quote;

use crate::process::{make_directory, write};
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
    /// Its programs.
    pub programs: PathBuf,
    /// Where its libraries are, if the linker does not find them by itself.
    libraries: Option<PathBuf>,
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

fn in_tree(tree: &Path, own_libraries: bool) -> Vec<(u32, Major)> {
    let entries = std::fs::read_dir(tree).into_iter().flatten().flatten();
    let major = |directory: PathBuf| {
        let number = directory.file_name()?.to_str()?.parse().ok()?;
        let programs = directory.join("bin");
        let libraries = Some(directory.join("lib")).filter(|path| own_libraries && path.is_dir());
        programs.join("postgres").is_file().then_some((number, Major { number, programs, libraries }))
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

    /// The directory of the programs as anyone can call them, with nothing set in the environment:
    /// where the libraries lie apart, one in the lab with a wrapper for each program.
    pub(crate) fn callable(&self, lab: &Lab) -> Result<PathBuf> {
        let Some(libraries) = &self.libraries else { return Ok(self.programs.clone()) };
        let wrappers = lab.directory().join(format!("programs-{}", self.number));
        make_directory(&wrappers)?;
        let entries = std::fs::read_dir(&self.programs);
        for entry in entries.map_err(LabError::io("listing PostgreSQL's programs"))?.flatten() {
            let (library, program) = (libraries.to_string_lossy(), entry.path());
            let program = shell_quote(&program.to_string_lossy()).to_owned();
            let text = format!(
                "#!/bin/sh\nLD_LIBRARY_PATH={}\nexport LD_LIBRARY_PATH\nexec {program} \"$@\"\n",
                shell_quote(&library)
            );
            write(&wrappers.join(entry.file_name()), &text, 0o755)?;
        }
        Ok(wrappers)
    }

    /// A client program of the newest version that has it: servers' packages often lack clients, and
    /// `psql` and `pgbench` get along with older servers.
    pub(crate) fn client(&self, program: &str) -> PathBuf {
        let own = Path::new(DEBIAN).join(self.number.to_string()).join("bin").join(program);
        if own.is_file() {
            return own;
        }
        let debian = in_tree(Path::new(DEBIAN), false).into_iter().map(|(_, major)| major.programs.join(program));
        debian.filter(|path| path.is_file()).max().unwrap_or_else(|| self.programs.join(program))
    }
}
