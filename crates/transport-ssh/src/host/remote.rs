//! The text that the login shell of the other machine is given.

use reseed_core::host::{Command, OnDrop};
use reseed_core::names::in_one_line;

use super::marker::{BEGUN, Nonce};

/// Bytes that one command may have; Linux gives a shell 128 KiB.
pub(super) const LONGEST: usize = 120 * 1024;

/// Letters of a command that is left, as it is shown.
const SHOWN: usize = 200;

/// Where administration programs live, behind the PATH of the login.
const ENVIRONMENT: &str = "PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin\"; LC_ALL=C; \
                           export PATH LC_ALL; ";

/// Runs a text that is not one every shell takes; its octal form follows.
const DECODE: &str = r#"exec sh -c 'eval "$(printf %b "$1")"' sh "#;

/// A signal that is trapped is the default again in what the shell starts.
const TRAP: &str = "trap : TERM; ";

/// Ends or awaits the shells that have the name, which comes by standard input, in their arguments: a nonce,
/// or what all nonces of a process begin with; jobs of a process are only awaited. Each leads, or is in, the
/// process group that the server has made for the job alone. Says what is left when it gives up.
/// A name that is none would find processes of others.
///
/// A job is not seen before its shell is there. So whoever does not know whether there is a job looks more
/// often than once.
const GONE: &str = r#"read -r name; end=$1; i=0; seen=0
case ${name#reseed-} in "$name"|*[!0-9a-f]*) exit 2;; esac
case ${#name}$end in 390|391|230) ;; *) exit 2;; esac
found() {
  ps -A -ww -o pid= -o pgid= -o args= | while read -r pid group args; do
    case $args in *"$name"*) printf '%s %s %s\n' "$pid" "$group" "${args##*"$name"}";; esac
  done
}
while left=$(found); [ -n "$left" ] || seen=$((seen + 1)); [ "$seen" -lt "$3" ]; do
  if [ -n "$left" ]; then
    seen=0; i=$((i + 1))
    [ "$end" = 0 ] || printf '%s\n' "$left" | while read -r pid group args; do
      case $pid in ""|0|1|*[!0-9]*) continue;; esac
      [ "$pid" = "$group" ] && kill -s TERM -- "-$group" 2>/dev/null
    done
    [ "$i" -lt "$2" ] || { printf '%s\n' "$left"; exit 1; }
  fi
  sleep 0.1 2>/dev/null || sleep 1
done"#;

/// A command that ends, or just awaits, the job with the nonce that its input is, and exits 1 when it
/// is still there after about `tenths` of a second.
pub(crate) fn gone(on_drop: OnDrop, tenths: u32) -> Command {
    let end = if on_drop == OnDrop::End { "1" } else { "0" };
    waits(end, tenths, 1)
}

/// A command that awaits all jobs of the process whose name is its input, in the same way: it has ended when
/// none was found `looks` times. Exits 1 when one is left, and says each behind its numbers.
pub(crate) fn settled(tenths: u32, looks: u32) -> Command {
    waits("0", tenths, looks)
}

fn waits(end: &str, tenths: u32, looks: u32) -> Command {
    Command::script(GONE).titled("wait-for-end").args([end, &tenths.to_string(), &looks.to_string()])
}

/// The commands of jobs that [`settled`] says are left.
pub(crate) fn left(said: &str) -> Vec<String> {
    let command = |line: &str| line.splitn(4, ' ').nth(3).map(|command| in_one_line(command, SHOWN));
    let mut left: Vec<_> = said.lines().filter_map(command).collect();
    left.dedup();
    left
}

/// A command for a login shell of any family (POSIX, csh, fish), which runs these argument vectors
/// connected by pipes under `sh` and tells its begin and each exit status by a line with the nonce.
///
/// Its shells outlive SIGTERM until their commands have ended, so as long as one is there, something
/// of the job is, whoever it runs as.
/// The script holds nothing but numbers of arguments; the arguments are data.
pub(crate) fn command(nonce: &Nonce, argvs: &[Vec<String>]) -> String {
    let script = script(&argvs.iter().map(Vec::len).collect::<Vec<_>>());
    let mut text = format!("exec sh -c {} sh {nonce}", quote(&script));
    for arg in argvs.iter().flatten() {
        text.push(' ');
        text.push_str(&quote(arg));
    }
    if argvs.iter().flatten().all(|arg| is_quotable_everywhere(arg)) {
        return text;
    }
    format!("{DECODE}'{}'", octal(&text))
}

/// A text that [`command`] made, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The name under which statuses are told.
    pub(crate) nonce: Nonce,
    /// The commands, connected by pipes.
    pub(crate) argvs: Vec<Vec<String>>,
}

impl Call {
    /// Takes a text apart; `None` unless [`command`] makes exactly this text of what was found in it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let call = Self::inside(text).or_else(|| Self::inside(&decoded(text)?))?;
        (command(&call.nonce, &call.argvs) == text).then_some(call)
    }

    fn inside(text: &str) -> Option<Self> {
        let words = unquoted(text)?;
        let [exec, sh, c, script, name, nonce, args @ ..] = words.as_slice() else { return None };
        if [exec, sh, c, name] != ["exec", "sh", "-c", "sh"] {
            return None;
        }
        let (nonce, mut args, mut argvs) = (Nonce::parse(nonce)?, args, vec![]);
        for length in lengths(script)? {
            let (argv, rest) = args.split_at_checked(length)?;
            argvs.push(argv.to_vec());
            args = rest;
        }
        args.is_empty().then_some(Self { nonce, argvs })
    }

    /// The program and its arguments that the text runs, for those who run it without a login shell.
    pub(crate) fn argv(&self) -> Vec<String> {
        let script = script(&self.argvs.iter().map(Vec::len).collect::<Vec<_>>());
        let head = ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned(), self.nonce.to_string()];
        head.into_iter().chain(self.argvs.iter().flatten().cloned()).collect()
    }
}

