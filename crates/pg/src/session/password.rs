//! Where a password comes from, in libpq's order: given, `PGPASSWORD`, password file.

/// The entry of a password file for this server; the first line that fits counts.
///
/// Format: <https://www.postgresql.org/docs/current/libpq-pgpass.html>.
pub(super) fn in_file(text: &str, host: &str, port: &str, dbname: &str, user: &str) -> Option<String> {
    // libpq writes `localhost` for any local socket.
    let host = if host.starts_with('/') { "localhost" } else { host };
    let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let fields = fields(line);
        let [h, p, d, u, password, ..] = fields.as_slice() else { return None };
        let all = fits(h, host) && fits(p, port) && fits(d, dbname) && fits(u, user);
        all.then(|| password.clone())
    })
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let (c, ends) = match c {
            '\\' => (chars.next(), false),
            ':' => (None, true),
            c => (Some(c), false),
        };
        if ends {
            fields.push(String::new());
        } else if let Some(field) = fields.last_mut() {
            field.extend(c);
        }
    }
    fields
}

/// Reads the password file that `named` or the environment names, or the one in the home directory.
/// One that others may read is passed over, as libpq does.
pub(super) fn file(named: Option<&str>) -> Option<String> {
    let path = named.map(Into::into).or_else(|| std::env::var_os("PGPASSFILE").map(Into::into));
    let path = path.or_else(|| Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".pgpass")))?;
    let private = std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && is_private(&metadata));
    if private { std::fs::read_to_string(&path).ok() } else { None }
}

fn is_private(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# host:port:db:user:password\n\
                        db1:5432:*:repl:one\n\
                        *:*:*:o\\:ps:t\\\\w:o\n\
                        localhost:*:*:repl:local\n";

    #[test]
    fn the_first_line_that_fits_counts() {
        assert_eq!(in_file(FILE, "db1", "5432", "postgres", "repl").as_deref(), Some("one"));
        assert_eq!(in_file(FILE, "db1", "5433", "postgres", "repl"), None);
        assert_eq!(in_file(FILE, "/run/postgresql", "5433", "postgres", "repl").as_deref(), Some("local"));
    }

    #[test]
    fn escapes_are_taken_off() {
        assert_eq!(in_file(FILE, "x", "1", "y", "o:ps").as_deref(), Some(r"t\w"));
    }
}
