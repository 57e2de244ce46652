//! How much of a plain shell pipe's throughput the engine reaches on the same work: a source in one
//! process, a sink in another, either connected by the shell or by the engine. Rounds alternate within
//! one run, and only the ratio of the medians counts.
//!
//! `cargo bench -p reseed-core --bench pipe`; `-- --bytes 4G --rounds 9` sets the work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reseed_core::Result;
use reseed_core::host::{Command, Host, Job, LocalConfig, LocalHost, drain, open};
use reseed_core::stream::{Meter, Metered};

/// A source and a sink, as commands and as the text of a shell.
struct Work {
    name: &'static str,
    source: Command,
    sink: Command,
    shell: &'static str,
}

fn works() -> Vec<Work> {
    let sink = || Command::script("exec cat >/dev/null");
    vec![
        Work {
            name: "as fast as a pipe",
            source: Command::script(r#"exec head -c "$1" /dev/zero"#),
            sink: sink(),
            shell: r#"head -c "$1" /dev/zero | cat >/dev/null"#,
        },
        Work {
            name: "blocks of 128 KiB",
            source: Command::script(r#"exec dd if=/dev/zero bs=128k count="$(($1 / 131072))" status=none"#),
            sink: sink(),
            shell: r#"dd if=/dev/zero bs=128k count="$(($1 / 131072))" status=none | cat >/dev/null"#,
        },
        Work {
            name: "hashed by the sink",
            source: Command::script(r#"exec head -c "$(($1 / 4))" /dev/zero"#),
            sink: Command::script("exec sha256sum >/dev/null"),
            shell: r#"head -c "$(($1 / 4))" /dev/zero | sha256sum >/dev/null"#,
        },
    ]
}

async fn by_engine(host: &dyn Host, work: &Work, bytes: &str) -> Result<Duration> {
    let begun = Instant::now();
    let stream = open(host, &work.source.clone().arg(bytes).into()).await?;
    let stream = Metered::boxed(stream, Arc::new(Meter::default()));
    let sink = host.spawn(&Job::from(work.sink.clone())).await?;
    drain(stream, sink, &Arc::default()).await?;
    Ok(begun.elapsed())
}

async fn by_shell(host: &dyn Host, work: &Work, bytes: &str) -> Result<Duration> {
    let begun = Instant::now();
    host.run(Command::script(work.shell).arg(bytes)).await?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

fn setting(name: &str, default: &str) -> String {
    let mut args = std::env::args().skip_while(|arg| arg != name).skip(1);
    args.next().unwrap_or_else(|| default.to_owned())
}

fn bytes_of(text: &str) -> u64 {
    let (number, unit) = match text.strip_suffix('G') {
        Some(number) => (number, 1 << 30),
        None => (text, 1),
    };
    number.parse::<u64>().expect("--bytes takes a number, or one with a G behind it") * unit
}

/// Peak resident memory of this process in KiB, where the system tells it.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[tokio::main]
async fn main() -> Result<()> {
    let bytes = bytes_of(&setting("--bytes", "4G")).to_string();
    let rounds: usize = setting("--rounds", "9").parse().expect("--rounds takes a number");
    let host = LocalHost::new("local", &LocalConfig::default());
    for work in works() {
        let (mut engine, mut shell) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            shell.push(by_shell(&host, &work, &bytes).await?);
            engine.push(by_engine(&host, &work, &bytes).await?);
        }
        let (engine, shell) = (median(engine), median(shell));
        println!("{}: shell {shell:.3} s, engine {engine:.3} s, ratio {:.2}", work.name, shell / engine);
    }
    if let Some(peak) = peak_kib() {
        println!("peak resident memory {:.1} MiB", peak as f64 / 1024.0);
    }
    Ok(())
}