/// How many words each command of a [`script`] has.
fn lengths(script: &str) -> Option<Vec<usize>> {
    let (_, steps) = script.split_once("; { ")?;
    let lengths: Vec<_> = steps.split(" | { ").map(|step| step.matches("\"${").count()).collect();
    lengths.iter().all(|length| *length > 0).then_some(lengths)
}

/// The words of a line in which [`quote`] made each.
fn unquoted(text: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = words.last_mut()?;
        rest = match first {
            ' ' => {
                words.push(String::new());
                &rest[1..]
            }
            '\'' => {
                let (inside, behind) = rest[1..].split_once('\'')?;
                word.push_str(inside);
                behind
            }
            '\\' => {
                word.push('\'');
                rest.strip_prefix(r"\'")?
            }
            plain => {
                word.push(plain);
                &rest[plain.len_utf8()..]
            }
        };
    }
    Some(words)
}

/// The text in what [`command`] makes of one that not every shell takes.
fn decoded(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix(DECODE)?.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some(first) = rest.bytes().next() {
        let (byte, length) = match rest.strip_prefix("\\0") {
            Some(octal) => (u8::from_str_radix(octal.get(..3)?, 8).ok()?, 5),
            None => (first, 1),
        };
        bytes.push(byte);
        rest = rest.get(length..)?;
    }
    String::from_utf8(bytes).ok()
}

/// Whether this is what looks after a job that was dropped: it touches none but processes of a nonce.
pub(crate) fn is_gone(argv: &[&str]) -> bool {
    match reseed_core::guard::script(argv, GONE) {
        Some([end, tenths, looks]) => {
            matches!(*end, "0" | "1") && tenths.parse::<u16>().is_ok() && looks.parse::<u8>().is_ok()
        }
        _ => false,
    }
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
    use crate::host::marker::of_process;

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

    /// With anything else, every process of the user would be one of the job.
    #[tokio::test]
    async fn only_a_nonce_finds_processes() {
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        let find = async |nonce: &str| {
            let output = host.output_with(gone(OnDrop::Finish, 1), format!("{nonce}\n").as_bytes()).await;
            output.unwrap().exit.code()
        };
        assert_eq!(find(&Nonce::new().to_string()).await, Some(0), "nobody has it");
        let process = of_process("00000000000000ee");
        assert_eq!(find(&process).await, Some(0), "nobody has it");
        let end = host.output_with(gone(OnDrop::End, 1), format!("{process}\n").as_bytes()).await.unwrap();
        assert_eq!(end.exit.code(), Some(2), "jobs of a process are not ended");
        for odd in ["", "reseed-", "*", "sh", &"0".repeat(32), &format!("reseed-{}", "g".repeat(32)), "reseed-0"] {
            assert_eq!(find(odd).await, Some(2), "{odd}");
        }
    }

    #[tokio::test]
    async fn a_job_of_a_process_is_found_by_its_mark_and_told_as_its_command() {
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        let nonce = Nonce::parse(&format!("reseed-00000000000000ff{}", "0".repeat(16))).unwrap();
        let text = command(&nonce, &[words(&["sh", "-c", "echo up; exec sleep 60.75"]), words(&["cat"])]);
        let mut act = host.spawn(&Command::new("sh").args(["-c", &text]).into()).await.unwrap();
        let mut line = [0; 8];
        tokio::io::AsyncReadExt::read(act.stdout.as_mut().unwrap(), &mut line).await.unwrap();
        let name = format!("{}\n", of_process("00000000000000ff"));
        let output = host.output_with(settled(1, 3), name.as_bytes()).await.unwrap();
        assert_eq!(output.exit.code(), Some(1), "{output:?}");
        assert_eq!(left(&output.text()), ["sh -c echo up; exec sleep 60.75 cat"]);
    }

    #[tokio::test]
    async fn no_argument_of_a_job_makes_others_of_the_processes_that_are_ended() {
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        // A process group of its own, whose number the job's argument has, as a line for a shell that reads `\n`.
        let victim = host.spawn(&Command::script("echo $$; exec sleep 60.5").into()).await.unwrap();
        let mut lines = tokio::io::BufReader::new(victim.stdout.unwrap());
        let mut pid = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut lines, &mut pid).await.unwrap();
        let pid = pid.trim();
        let nonce = Nonce::new();
        let script = "echo up; exec sleep 60.25";
        let text = command(&nonce, &[words(&["sh", "-c", script, &format!("x\\n{pid} {pid} y")])]);
        let mut job = host.spawn(&Command::new("sh").args(["-c", &text]).into()).await.unwrap();
        tokio::io::AsyncReadExt::read_exact(job.stdout.as_mut().unwrap(), &mut [0; 3]).await.unwrap();
        let ended = host.output_with(gone(OnDrop::End, 50), format!("{nonce}\n").as_bytes()).await.unwrap();
        assert_eq!(ended.exit.code(), Some(0), "{ended:?}");
        assert!(reseed_core::host::began(pid.parse().unwrap()).is_some(), "another was ended");
        drop(victim.handle);
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
