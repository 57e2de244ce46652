//! reseed as a library: a pipeline that is built in code, watched, cancelled, and judged by its report.
//!
//! `cargo run -p reseed-core --example embed` archives a directory twice: once to the end, once until
//! it is cancelled in the midst.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use reseed_core::Format;
use reseed_core::config::Rate;
use reseed_core::engine::{Engine, Pipeline};
use reseed_core::event::{Event, Observer};
use reseed_core::report::{Outcome, RunReport};
use reseed_core::stage::Stage;
use reseed_core::stages::{Exec, hash, throttle, zstd};

/// Prints what happens. A real program would feed its metrics or its own user interface.
struct Printer;

impl Observer for Printer {
    fn on(&self, event: &Event) {
        match event {
            Event::StageStarted { stage, .. } => println!("  {stage} begins"),
            Event::Note { stage, text, .. } => println!("  {stage}: {text}"),
            Event::Progress(progress) => println!("  {} bytes", progress.stream_bytes),
            Event::Undone { undo } => println!("  undone: {undo}"),
            _ => {}
        }
    }
}

/// tar → hash → zstd → a file, no faster than `rate`.
fn archive(directory: &Path, file: &Path, rate: Option<Rate>) -> Pipeline {
    let [directory, file] = [directory, file].map(|path| path.display().to_string());
    let keep = ["sh", "-c", r#"cat >"$1""#, "sh", &file];
    let mut stages: Vec<Arc<dyn Stage>> =
        vec![Exec::new(["tar", "-C", &directory, "-c", "."]).source(Some(Format::new("tar"))), hash()];
    stages.extend(rate.map(|rate| throttle(Some(rate), vec![])));
    stages.extend(zstd(3));
    stages.push(Exec::new(keep).undo(["rm", "-f", &file]).sink());
    Pipeline::new("archive", stages)
}

/// Runs to the end, or until so many bytes have passed.
async fn run(pipeline: Pipeline, until: Option<u64>) -> RunReport {
    let engine = Engine::new(pipeline);
    let cancel = engine.cancel_token();
    let stop = move |bytes| {
        if until.is_some_and(|until| bytes > until) {
            cancel.cancel();
        }
    };
    engine.observe(Arc::new(Both(Printer, stop))).run().await
}

/// An observer, and what is to be done with each count of bytes.
struct Both<F>(Printer, F);

impl<F: Fn(u64) + Send + Sync> Observer for Both<F> {
    fn on(&self, event: &Event) {
        self.0.on(event);
        if let Event::Progress(progress) = event {
            (self.1)(progress.stream_bytes);
        }
    }
}

/// Archives a directory to the end, then again until it is cancelled; gives both reports.
async fn both(directory: &Path, folder: &Path) -> (RunReport, RunReport) {
    println!("to the end:");
    let done = run(archive(directory, &folder.join("whole.tar.zst"), None), None).await;
    println!("cancelled in the midst:");
    let rate = Rate::per_second(1 << 20);
    let cancelled = run(archive(directory, &folder.join("part.tar.zst"), rate), Some(100_000)).await;
    (done, cancelled)
}

#[tokio::main]
async fn main() -> ExitCode {
    let folder = std::env::temp_dir().join(reseed_core::run_id());
    if let Err(error) = std::fs::create_dir(&folder) {
        eprintln!("{}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    let (done, cancelled) = both(Path::new("/usr/include"), &folder).await;
    let _ = std::fs::remove_dir_all(&folder);
    for report in [&done, &cancelled] {
        let error = report.error.as_deref().unwrap_or("no error");
        println!("{:?} after {:.1} s, {} bytes, {error}", report.outcome, report.seconds, report.stream_bytes);
    }
    ExitCode::from(u8::from(done.outcome != Outcome::Done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_run_is_done_and_the_second_undone() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(source.path().join("data"), vec![7; 3 << 20]).unwrap();
        let (done, cancelled) = both(source.path(), folder.path()).await;
        assert_eq!((done.outcome, done.exit_code(), done.hashes.len()), (Outcome::Done, 0, 1));
        assert!(done.stream_bytes > 3 << 20, "{done:?}");
        assert_eq!((cancelled.outcome, cancelled.exit_code()), (Outcome::Undone, 130));
        assert!(folder.path().join("whole.tar.zst").exists() && !folder.path().join("part.tar.zst").exists());
    }
}
