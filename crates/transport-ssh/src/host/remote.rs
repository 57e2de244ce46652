//! The text that the login shell of the other machine is given.

use reseed_core::host::{Command, OnDrop};

use super::marker::{BEGUN, Nonce};

/// Bytes that one command may have; Linux gives a shell 128 KiB.
pub(super) const LONGEST: usize = 120 * 1024;

/// Where administration programs live, behind the PATH of the login.
const ENVIRONMENT: &str = "PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin\"; LC_ALL=C; \
                           export PATH LC_ALL; ";

/// A signal that is trapped is the default again in what the shell starts.
const TRAP: &str = "trap : TERM; ";

/// Ends or awaits the shells that have the nonce, which comes by standard input, in their arguments.
/// Each leads, or is in, the process group that the server has made for the job alone.
const GONE: &str = r#"read -r nonce; end=$1; i=0
found() {
  ps -A -ww -o pid= -o pgid= -o args= | while read -r pid group args; do
    case $args in *"$nonce"*) echo "$pid $group";; esac
  done
}
while left=$(found); [ -n "$left" ]; do
  if [ "$end" = 1 ]; then
    echo "$left" | while read -r pid group; do [ "$pid" = "$group" ] && kill -s TERM -- "-$group" 2>/dev/null; done
  fi
  i=$((i + 1)); [ "$i" -lt "$2" ] || exit 1
  sleep 0.1 2>/dev/null || sleep 1
done"#;

/// A command that ends, or just awaits, the job with the nonce that its input is, and exits 1 when it
/// is still there after about `tenths` of a second.
pub(super) fn gone(on_drop: OnDrop, tenths: u32) -> Command {
    let end = if on_drop == OnDrop::End { "1" } else { "0" };
    Command::script(GONE).titled("wait-for-end").arg(end).arg(tenths.to_string())
}

/// A command for a login shell of any family (POSIX, csh, fish), which runs these argument vectors
/// connected by pipes under `sh` and tells its begin and each exit status by a line with the nonce.
///
/// Its shells outlive SIGTERM until their commands have ended, so as long as one is there, something
/// of the job is, whoever it runs as.
/// The script holds nothing but numbers of arguments; the arguments are data.
pub(super) fn command(nonce: &Nonce, argvs: &[Vec<String>]) -> String {
    let script = script(&argvs.iter().map(Vec::len).collect::<Vec<_>>());
    let mut text = format!("exec sh -c {} sh {nonce}", quote(&script));
    for arg in argvs.iter().flatten() {
        text.push(' ');
        text.push_str(&quote(arg));
    }
    if argvs.iter().flatten().all(|arg| is_quotable_everywhere(arg)) {
        return text;
    }
    format!("exec sh -c 'eval \"$(printf %b \"$1\")\"' sh '{}'", octal(&text))
}

/// Argument 1 is the nonce; the words of the commands follow.
fn script(lengths: &[usize]) -> String {
    let mut next = 2;
    let steps = lengths.iter().enumerate().map(|(index, length)| {
        let words: Vec<_> = (next..next + length).map(|at| format!("\"${{{at}}}\"")).collect();
        next += length;
        format!("{{ {TRAP}{}; echo \"$1:{index}:$?\" >&2; }}", words.join(" "))
    });
    format!("{ENVIRONMENT}{TRAP}echo \"$1:{BEGUN}\" >&2; {}", steps.collect::<Vec<_>>().join(" | "))
}

/// Quotes for every family of shells what [`is_quotable_everywhere`], and for `sh` everything.
fn quote(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\'', r"'\''")) }
}

/// Inside single quotes csh minds `!` and line ends, and fish minds backslashes.
fn is_quotable_everywhere(arg: &str) -> bool {
    !arg.contains(['!', '\\', '\n', '\r'])
}

/// As `printf %b` reads it: everything but the plainest bytes as `\0` and three octal digits.
fn octal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'-' | b'_' | b'.' | b'/' | b':' | b'@' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("\\0{other:03o}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use reseed_core::host::{Command, Host, LocalConfig, LocalHost};

    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_script_holds_numbers_only() {
        let script = script(&[2, 1]);
        let body = script.strip_prefix(ENVIRONMENT).unwrap();
        assert_eq!(
            body,
            concat!(
                r#"trap : TERM; echo "$1:begun" >&2; { trap : TERM; "${2}" "${3}"; echo "$1:0:$?" >&2; } | "#,
                r#"{ trap : TERM; "${4}"; echo "$1:1:$?" >&2; }"#
            )
        );
    }

    #[tokio::test]
    async fn every_argument_survives_the_login_shell() {
        let nasty =
            ["", " ", "it's", "$HOME `id` $(id)", "a\nb", "!!", "\\n\\0101", "=x", "~", "*", "ü\u{1}", "-n", ";"];
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        for arg in nasty {
            let nonce = Nonce::new();
            let text = command(&nonce, &[words(&["printf", "%s|%s", arg, "last"]), words(&["cat"])]);
            let output = host.output(Command::new("sh").args(["-c", &text])).await.unwrap();
            assert_eq!(output.text(), format!("{arg}|last"), "{text}");
            assert!(output.exit.stderr().contains(&format!("{nonce}:0:0")), "{}", output.exit.stderr());
        }
    }
}
