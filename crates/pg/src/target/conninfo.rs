//! How the standby's WAL receiver reaches its primary.

use crate::session::Conninfo;

/// What says where the server is and what is wanted of it: never taken over from another string.
const ADDRESS: [&str; 9] =
    ["host", "hostaddr", "port", "user", "dbname", "service", "servicefile", "replication", "options"];

/// The connection `to` with what an earlier one had besides the address: its `application_name`, by
/// which a primary knows its synchronous standbys, and, for the same user, password, certificates
/// and time limits.
pub(crate) fn with_habits(mut to: Conninfo, earlier: &Conninfo) -> Conninfo {
    let same_user = to.get("user") == earlier.get("user");
    for key in earlier.keys() {
        let wanted = key == "application_name" || (same_user && !ADDRESS.contains(&key));
        if let (true, None, Some(value)) = (wanted, to.get(key), earlier.get(key)) {
            to.set(key, value);
        }
    }
    to
}

/// The connection string as a server reads it. It may hold a password: write it only where the
/// server's own settings are.
pub(crate) fn written(conninfo: &Conninfo) -> String {
    let pair = |key: &str| conninfo.get(key).map(|value| format!("{key}={}", quoted(value)));
    conninfo.keys().filter_map(pair).collect::<Vec<_>>().join(" ")
}

/// `key=value` pairs as one connection string.
pub(crate) fn of_pairs(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect::<Vec<_>>().join(" ")
}

fn quoted(value: &str) -> String {
    match value.is_empty() || value.contains(|c: char| c.is_whitespace() || c == '\'' || c == '\\') {
        true => format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'")),
        false => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(to: &str, earlier: &str) -> String {
        written(&with_habits(Conninfo::parse(to).unwrap(), &Conninfo::parse(earlier).unwrap()))
    }

    #[test]
    fn the_name_of_a_synchronous_standby_and_its_credentials_survive() {
        let old = r"host=old user=rep password='a\'b c' application_name=s1 dbname=x";
        assert_eq!(merged("host=new user=rep", old), r"host=new user=rep password='a\'b c' application_name=s1");
        assert_eq!(merged("host=new user=other", old), "host=new user=other application_name=s1");
        assert_eq!(
            merged("host=new user=rep application_name=s2 password=x", old),
            "host=new user=rep application_name=s2 password=x"
        );
    }
}
