//! Receivers that outlive their end.

use std::time::{Duration, Instant};

use reseed_core::Result;
use reseed_core::host::{Command, Host};

/// How long a receiver that was ended may still be at work.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked for.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks for a process by two texts of its command line. They come by standard input, so that the
/// looking is not found itself. The second is what an argument begins with, or, where it ends in a space, the
/// whole of one.
const LOOK: &str = r#"IFS= read -r verb; IFS= read -r name; export verb name; ps -A -o args= |
awk 'index($0, ENVIRON["verb"]) && index($0 " ", " " ENVIRON["name"]) { found = 1 } END { exit !found }'"#;

/// Whether a command is what looks for such a process: it tells yes or no.
pub fn is_look(argv: &[&str]) -> bool {
    reseed_core::guard::script(argv, LOOK).is_some_and(<[_]>::is_empty)
}

/// Waits until no process runs `verb` with an argument that begins with `name`. One that was ended
/// may outlive its end: on another machine, or in the kernel.
///
/// # Errors
/// When the machine can't be asked.
pub async fn received(host: &dyn Host, verb: &str, name: &str) -> Result<()> {
    let begun = Instant::now();
    while is_receiving(host, verb, name).await? && begun.elapsed() < PATIENCE {
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

/// Whether a process on the host runs `verb` with an argument that begins with `name`.
///
/// # Errors
/// When the machine can't be asked.
pub async fn is_receiving(host: &dyn Host, verb: &str, name: &str) -> Result<bool> {
    let output = host.output_with(Command::script(LOOK).titled("look"), format!("{verb}\n{name}\n").as_bytes()).await?;
    Ok(output.exit.success())
}

#[cfg(test)]
mod tests {
    use reseed_core::host::{LocalConfig, LocalHost};
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_receiver_is_known_by_the_beginning_of_a_name_and_by_a_whole_one() {
        let host = LocalHost::new("local", &LocalConfig::default());
        let receiver = Command::script("echo up; sleep 60.125; :").args(["nozfs receive", "-u", "busy-test/a"]);
        let mut receiver = host.spawn(&receiver.into()).await.unwrap();
        receiver.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).await.unwrap();
        let looks = async |name: &str| is_receiving(&host, "nozfs receive", name).await.unwrap();
        assert!(looks("busy-test/").await && looks("busy-test/a ").await);
        assert!(!looks("busy-test/a@").await && !looks("busy-test ").await && !looks("busy-test/ ").await);
        drop(receiver);
    }
}
