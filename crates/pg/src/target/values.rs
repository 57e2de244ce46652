//! What the configuration of a data directory says, as `postgres -C` reads it: no server is started.

use reseed_core::Result;
use reseed_core::host::Command;

use super::conf::Settings;
use crate::service::Server;

/// Prints each value with a line `.` behind it. `$1` is `postgres`, `$2` the data directory, `$3` the
/// configuration file or empty, `$4` whether the file's own `data_directory` counts; the rest are names.
const READ: &str = r#"p=$1; d=$2; f=$3; o=$4; shift 4
for n; do
  set -- -D "$d" -C "$n"
  if [ -n "$f" ]; then set -- "$@" -c "config_file=$f"; fi
  if [ "$o" != own ]; then set -- "$@" -c "data_directory=$d"; fi
  "$p" "$@" || exit
  echo .
done"#;

/// Prints those of the names behind `$2` that a line of the configuration may be about: of the file `$2`,
/// or of `postgresql.conf` in `$1` where that is empty, and of `postgresql.auto.conf`. All of them where
/// other files are included, or one of these can't be read.
const SET: &str = r#"d=$1; f=${2:-$1/postgresql.conf}; shift 2; a=$d/postgresql.auto.conf
all() { printf '%s\n' "$@"; exit 0; }
[ -r "$f" ] || all "$@"
[ ! -e "$a" ] || [ -r "$a" ] || all "$@"
[ -e "$a" ] || a=/dev/null
lines=$(sed 's/^[[:space:]]*//; /^#/d; /^$/d' "$f" "$a" | tr A-Z a-z)
case "
$lines" in *"
include"*) all "$@";; esac
for n; do case $lines in *"$n"*) echo "$n";; esac; done"#;

/// The values of those of these settings that the configuration sets, or that must be asked for in any
/// case: each takes a call of `postgres`, and what is not here has its built-in value.
///
/// # Errors
/// When the configuration can't be read, with what `postgres` said.
pub(crate) async fn read_set(
    server: &Server,
    data_directory: &str,
    config_file: Option<&str>,
    names: &[String],
    in_any_case: impl Fn(&str) -> bool,
) -> Result<Settings> {
    let script = server.script(SET).arg(data_directory).arg(config_file.unwrap_or_default());
    let text = server.host.run(script.args(names.iter().cloned())).await?;
    let asked = |name: &&String| text.lines().any(|line| line == name.as_str()) || in_any_case(name);
    let mut asked: Vec<_> = names.iter().filter(asked).cloned().collect();
    if asked.is_empty() {
        // That the configuration can be read at all is seen by any name.
        asked.extend(names.first().cloned());
    }
    read(server, data_directory, config_file, &asked).await
}

/// The values of these settings, in their order.
///
/// # Errors
/// When the configuration can't be read, with what `postgres` said.
pub(crate) async fn read(
    server: &Server,
    data_directory: &str,
    config_file: Option<&str>,
    names: &[String],
) -> Result<Settings> {
    // Each value is a call of `postgres`: two at a time.
    let (some, others) = names.split_at(names.len() / 2);
    let read = async |names: &[String]| {
        let script = script(server, data_directory, config_file, "this").args(names.iter().cloned());
        server.host.run(script).await.map(|text| parse(&text))
    };
    let (first, second) = tokio::try_join!(read(some), read(others))?;
    Ok(names.iter().cloned().zip(first.into_iter().chain(second)).collect())
}

/// The data directory that a server with this configuration would use: a `data_directory` in the file
/// wins over the one that a server is called with.
///
/// # Errors
/// When the configuration can't be read, with what `postgres` said.
pub(crate) async fn data_directory(server: &Server, copy: &str, config_file: Option<&str>) -> Result<String> {
    let text = server.host.run(script(server, copy, config_file, "own").arg("data_directory")).await?;
    Ok(parse(&text).pop().unwrap_or_default())
}

fn script(server: &Server, data_directory: &str, config_file: Option<&str>, counts: &str) -> Command {
    let script = server.script(READ).arg(format!("{}/postgres", server.bin)).arg(data_directory);
    script.arg(config_file.unwrap_or_default()).arg(counts)
}

fn parse(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut value = Vec::new();
    for line in text.lines() {
        if line == "." {
            values.push(value.join("\n"));
            value.clear();
        } else {
            value.push(line);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use reseed_core::host::{Host, LocalConfig, LocalHost};

    use super::*;

    #[tokio::test]
    async fn only_what_a_line_may_be_about_is_asked_for() {
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().to_str().unwrap();
        let found = async |file: &str| {
            let names = ["max_connections", "hba_file", "recovery_target", "primary_conninfo"];
            let script = Command::new("sh").args(["-c", SET, "sh", data, file]).args(names);
            let text = host.run(script).await.unwrap();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(found("").await.len(), 4, "nobody can tell what a file that can't be read sets");
        let conf = "# max_connections = 5\n \t#hba_file = 'x'\n\tMAX_Connections=7 # not a word of primary_conninfo\n";
        std::fs::write(directory.path().join("postgresql.conf"), conf).unwrap();
        assert_eq!(found("").await, ["max_connections", "primary_conninfo"]);
        std::fs::write(directory.path().join("postgresql.auto.conf"), "Recovery_Target_time = ''\n").unwrap();
        assert_eq!(found("").await, ["max_connections", "recovery_target", "primary_conninfo"]);
        let other = directory.path().join("other.conf");
        std::fs::write(&other, "port = 5\n  Include_dir 'conf.d'\n").unwrap();
        assert_eq!(found(other.to_str().unwrap()).await.len(), 4, "what others set nobody can tell");
        std::fs::write(&other, "port = 5 # include\n").unwrap();
        assert_eq!(found(other.to_str().unwrap()).await, ["recovery_target"]);
    }

    #[test]
    fn empty_values_keep_their_place() {
        assert_eq!(parse("100\n.\n\n.\nhost=a user='b c'\n.\n"), ["100", "", "host=a user='b c'"]);
        assert!(parse("").is_empty());
    }
}
