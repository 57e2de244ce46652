//! PostgreSQL's client programs for backups, on the standby's machine.

use reseed_core::host::Command;
use reseed_core::{Error, Result};

use crate::service::Server;
use crate::target::programs::major_of;

/// A program and the major version that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    pub path: String,
    pub major: u32,
}

/// Prints `path<TAB>what --version says` for each place that has the program `$1`: the directory `$2`
/// first. The rest is `NAME=value` for its environment.
const FIND: &str = r#"n=$1; b=$2; shift 2
try() { p=$1; shift; [ -x "$p" ] && printf '%s\t%s\n' "$p" "$(env "$@" "$p" --version 2>&1)"; }
try "$b/$n" "$@"
for d in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin /usr/local/bin; do try "$d/$n" "$@"; done
p=$(command -v -- "$n") && try "$p" "$@"
exit 0"#;

/// The program of the source's major version, or else of the next later one: these programs work
/// with older servers, and refuse newer ones.
///
/// # Errors
/// A refusal when there is none.
pub(super) async fn find(server: &Server, program: &str, major: u32) -> Result<Tool> {
    let pairs = server.service.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let find = Command::script(FIND).titled("find").arg(program).arg(&server.bin).args(pairs);
    let found = parse(&server.host.run(find).await?);
    pick(&found, major).cloned().ok_or_else(|| refusal(server.host.name(), program, major, &found))
}

fn pick(found: &[Tool], major: u32) -> Option<&Tool> {
    // The first of several that are alike: what was configured stands in front.
    found.iter().filter(|tool| tool.major >= major).min_by_key(|tool| tool.major)
}

fn refusal(host: &str, program: &str, major: u32, found: &[Tool]) -> Error {
    let hint = format!(
        "install the client programs of PostgreSQL {major} on {host} (Debian: `apt-get install \
         postgresql-client-{major}`), or set `bin_directory` of the standby's cluster"
    );
    let text = match found.first() {
        Some(Tool { path, major: is }) => {
            format!("{path} on {host} is of PostgreSQL {is}, which is too old for a server of {major}")
        }
        None => format!("there is no program `{program}` on {host}"),
    };
    Error::refused(text).hint(hint)
}

fn parse(text: &str) -> Vec<Tool> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    lines.filter_map(|(path, said)| Some(Tool { path: path.to_owned(), major: major_of(said)? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: &str = "/opt/pg/bin/pg_basebackup\tpg_basebackup (PostgreSQL) 18.6\n\
        /usr/lib/postgresql/15/bin/pg_basebackup\tpg_basebackup (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n\
        /x/pg_basebackup\terror while loading shared libraries: libpq.so.5\n";

    #[test]
    fn the_own_version_is_best_and_a_later_one_will_do() {
        let found = parse(FOUND);
        let picked = |major| pick(&found, major).map(|tool| tool.major);
        assert_eq!((picked(12), picked(15), picked(17), picked(18)), (Some(15), Some(15), Some(18), Some(18)));
        assert_eq!(picked(19), None);
    }

    #[test]
    fn a_refusal_says_what_is_there() {
        let error = refusal("standby", "pg_basebackup", 19, &parse(FOUND));
        assert!(error.to_string().contains("is of PostgreSQL 18, which is too old for a server of 19"));
        assert!(error.hint_text().unwrap().contains("postgresql-client-19"));
        assert!(refusal("standby", "pg_combinebackup", 17, &[]).to_string().contains("no program `pg_combinebackup`"));
    }
}
