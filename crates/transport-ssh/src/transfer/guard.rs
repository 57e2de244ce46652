//! The end of a stream for a machine without reseed: blocks with their lengths in front, taken apart
//! there by `sh` and `dd`.
//!
//! SSH has no other way to tell a clean end from a broken connection: in both cases the input of the
//! remote command ends. So lengths go in front of the bytes and the word `end` behind them, and what
//! stands between SSH and the receiver ends the receiver unless it has seen the word.
//!
//! Layout: `<blocks> <rest>` and a line end in ASCII, then `blocks` × 128 KiB + `rest` bytes, again and
//! again; then `end` and a line end.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::Result;
use reseed_core::host::{Command, Job};
use reseed_core::stream::{BoxStream, ByteStream};

/// Bytes of a block; the script has the same number.
const BLOCK: usize = 128 * 1024;
/// Bytes collected before they go out: `dd` is started for each collection.
const COLLECTED: usize = 4 * 1024 * 1024;

/// `$1` tells how many words each command has; the words follow. The commands run connected by pipes.
/// When one in front of another fails, or the input ends early, everything is ended while the pipes
/// are still open, so that no command sees a clean end; where the connection broke, nobody reads what
/// is said about it. What `sudo` or `doas` made root is ended by them.
const GUARD: &str = r#"end() { [ -z "$k" ] || "$k" -n kill -9 0 2>/dev/null; kill -9 0; }
cut() { trap '' PIPE; echo "the stream was cut off before its end" >&2; end; }
part() { [ "$2" = 0 ] || [ "$1" = 0 ] || dd bs="$1" count="$2" iflag=fullblock 2>/dev/null; }
feed() {
  while IFS=' ' read -r b r; do
    [ "$b" != end ] || return 0
    part 131072 "$b" && part "$r" 1
    s=$?
    [ $s != 141 ] || return 0
    [ $s = 0 ] || cut
  done
  cut
}
pass() {
  "$@"
  s=$?
  [ $s = 0 ] || [ $s = 141 ] || { trap '' PIPE; echo "$1 exited $s" >&2; end; }
}
c=$1; shift; i=1; k=; p=; q=
IFS=,
for n in $c; do
  eval "w=\${$i}"
  case $w in sudo|doas) k=$w;; esac
  [ -z "$q" ] || p="$p | pass$q"
  q=
  while [ "$n" -gt 0 ]; do q="$q \"\${$i}\""; i=$((i+1)); n=$((n-1)); done
done
unset IFS
eval "feed$p |$q""#;

/// The job under a guard, for a machine with a POSIX `sh` and a `dd` that knows `fullblock`.
pub(super) fn guarded(job: Job) -> Job {
    Command::script(GUARD).titled("guarded").running(job).into()
}

/// The stream as the guard takes it apart.
pub(super) fn blocks(stream: BoxStream) -> BoxStream {
    Box::new(Blocks { stream, out: VecDeque::new(), ended: false })
}

struct Blocks {
    stream: BoxStream,
    out: VecDeque<Bytes>,
    ended: bool,
}

impl Blocks {
    async fn collect(&mut self) -> Result<()> {
        let mut size = 0;
        while size < COLLECTED && !self.ended {
            match self.stream.next().await? {
                Some(bytes) => {
                    size += bytes.len();
                    self.out.push_back(bytes);
                }
                None => self.ended = true,
            }
        }
        if size > 0 {
            self.out.push_front(format!("{} {}\n", size / BLOCK, size % BLOCK).into());
        }
        if self.ended {
            self.out.push_back(Bytes::from_static(b"end\n"));
        }
        Ok(())
    }
}

#[async_trait]
impl ByteStream for Blocks {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.out.is_empty() && !self.ended {
            self.collect().await?;
        }
        Ok(self.out.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use reseed_core::Error;
    use reseed_core::host::{Exit, Host, LocalConfig, LocalHost};
    use reseed_core::stream::{Chunks, collect};

    use super::*;

    /// Runs a guarded job here on these bytes, in a session of its own as sshd gives it.
    async fn run(job: Job, input: &[u8]) -> (Vec<u8>, Exit) {
        let host = LocalHost::new("local", &LocalConfig::default());
        let host: &dyn Host = &host;
        let output = host.output_with(guarded(job), input).await.unwrap();
        (output.stdout, output.exit)
    }

    async fn as_blocks(bytes: &[u8], chunk: usize) -> Vec<u8> {
        let chunks = bytes.chunks(chunk).map(Bytes::copy_from_slice).collect();
        collect(blocks(Box::new(Chunks::new(chunks))), usize::MAX).await.unwrap()
    }

    fn sample(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect()
    }

    #[tokio::test]
    async fn what_was_sent_arrives_whatever_its_length() {
        for length in [0, 1, 5, BLOCK - 1, BLOCK, BLOCK + 1, COLLECTED, 2 * COLLECTED + 77] {
            let input = as_blocks(&sample(length), 100_000).await;
            let (output, exit) = run(Command::new("cat").into(), &input).await;
            assert!(exit.success(), "{length}: {exit:?}");
            assert!(output == sample(length), "{length}");
        }
    }

    #[tokio::test]
    async fn every_command_behind_the_guard_gets_its_own_words() {
        let input = as_blocks(b"abc", 10).await;
        let job = Job::pipe(vec![
            Command::new("cat").args(["-", "/dev/null"]),
            Command::script(r#"cat; echo " $1""#).arg("a b"),
        ]);
        let (output, exit) = run(job, &input).await;
        assert_eq!(String::from_utf8_lossy(&output), "abc a b\n");
        assert!(exit.success());
    }

    #[tokio::test]
    async fn a_receiver_never_sees_a_clean_end_of_a_cut_stream() {
        let whole = as_blocks(&sample(300_000), 100_000).await;
        for cut in [0, 3, 10, 1000, BLOCK + 9, whole.len() - 5, whole.len() - 4, whole.len() - 1] {
            let job = Command::script("cat >/dev/null; echo clean");
            let (output, exit) = run(job.into(), &whole[..cut]).await;
            assert_eq!(output, b"", "cut at {cut}");
            assert!(!exit.success(), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn a_receiver_never_sees_a_clean_end_of_a_failed_decoder() {
        let input = as_blocks(b"no zstd at all", 100).await;
        let job = Job::pipe(vec![Command::script("cat; exit 3"), Command::script("cat >/dev/null; echo clean")]);
        let (output, exit) = run(job, &input).await;
        assert_eq!(output, b"");
        assert!(exit.stderr().contains("exited 3"), "{exit:?}");
    }

    #[tokio::test]
    async fn the_receivers_own_failure_is_told() {
        let input = as_blocks(&sample(3_000_000), 100_000).await;
        let job = Job::pipe(vec![Command::new("cat"), Command::script("echo 'no space left' >&2; exit 7")]);
        let (_, exit) = run(job, &input).await;
        assert_eq!(exit.code(), Some(7), "{exit:?}");
        assert!(exit.stderr().contains("no space left"), "{exit:?}");
    }

    #[tokio::test]
    async fn a_failing_stream_has_no_end() {
        let failing = Chunks::failing(vec![Bytes::from_static(b"abc")], Error::failed("disk is on fire"));
        let error = collect(blocks(Box::new(failing)), 1000).await.unwrap_err();
        assert_eq!(error.chain(), "disk is on fire");
    }
}
