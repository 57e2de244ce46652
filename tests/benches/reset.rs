//! What a whole reset costs, as ratios within one run: against the same steps as a shell script, and its downtime
//! against PostgreSQL's own stop and start. `RESEED_BENCH_SCALE` (15 MB each) and `RESEED_BENCH_ROUNDS` set the size.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reseed_lab::{Major, Pair, PairOptions, Recipe, Server, Tool};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Fallible<()> {
    let scale = from_environment("RESEED_BENCH_SCALE", 40);
    let rounds = from_environment("RESEED_BENCH_ROUNDS", 7);
    let pair = Pair::new(&PairOptions { scale, pool_bytes: 24 << 30, ..PairOptions::small(Major::newest()?) })?;
    let script = Script::new(&pair)?;
    let file = pair.lab.path("bench.toml");
    std::fs::write(&file, pipeline(&pair))?;

    println!("seeding both standbys with {} MB", scale * 15);
    let seed = reseed(&file)?;
    let copying = pair.lab.path("copying.toml");
    std::fs::write(&copying, copy_only(&pair)?)?;
    reseed(&copying)?;
    script.run(None, "script-0")?;

    let mut figures = Figures::default();
    for round in 1..=rounds {
        change(&pair.primary, round)?;
        let run = reseed(&file)?;
        figures.reseed.push(run.seconds);
        figures.downtime.push(run.report["downtime_seconds"].as_f64().unwrap_or(f64::NAN));
        figures.memory = figures.memory.max(run.memory_kib);
        change(&pair.primary, round + 1000)?;
        // The stop that a reset waits for writes what a standby has replayed; so must this one.
        replayed(&pair.primary, &script.standby)?;
        figures.restart.push(restart(&script.standby)?);
        figures.script.push(script.run(Some(&format!("script-{}", round - 1)), &format!("script-{round}"))?);
        figures.idle.push(reseed(&file)?.seconds);
        figures.copied.push(reseed(&copying)?.seconds);
        println!("round {round} of {rounds}: {}", figures.last());
    }
    figures.tell(&seed);
    script.standby.stop()?;
    pair.standby.stop()?;
    Ok(())
}

/// The stages of samples/reset-standby.toml, and what docs/tutorial.md advises for a short switch.
fn pipeline(pair: &Pair) -> String {
    let text = pair.pipeline(&Recipe::default().with("pg-switch", "keep_old = \"0s\""));
    text.replace("settings = {", "settings = { recovery_init_sync_method = \"syncfs\",")
}

/// The same up to the received snapshot, into a copy of its own: no server is stopped or started.
fn copy_only(pair: &Pair) -> Fallible<String> {
    let text = pair.pipeline(&Recipe::default());
    let copied = text.split_once("[[stage]]\nuse = \"zfs-clone\"").ok_or("the pipeline clones")?.0;
    let (kept, own) = (pair.b.dataset("reseed"), pair.b.dataset("copied"));
    Ok(copied
        .replace("name = \"", "name = \"copying-")
        .replace(&format!("into = \"{kept}\""), &format!("into = \"{own}\"")))
}

#[derive(Default)]
struct Figures {
    reseed: Vec<f64>,
    script: Vec<f64>,
    downtime: Vec<f64>,
    restart: Vec<f64>,
    idle: Vec<f64>,
    copied: Vec<f64>,
    memory: u64,
}

impl Figures {
    fn last(&self) -> String {
        let last = |of: &[f64]| of.last().copied().unwrap_or(f64::NAN);
        format!(
            "reseed {:.2} s, script {:.2} s, down {:.2} s, stop + start {:.2} s, nothing to send {:.2} s ({:.2} s)",
            last(&self.reseed),
            last(&self.script),
            last(&self.downtime),
            last(&self.restart),
            last(&self.idle),
            last(&self.copied)
        )
    }

    fn tell(&self, seed: &Run) {
        let (reseed, script) = (median(&self.reseed), median(&self.script));
        // pg_ctl looks every 0.1 s: its figures jump, so that a median of them would too.
        let (down, restart) = (mean(&self.downtime), mean(&self.restart));
        println!("\nfigure                                 typical    against        ratio  wanted");
        println!(
            "reset after 1 % change               {reseed:>7.2} s  {script:>7.2} s  {:>10.2}  at most 1.1",
            reseed / script
        );
        println!(
            "downtime, against stop + start       {down:>7.2} s  {restart:>7.2} s  {:>10.2}  at most 1.2",
            down / restart
        );
        println!(
            "nothing to send, over SSH            {:>7.2} s                         below 1 s",
            median(&self.copied)
        );
        println!("the same, with clone and switch      {:>7.2} s                         ", median(&self.idle));
        println!(
            "memory at most, full seeding         {:>7.1} MiB                       ",
            seed.memory_kib as f64 / 1024.0
        );
        println!(
            "memory at most, resets               {:>7.1} MiB                       ",
            self.memory as f64 / 1024.0
        );
    }
}

