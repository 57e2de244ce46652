//! Where the server's programs are, and of which major version they are.

use reseed_core::host::{Command, Host};
use reseed_core::{Error, Result};

/// Prints `directory<TAB>what postgres --version says` for each usual place that has a `postgres`.
/// `$1` is the configured directory or empty, `$2` the major version or empty; the rest is
/// `NAME=value` for the environment of the programs.
const FIND: &str = r#"b=$1; m=$2; shift 2
try() { d=$1; shift; [ -x "$d/postgres" ] && printf '%s\t%s\n' "$d" "$(env "$@" "$d/postgres" --version 2>&1)"; }
if [ -n "$b" ]; then try "$b" "$@"; exit 0; fi
if [ -n "$m" ]; then
  for d in "/usr/lib/postgresql/$m/bin" "/usr/pgsql-$m/bin" "/usr/local/pgsql-$m/bin"; do try "$d" "$@"; done
fi
for d in /usr/local/bin /usr/local/pgsql/bin /usr/bin; do try "$d" "$@"; done
d=$(pg_config --bindir 2>/dev/null) && try "$d" "$@"
for d in $(command -v postgres); do try "${d%/postgres}" "$@"; done
for d in /usr/lib/postgresql/*/bin; do try "$d" "$@"; done
exit 0"#;

/// A directory that has a `postgres`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    directory: String,
    /// What `postgres --version` said.
    said: String,
}

/// The directory of the programs of `major`.
///
/// # Errors
/// A refusal when there are none, or only those of other versions.
pub(crate) async fn find(
    host: &dyn Host,
    configured: Option<&str>,
    major: u32,
    environment: &[(String, String)],
) -> Result<String> {
    let pairs = environment.iter().map(|(name, value)| format!("{name}={value}"));
    let find = Command::script(FIND).arg(configured.unwrap_or_default()).arg(major.to_string()).args(pairs);
    let found = parse(&host.run(find).await?);
    if let Some(right) = found.iter().find(|found| major_of(&found.said) == Some(major)) {
        return Ok(right.directory.clone());
    }
    Err(refusal(host.name(), configured, major, &found))
}

fn refusal(host: &str, configured: Option<&str>, major: u32, found: &[Found]) -> Error {
    let hint = format!("install PostgreSQL {major} on {host}, or set `bin_directory` of the cluster");
    let Some(other) = found.first() else {
        let place = configured.map_or("the usual places".to_owned(), str::to_owned);
        return Error::refused(format!("no program `postgres` on {host} in {place}")).hint(hint);
    };
    let error = match major_of(&other.said) {
        Some(is) => {
            format!("the programs in {} on {host} are of PostgreSQL {is}, but the data is of {major}", other.directory)
        }
        None => format!("`{}/postgres --version` on {host} says: {}", other.directory, other.said),
    };
    Error::refused(error).hint(hint)
}

/// Path of `psql`: beside the server's programs, else in the PATH. Every version of it can ask every
/// version of the server.
///
/// # Errors
/// A refusal when there is none.
pub(crate) async fn psql(host: &dyn Host, bin: &str) -> Result<String> {
    let beside = format!("{bin}/psql");
    if host.files().exists(&beside).await? {
        return Ok(beside);
    }
    host.which("psql").await?.ok_or_else(|| {
        Error::refused(format!("no program `psql` on {}", host.name()))
            .hint("install PostgreSQL's client programs there: reseed asks the standby by `psql`")
    })
}

fn parse(text: &str) -> Vec<Found> {
    let found = text.lines().filter_map(|line| line.split_once('\t'));
    found.map(|(directory, said)| Found { directory: directory.to_owned(), said: said.to_owned() }).collect()
}

/// The major version in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `… 19devel`, `… 18beta1`.
pub(crate) fn major_of(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("(PostgreSQL) ")?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 10.23"), Some(10));
        assert_eq!(major_of("postgres (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major_of("error while loading shared libraries: libpq.so.5"), None);
    }

    #[test]
    fn a_refusal_names_what_is_there() {
        let found = parse("/usr/bin\tpostgres (PostgreSQL) 14.2\n");
        let error = refusal("standby", None, 15, &found);
        assert_eq!(
            error.to_string(),
            "the programs in /usr/bin on standby are of PostgreSQL 14, but the data is of 15"
        );
        assert!(refusal("standby", Some("/x"), 15, &[]).to_string().ends_with("in /x"));
    }
}
