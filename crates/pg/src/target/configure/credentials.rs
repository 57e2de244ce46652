//! The files that the standby's WAL receiver will need to reach its primary over TLS.

use reseed_core::{Error, Result};

use crate::service::Server;
use crate::session::Conninfo;

/// Settings that name a file.
const FILES: [&str; 4] = ["sslrootcert", "sslcert", "sslkey", "sslcrl"];
/// Modes in which a file that can't be read ends the connection.
const STRICT: [&str; 3] = ["require", "verify-ca", "verify-full"];

/// Prints those of the files `"$@"` that can't be read.
const UNREADABLE: &str = r#"for f; do [ -r "$f" ] || printf '%s\n' "$f"; done"#;

/// That the server's user may read what the connection string names: found out only after the switch,
/// it would cost a downtime.
///
/// # Errors
/// A refusal that names the first file.
pub(super) async fn readable(upstream: &str, server: &Server) -> Result<()> {
    let files = named(&Conninfo::parse(upstream)?, &server.data_directory);
    if files.is_empty() {
        return Ok(());
    }
    let text = server.host.run(server.script(UNREADABLE).args(files)).await?;
    let Some(file) = text.lines().next() else { return Ok(()) };
    let (user, host) = (&server.user, server.host.name());
    Err(Error::refused(format!(
        "the standby's WAL receiver needs {file}, which the user {user} on {host} may not read"
    ))
    .hint(format!(
        "put it there, readable by {user}, or give pg-configure a `primary_conninfo` with files of the standby's own"
    )))
}

/// The files outside the data directory, which is replaced.
fn named(upstream: &Conninfo, data_directory: &str) -> Vec<String> {
    if !upstream.get("sslmode").is_some_and(|mode| STRICT.contains(&mode)) {
        return vec![];
    }
    let files = FILES.iter().filter_map(|key| upstream.get(key));
    let outside = |file: &&str| file.starts_with('/') && !file.starts_with(&format!("{data_directory}/"));
    files.filter(outside).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_where_tls_is_required() {
        let named = |text: &str| named(&Conninfo::parse(text).unwrap(), "/data/pg");
        assert_eq!(named("sslmode=verify-ca sslrootcert=/a sslcert=/b sslkey=/c"), ["/a", "/b", "/c"]);
        assert!(named("sslrootcert=/a").is_empty());
        assert!(named("sslmode=verify-full sslrootcert=system").is_empty());
        assert_eq!(named("sslmode=require sslrootcert=/data/pg/root.crt sslcrl=/data/pg2/x"), ["/data/pg2/x"]);
    }
}