struct Run {
    seconds: f64,
    memory_kib: u64,
    report: serde_json::Value,
}

/// Runs the binary as a user would and watches the most memory that it held.
#[expect(clippy::disallowed_methods, reason = "the binary is what is measured here, as its user starts it")]
fn reseed(file: &str) -> Fallible<Run> {
    let begun = Instant::now();
    let mut command = Command::new(binary()?);
    let state = std::env::temp_dir().join("reseed-bench-state");
    let command = command.env("RESEED_STATE_DIR", state);
    let child = command.args(["run", "--json", file]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(kib) = std::fs::read_to_string(&status).ok().and_then(|text| peak_kib(&text)) {
            peak = peak.max(kib);
            std::thread::sleep(Duration::from_millis(5));
        }
        peak
    });
    let output = child.wait_with_output()?;
    let seconds = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(format!("reseed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = text.lines().last().map(serde_json::from_str).transpose()?.unwrap_or_default();
    Ok(Run { seconds, memory_kib: watch.join().unwrap_or(0), report })
}

/// The high-water mark; a process that has ended has none.
fn peak_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().split(' ').next()?.parse().ok()
}

/// The binary that was built beside this bench.
fn binary() -> Fallible<PathBuf> {
    let bench = std::env::current_exe()?;
    let binary = bench.parent().and_then(Path::parent).map(|directory| directory.join("reseed"));
    binary.filter(|path| path.exists()).ok_or_else(|| "build the binary first: cargo build --release --bins".into())
}

/// Changes one row of a hundred, everywhere in the table.
fn change(primary: &Server, round: u32) -> Fallible<()> {
    let sql = "update pgbench_accounts set abalance = abalance + 1 where aid % 6100 between ";
    let first = round * 61 % 6100;
    primary.sql(&format!("{sql} {first} and {first}"))?;
    primary.sql("checkpoint")?;
    Ok(())
}

/// Waits until a standby has replayed all that its primary has written.
fn replayed(primary: &Server, standby: &Server) -> Fallible<()> {
    let written = primary.sql("select pg_current_wal_flush_lsn()")?;
    let sql = format!("select pg_last_wal_replay_lsn() >= '{}'", written.trim());
    while standby.sql(&sql)?.trim() != "t" {}
    Ok(())
}

/// PostgreSQL's own stop and start, to the first answered query.
fn restart(server: &Server) -> Fallible<f64> {
    let begun = Instant::now();
    server.stop()?;
    server.start()?;
    while !server.answers() {}
    Ok(begun.elapsed().as_secs_f64())
}

/// The yardstick: a standby of its own that the shell script resets.
struct Script {
    standby: Server,
    environment: Vec<(&'static str, String)>,
}

impl Script {
    fn new(pair: &Pair) -> Fallible<Self> {
        let place = pair.b.path("script-live");
        let standby = Server::place(&pair.lab, "script", &pair.primary.major, format!("{place}/data"))?;
        let copies = pair.b.create("script", &["mountpoint=none"])?;
        let sshd = pair.sshd.as_ref().ok_or("the bench goes over SSH")?;
        let ssh = format!(
            "ssh -p {} -i {} -o UserKnownHostsFile={} -o BatchMode=yes -o ControlMaster=auto -o ControlPersist=60 -o ControlPath={}/%C root@127.0.0.1",
            sshd.port,
            sshd.identity_file,
            sshd.known_hosts,
            pair.lab.directory().display()
        );
        let reach = |server: &Server| format!("-h {} -p {} -U postgres postgres", server.sockets, server.port);
        let environment = vec![
            ("SSH", ssh),
            ("SOURCE", pair.a.dataset("pgsql")),
            ("COPY", format!("{copies}/pgsql")),
            ("LIVE", pair.b.dataset("script-live")),
            ("PLACE", place),
            ("PRIMARY", reach(&pair.primary)),
            ("STANDBY", reach(&standby)),
            ("UPSTREAM", pair.primary.conninfo()),
            ("BIN", standby.programs.to_string_lossy().into_owned()),
            ("PORT", standby.port.to_string()),
            ("SOCKETS", standby.sockets.clone()),
        ];
        Ok(Self { standby, environment })
    }

    fn run(&self, base: Option<&str>, snapshot: &str) -> Fallible<f64> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/reset.sh");
        let mut tool = Tool::new(script).env("BASE", base.unwrap_or_default()).env("SNAP", snapshot);
        for (name, value) in &self.environment {
            tool = tool.env(name, value.clone());
        }
        let begun = Instant::now();
        tool.run()?;
        Ok(begun.elapsed().as_secs_f64())
    }
}

fn from_environment(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len() as f64
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
