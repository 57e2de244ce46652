//! Commands of one machine linked so that none takes a broken stream for a whole one.
//!
//! Plain pipes are not enough: when a command fails, the kernel closes its output, and the one behind
//! it sees a clean end. So a shell stands around each of them: it ends all while the pipes are still
//! open.

use super::{Command, Job};

/// `$1` tells how many words each command has; the words follow. What `sudo` or `doas` made root is
/// ended by them. A command that lost its reader (141, SIGPIPE) has failed unless the reader failed by
/// itself: then that is the cause.
const LINKED: &str = r#"end() { [ -z "$k" ] || "$k" -n kill -9 0 2>/dev/null; kill -9 0; }
pass() {
  "$@" 4>&-
  s=$?
  [ $s != 141 ] || { echo "$1 was not read to its end" >&4; return 141; }
  [ $s = 0 ] || { trap '' PIPE; echo "$1 exited $s" >&2; end; }
}
c=$1; shift; i=1; k=; p=
IFS=,
for n in $c; do
  eval "w=\${$i}"
  case $w in sudo|doas) k=$w;; esac
  q=pass
  while [ "$n" -gt 0 ]; do q="$q \"\${$i}\""; i=$((i+1)); n=$((n-1)); done
  p="${p:+$p | }$q"
done
unset IFS
exec 3>&1 5<&0
lost=$(eval "$p" 4>&1 >&3 <&5 3>&- 5<&-) || exit
[ -z "$lost" ] || { echo "$lost" >&2; exit 1; }"#;
const TITLE: &str = "linked";

/// The job with one more command at its end, each of them ended when one in front of it fails.
pub fn linked(job: Job, step: Command) -> Job {
    match job.steps() {
        [only] if only.title() == Some(TITLE) => only.clone().with_one_more(step).into(),
        _ => Command::script(LINKED).titled(TITLE).running(job.then(step)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Exit, Host, LocalConfig, LocalHost, shell_quote};

    async fn run(steps: Vec<Command>, input: &[u8]) -> (String, Exit) {
        let mut steps = steps.into_iter();
        let first = Job::from(steps.next().unwrap());
        let host = LocalHost::new("local", &LocalConfig::default());
        let output = (&host as &dyn Host).output_with(steps.fold(first, linked), input).await.unwrap();
        (output.text(), output.exit)
    }

    #[tokio::test]
    async fn commands_get_their_own_words_and_each_others_output() {
        let steps = vec![
            Command::new("cat").args(["-", "/dev/null"]),
            Command::script(r#"cat; echo " $1""#).arg("a  'b'"),
            Command::new("cat"),
        ];
        let (text, exit) = run(steps, b"abc").await;
        assert_eq!(text, "abc a  'b'\n");
        assert!(exit.success(), "{exit:?}");
        assert_eq!(exit.steps.len(), 1, "one chain, not one in the other");
    }

    #[tokio::test]
    async fn none_sees_a_clean_end_of_one_that_failed_after_closing_its_output() {
        for failing in ["cat; exit 3", "cat; exec >&-; exit 3", "exec >&-; kill -9 $$"] {
            let behind = Command::script("cat >/dev/null; echo clean");
            let (text, exit) = run(vec![Command::script(failing), behind.clone(), behind], b"abc").await;
            assert_eq!(text, "", "{failing}");
            assert!(exit.stderr().contains("exited"), "{failing}: {exit:?}");
            assert!(!exit.success(), "{failing}");
        }
    }

    #[tokio::test]
    async fn the_last_ones_own_failure_is_told_as_it_is() {
        let steps = vec![Command::new("yes"), Command::script("echo 'no space left' >&2; exit 7")];
        let (_, exit) = run(steps, b"").await;
        assert!(exit.stderr().contains("no space left"), "{exit:?}");
        assert!(!exit.success());
    }

    #[tokio::test]
    async fn one_that_ends_well_without_reading_everything_is_an_error() {
        let (text, exit) = run(vec![Command::new("yes"), Command::new("head").args(["-c", "2"])], b"").await;
        assert_eq!(text, "y\n");
        assert!(exit.stderr().contains("yes was not read to its end"), "{exit:?}");
        assert!(!exit.success());
        let (text, exit) = run(vec![Command::script("printf abc"), Command::new("head").args(["-c", "3"])], b"").await;
        assert_eq!((text.as_str(), exit.success()), ("abc", true), "{exit:?}");
    }

    #[test]
    fn what_is_shown_is_what_runs() {
        let job = linked(Job::from(Command::new("a")), Command::new("b").arg("c d"));
        assert_eq!(linked(job, Command::new("e")).to_string(), "linked { a | b 'c d' | e }");
        assert_eq!(shell_quote("a"), "a");
    }
}
