//! Connection strings in the form `postgresql://user:password@host:port/dbname?key=value`.

type Pairs = Result<Vec<(String, String)>, String>;

/// Keywords and values of a URI; `rest` is what follows the scheme.
pub(super) fn pairs(rest: &str) -> Pairs {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (hosts, ports) = endpoints(hosts)?;
    let mut pairs = Vec::new();
    for (key, value) in [("host", hosts), ("port", ports), ("user", decoded(user)?), ("password", decoded(password)?)] {
        pairs.push((key.to_owned(), value));
    }
    pairs.push(("dbname".to_owned(), decoded(dbname)?));
    pairs.retain(|(_, value)| !value.is_empty());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or("a parameter of the URI has no `=`")?;
        pairs.push((decoded(key)?, decoded(value)?));
    }
    Ok(pairs)
}

/// `a:1,b` as the lists `a,b` and `1,`.
fn endpoints(text: &str) -> Result<(String, String), String> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for endpoint in text.split(',') {
        let (host, port) = match endpoint.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => (address, port.strip_prefix(':').unwrap_or(port)),
            None => endpoint.split_once(':').unwrap_or((endpoint, "")),
        };
        hosts.push(decoded(host)?);
        ports.push(port.to_owned());
    }
    let ports = if ports.iter().all(String::is_empty) { String::new() } else { ports.join(",") };
    Ok((hosts.join(","), ports))
}

fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err("a `%` without two digits".into()) };
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rest: &str) -> String {
        let pairs = pairs(rest).unwrap();
        pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_part_of_a_uri_is_read() {
        assert_eq!(
            shown("u%40x:p%3Aw@h:5433/db?sslmode=disable&application_name=a%20b"),
            "host=h port=5433 user=u@x password=p:w dbname=db sslmode=disable application_name=a b"
        );
        assert_eq!(shown("a:1,b/d"), "host=a,b port=1, dbname=d");
        assert_eq!(shown("[::1]:5/"), "host=::1 port=5");
        assert_eq!(shown("%2Frun%2Fpg/d"), "host=/run/pg dbname=d");
        assert_eq!(shown("/d?host=/tmp"), "dbname=d host=/tmp");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn a_broken_uri_is_refused() {
        for rest in ["h/d?x", "a%2", "a%zz", "%ff"] {
            assert!(pairs(rest).is_err(), "{rest}");
        }
    }
}
