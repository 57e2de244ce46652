//! libpq connection strings: both of their forms, read as libpq reads them.
//!
//! Format: <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING>.

use std::fmt;

use reseed_core::{Error, Result};

/// A connection string as keywords and values, in the order in which they were written.
#[derive(Clone, PartialEq, Eq)]
pub struct Conninfo(Vec<(String, String)>);

impl Conninfo {
    /// Reads `host=… port=…` or `postgresql://…`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self> {
        let uri = ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let pairs = match uri {
            Some(rest) => super::uri::pairs(rest),
            None => pairs(text),
        };
        // Not shown with the text in it: there may be a password inside.
        let wrong = |what| Error::failed(format!("the connection string can't be read: {what}"));
        let mut conninfo = Self(vec![]);
        for (key, value) in pairs.map_err(|what| wrong(what).hint("write it as `host=… port=… user=… dbname=…`"))?
        {
            conninfo.set(&key, &value);
        }
        Ok(conninfo)
    }

    /// The value of a keyword; an empty value counts as none, as in libpq.
    pub fn get(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == key);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Sets a keyword, in the place where it stood if it was there.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some(pair) => pair.1 = value.to_owned(),
            None => self.0.push((key.to_owned(), value.to_owned())),
        }
    }

    /// Takes a keyword off.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    /// All keywords.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// Only the pairs with these keywords.
    pub fn only(&self, keys: &[&str]) -> Self {
        Self(self.0.iter().filter(|(key, _)| keys.contains(&key.as_str())).cloned().collect())
    }
}

/// As one string of keywords and values, without the password.
impl fmt::Display for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.iter().filter(|(key, _)| key != "password");
        let pairs: Vec<_> = shown.map(|(key, value)| format!("{key}={}", quoted(value))).collect();
        f.write_str(&pairs.join(" "))
    }
}

impl fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conninfo({self})")
    }
}

/// A value as it stands behind `=`.
fn quoted(value: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && c != '\'' && c != '\\';
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

type Pairs = Result<Vec<(String, String)>, String>;

fn pairs(text: &str) -> Pairs {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((key, after)) = rest.split_once('=') else { return Err("an `=` is missing".into()) };
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err("an `=` is missing after a keyword".into());
        }
        let (value, after) = value(after.trim_start())?;
        pairs.push((key.to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// One value, quoted or not, and what follows it.
fn value(text: &str) -> Result<(String, &str), String> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, &body[at + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    if quoted { Err("a quoted value does not end".into()) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        Conninfo::parse(text).unwrap().0
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.into(), value.into())
    }

    #[test]
    fn keywords_are_read_as_libpq_reads_them() {
        assert_eq!(read(" host = a  port=1 "), [pair("host", "a"), pair("port", "1")]);
        assert_eq!(read("a='b'c=d"), [pair("a", "b"), pair("c", "d")]);
    }

    #[test]
    fn quotes_and_backslashes_survive_a_round() {
        let text = r"user='it\'s' options='-c a\\b' dbname=''";
        assert_eq!(read(text), [pair("user", "it's"), pair("options", r"-c a\b"), pair("dbname", "")]);
        assert_eq!(Conninfo::parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn a_password_is_never_shown() {
        let conninfo = Conninfo::parse("host=a password=secret user=b").unwrap();
        assert_eq!(conninfo.to_string(), "host=a user=b");
        assert!(!format!("{conninfo:?}").contains("secret"));
        assert_eq!(conninfo.get("password"), Some("secret"));
    }

    #[test]
    fn the_last_of_two_counts() {
        assert_eq!(read("host=a host=b"), [pair("host", "b")]);
    }

    #[test]
    fn what_is_no_connection_string_is_refused() {
        for text in ["host", "host=a port", "host='a", "=a"] {
            assert!(Conninfo::parse(text).is_err(), "{text}");
        }
    }
}
