//! What the configuration of a data directory says, as `postgres -C` reads it: no server is started.

use reseed_core::Result;

use crate::service::Server;

/// Prints each value with a line `.` behind it. `$1` is `postgres`, `$2` the data directory, `$3` the
/// configuration file or empty; the rest are names.
const READ: &str = r#"p=$1; d=$2; f=$3; shift 3
for n; do
  if [ -n "$f" ]; then "$p" -D "$d" -c "data_directory=$d" -c "config_file=$f" -C "$n" || exit
  else "$p" -D "$d" -C "$n" || exit
  fi
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
) -> Result<Vec<(String, String)>> {
    let script = server.script(READ).arg(format!("{}/postgres", server.bin)).arg(data_directory);
    let text = server.host.run(script.arg(config_file.unwrap_or_default()).args(names.iter().cloned())).await?;
    Ok(names.iter().cloned().zip(parse(&text)).collect())
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
