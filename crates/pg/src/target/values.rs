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
    use super::*;

    #[test]
    fn empty_values_keep_their_place() {
        assert_eq!(parse("100\n.\n\n.\nhost=a user='b c'\n.\n"), ["100", "", "host=a user='b c'"]);
        assert!(parse("").is_empty());
    }
}
