//! Commands of one machine linked so that none takes a broken stream for a whole one.
//!
//! Plain pipes are not enough: when a command fails, the kernel closes its output, and the one behind
//! it sees a clean end. So a shell stands around each of them: it ends all while the pipes are still
//! open.

use super::{Command, Job};

/// `$1` tells how many words each command has; the words follow. What `sudo` or `doas` made root is
/// ended by them. A command that exits 0 must have read its input to the end: while the shell around it
/// looks, it still holds the command's output. Where there is one command only, its exit status is told
/// as it is: nobody is behind it on this machine.
pub(crate) const LINKED: &str = r#"end() { trap '' PIPE; echo "$*" >&2; [ "$p" != "$q" ] || exit 1; [ -z "$k" ] || "$k" -n kill -9 0 2>/dev/null; kill -9 0; }
pass() {
  "$@"
  s=$?
  [ $s = 0 ] || [ "$p" != "$q" ] || exit $s
  [ $s = 0 ] || end "$1 exited $s"
  [ "$(dd bs=1 count=1 2>/dev/null | wc -c)" -eq 0 ] || end "$1 stopped reading its input before the end"
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
eval "$p""#;
const TITLE: &str = "linked";

/// The job with its commands linked: each of them is ended when one in front of it fails, and must
/// read to the end of its input. The first one, too: its input must come to an end.
pub fn linked(job: Job) -> Job {
    match job.steps() {
        [only] if only.title() == Some(TITLE) => job,
        _ => Command::script(LINKED).titled(TITLE).running(job).into(),
    }
}

/// The job, linked with one more command at its end.
pub fn linked_then(job: Job, step: Command) -> Job {
    match job.steps() {
        [only] if only.title() == Some(TITLE) => only.clone().with_one_more(step).into(),
        _ => linked(job.then(step)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Exit, Host, LocalConfig, LocalHost};

    async fn run(steps: Vec<Command>, input: &[u8]) -> (String, Exit) {
        let mut steps = steps.into_iter();
        let first = Job::from(steps.next().unwrap());
        let host = LocalHost::new("local", &LocalConfig::default());
        let output = (&host as &dyn Host).output_with(linked(steps.fold(first, linked_then)), input).await.unwrap();
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
    async fn one_that_does_not_read_to_the_end_is_an_error_and_the_next_sees_no_end() {
        let clean = Command::script("cat; echo clean");
        for (first, early) in [
            ("yes", "head -c 2"),
            ("printf abc", "head -c 2"),
            ("printf abc", "exec <&-"),
            ("sleep 0.1; printf a", ":"),
        ] {
            let steps = vec![Command::script(first), Command::script(early), clean.clone()];
            let (text, exit) = run(steps, b"").await;
            assert!(!text.contains("clean"), "{early}: {text}");
            assert!(exit.stderr().contains("stopped reading its input before the end"), "{early}: {exit:?}");
            assert!(!exit.success(), "{early}");
        }
        let (_, exit) = run(vec![Command::new("head").args(["-c", "2"])], b"abc").await;
        assert!(!exit.success(), "{exit:?}");
        let (text, exit) = run(vec![Command::script("printf abc"), Command::new("head").args(["-c", "3"])], b"").await;
        assert_eq!((text.as_str(), exit.success()), ("abc", true), "{exit:?}");
    }

    #[test]
    fn what_is_shown_is_what_runs() {
        let job = linked(Job::from(Command::new("a")).then(Command::new("b").arg("c d")));
        assert_eq!(linked(linked_then(job, Command::new("e"))).to_string(), "linked { a | b 'c d' | e }");
    }
}
