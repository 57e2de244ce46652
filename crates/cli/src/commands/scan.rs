//! `reseed status --scan` and `reseed recover --scan`: what is left, without a journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reseed_core::engine::{Choice, Engine};
use reseed_core::event::Observer;
use reseed_core::journal::StateDirectory;
use reseed_core::leftover::{Known, Leftover, Scan, Verdict};
use reseed_core::report::Outcome;
use reseed_core::{Class, Error, Result, is_run_id};
use serde_json::{Value, json};

use super::on_runtime;
use super::plan::survey::Notes;
use crate::args::{FileArgs, RecoverArgs, StatusArgs};
use crate::observe::{Roles, Watch};
use crate::signals::Signals;
use crate::{exit, file, human, out};

/// What the journals here know of runs.
struct Journals(BTreeMap<String, Known>);

impl Journals {
    fn read() -> Result<Self> {
        let mut known = BTreeMap::new();
        for found in StateDirectory::standard()?.found()? {
            let run = found.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let is = match (&found.story, found.live) {
                (_, true) => Known::Live,
                (Ok(story), false) if !story.is_open() => Known::Ended,
                // What can't be read is somebody's to look at.
                _ => Known::Open,
            };
            known.insert(run, is);
        }
        Ok(Self(known))
    }

    fn judge(&self, scan: &Scan, one: &Leftover, named: &[String]) -> Verdict {
        let known = self.0.get(&one.run).copied().unwrap_or(Known::Nothing);
        scan.judge(one, known, named.contains(&one.run))
    }
}

/// `reseed status --scan`.
pub(crate) fn status(file: &Path, args: &StatusArgs) -> u8 {
    let engine = match engine(file, &args.set, args.json, Arc::new(Notes::default())) {
        Ok(engine) => engine,
        Err(code) => return code,
    };
    on_runtime(async {
        let looked = async { Ok((Journals::read()?, engine.scan().await?)) };
        match looked.await {
            Ok((journals, scan)) => show(&journals, &scan, args.json),
            Err(error) => told(&error),
        }
    })
}

fn engine(
    file: &Path,
    set: &[(String, String)],
    json: bool,
    observer: Arc<dyn Observer>,
) -> std::result::Result<Engine, u8> {
    let args = FileArgs { file: file.to_owned(), set: set.to_vec() };
    Ok(Engine::new(file::load(&args, json)?.pipeline).observe(observer))
}

fn told(error: &Error) -> u8 {
    out::error(&error.chain(), error.hint_text());
    match error.class() {
        Class::Refused => exit::REFUSED,
        Class::Cancelled => exit::CANCELLED,
        _ => exit::FAILED,
    }
}

fn show(journals: &Journals, scan: &Scan, json: bool) -> u8 {
    if scan.found.is_empty() && !json {
        out::talk("nothing carries the id of a run");
    }
    let judged: Vec<_> = scan.found.iter().map(|one| (one, journals.judge(scan, one, &[]))).collect();
    for (one, verdict) in &judged {
        match json {
            true => out::data(&format!("{}\n", json_of(one, verdict))),
            false => out::data(&format!("{}\n", lines(one, verdict).join("\n"))),
        }
    }
    for error in &scan.unseen {
        out::error(&format!("could not look: {}", error.chain()), error.hint_text());
    }
    match judged.iter().any(|(_, verdict)| is_left(verdict)) {
        true => exit::STUCK,
        false if scan.unseen.is_empty() => exit::DONE,
        false => exit::FAILED,
    }
}

/// Whether somebody has to see to it.
fn is_left(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Left | Verdict::Doubt(_))
}

/// One word, and why.
fn words(verdict: &Verdict) -> (&'static str, Option<&str>) {
    match verdict {
        Verdict::Left => ("left", None),
        Verdict::Kept(why) => ("kept", Some(why)),
        Verdict::Doubt(why) => ("doubt", Some(why)),
        Verdict::Unclear => ("unclear", None),
    }
}

fn json_of(one: &Leftover, verdict: &Verdict) -> Value {
    let (state, why) = words(verdict);
    json!({
        "what": one.what, "place": one.place, "name": one.name, "run": one.run,
        "since": one.since().map(|since| since.to_string()), "state": state, "why": why,
        "undo": one.undo.describe(), "by_hand": one.undo.by_hand(),
    })
}

fn lines(one: &Leftover, verdict: &Verdict) -> Vec<String> {
    let (state, why) = words(verdict);
    let why = match verdict {
        Verdict::Left => "its run is dead, and left no journal: `reseed recover --scan FILE`",
        Verdict::Unclear => {
            "nothing is known here of its run; where that is dead: `reseed recover --scan FILE --run …`"
        }
        _ => why.unwrap_or_default(),
    };
    let since = one.since().map(|since| format!(", since {}", since.strftime("%Y-%m-%d %H:%M:%S UTC")));
    let head = format!("{} {} on {}", one.what, one.name, one.place);
    vec![
        head,
        format!("    of the run {}{}", one.run, since.unwrap_or_default()),
        format!("    {state}: {why}"),
        format!("    by hand: {}", one.undo.by_hand()),
    ]
}

/// `reseed recover --scan`.
pub(crate) fn recover(file: &Path, args: &RecoverArgs) -> u8 {
    if let Some(wrong) = args.named.iter().find(|run| !is_run_id(run)) {
        out::error(&format!("`{wrong}` is no run"), Some("reseed status --scan FILE tells the runs"));
        return exit::WRONG;
    }
    on_runtime(async {
        let mut signals = match Signals::catch() {
            Ok(signals) => signals,
            Err(error) => return told(&error.into()),
        };
        let watch = Watch::begin(args.talk, Roles::default());
        let speaker = watch.speaker();
        let cleared = match engine(file, &args.set, args.talk.json, Arc::new(speaker.clone())) {
            Ok(engine) => {
                let stop = engine.stop_undo_token();
                tokio::select! {
                    cleared = clear(&engine, &args.named) => Ok(cleared),
                    never = signals.give_up(&stop, &speaker) => match never {},
                }
            }
            Err(code) => Err(code),
        };
        watch.end();
        match cleared {
            Ok(Ok((taken, outcome))) => ended(taken, outcome, args),
            Ok(Err(error)) => told(&error),
            Err(code) => code,
        }
    })
}

async fn clear(engine: &Engine, named: &[String]) -> Result<(usize, Outcome)> {
    let journals = Journals::read()?;
    let taken = std::cell::Cell::new(0);
    let choose = |scan: &Scan, one: &Leftover| match journals.judge(scan, one, named) {
        Verdict::Left => {
            taken.set(taken.get() + 1);
            Choice::Goes
        }
        Verdict::Doubt(why) => {
            out::talk(&format!("{} {} on {}: {why}\n  by hand: {}", one.what, one.name, one.place, one.undo.by_hand()));
            Choice::Open
        }
        Verdict::Kept(_) | Verdict::Unclear => Choice::Stays,
    };
    let (_, outcome) = engine.clear(choose).await?;
    Ok((taken.get(), outcome))
}

fn ended(taken: usize, outcome: Outcome, args: &RecoverArgs) -> u8 {
    if args.talk.json {
        out::data(&format!("{}\n", json!({"event": "scan.finished", "outcome": outcome, "found": taken})));
    }
    if taken == 0 && outcome != Outcome::Stuck && !args.talk.quiet {
        out::talk("nothing is left of a dead run");
    } else if !args.talk.quiet {
        out::talk(&format!("{} of dead runs", human::count(taken, "thing")));
    }
    if outcome == Outcome::Stuck { exit::STUCK } else { exit::DONE }
}
