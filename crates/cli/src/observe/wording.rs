//! What is said to people about each event; meaning never by colour.

use std::time::Instant;

use reseed_core::Kind;
use reseed_core::config::Loaded;
use reseed_core::event::Event;
use reseed_core::journal::Recovery;
use reseed_core::report::{BranchReport, Outcome, RunReport};

use super::pace::{Pace, Slowest};
use crate::args::TalkArgs;
use crate::human;

/// A stage that took less is not worth a line of its own.
const NOTABLE: f64 = 0.1;

/// Which stages make and receive the stream, to name the one that holds the others up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Roles {
    source: Option<String>,
    sink: Option<String>,
}

impl Roles {
    /// Of a pipeline.
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let mut roles = Self::default();
        let mut takes = &Kind::Start;
        for (stage, gives) in loaded.pipeline.stages().iter().zip(&loaded.kinds) {
            match (takes, gives) {
                (Kind::Stream(_), Kind::Stream(_)) => {}
                (_, Kind::Stream(_)) => roles.source = Some(stage.name().to_owned()),
                (Kind::Stream(_), _) => roles.sink = Some(stage.name().to_owned()),
                _ => {}
            }
            takes = gives;
        }
        roles
    }

    /// How far it is, how fast, how long still, and who holds the others up.
    pub(super) fn progress(&self, pace: &Pace) -> String {
        let now = pace.now();
        let mut line = human::bytes(now.stream_bytes);
        if let Some(estimate) = now.estimate.filter(|estimate| *estimate >= now.stream_bytes) {
            line.push_str(&format!(" of about {}", human::bytes(estimate)));
        }
        if let Some(rate) = pace.rate() {
            line.push_str(&format!(", {}/s", human::bytes(rate as u64)));
        }
        if let Some(left) = pace.left() {
            line.push_str(&format!(", {} left", human::about(left)));
        }
        if let Some(slowest) = pace.slowest() {
            line.push_str(&format!("; waiting for {}", self.name(slowest)));
        }
        line
    }

    fn name(&self, slowest: Slowest) -> String {
        let source = self.source.as_deref().unwrap_or("the sender");
        match slowest {
            Slowest::Source => source.to_owned(),
            Slowest::Wire => format!("{source} or the wire"),
            Slowest::Decoding => "decompression".to_owned(),
            Slowest::Sink => self.sink.as_deref().unwrap_or("the receiver").to_owned(),
        }
    }
}

/// Puts events into words.
#[derive(Debug)]
pub(super) struct Wording {
    talk: TalkArgs,
    stages: usize,
    begun: Option<Instant>,
}

impl Wording {
    pub(super) fn new(talk: TalkArgs) -> Self {
        Self { talk, stages: 0, begun: None }
    }

    /// The lines that are said about an event; progress is not said but shown.
    pub(super) fn lines(&mut self, event: &Event, at: Instant) -> Vec<String> {
        let mut lines = self.wrong(event);
        if !self.talk.quiet {
            lines.extend(self.usual(event));
        }
        let begun = *self.begun.get_or_insert(at);
        if self.talk.verbose {
            let time = format!("{:>8.2}  ", at.duration_since(begun).as_secs_f64());
            lines.iter_mut().for_each(|line| line.insert_str(0, &time));
        }
        lines
    }

    /// What is said even to those who want to hear little.
    fn wrong(&self, event: &Event) -> Vec<String> {
        match event {
            Event::Warning { stage: Some(stage), text } => vec![format!("warning: {stage}: {text}")],
            Event::Warning { stage: None, text } => vec![format!("warning: {text}")],
            Event::Refused { stage, error, hint, .. } => {
                let mut lines = vec![format!("refused: {stage}: {error}")];
                lines.extend(hint.as_ref().map(|hint| format!("  hint: {hint}")));
                lines
            }
            Event::StageFailed { stage, error, .. } => vec![format!("failed: {stage}: {error}")],
            Event::BranchFinished(branch) if branch.outcome != Outcome::Done => vec![branch_end(branch)],
            Event::RecoverStarted { run, pipeline } => {
                vec![format!("{pipeline}: the run {run} died; taking it to its end")]
            }
            Event::Recovered(recovery) => recovered(recovery),
            Event::Stuck { undo, error, by_hand } => {
                vec![format!("stuck: can't {undo}: {error}"), format!("  by hand: {by_hand}")]
            }
            Event::RunFinished(report) if report.outcome != Outcome::Done => end(report),
            _ => vec![],
        }
    }

    /// What is said otherwise.
    fn usual(&mut self, event: &Event) -> Vec<String> {
        match event {
            Event::RunStarted { run, pipeline, stages } => {
                self.stages = stages.len();
                vec![format!("{pipeline}: run {run}, {}", human::count(stages.len(), "stage"))]
            }
            Event::Note { stage, text, .. } => vec![format!("        {stage}: {text}")],
            Event::Checked => vec!["all checks passed".to_owned()],
            Event::StageStarted { index, stage } => vec![format!("{:>7} {stage}", self.position(*index))],
            Event::StageFinished { stage, seconds, .. } if self.talk.verbose || *seconds >= NOTABLE => {
                vec![format!("        {stage} took {}", human::seconds(*seconds))]
            }
            Event::StageFailed { .. } => vec!["taking back what was done".to_owned()],
            Event::Undone { undo } => vec![format!("        undone: {undo}")],
            Event::Approached(round) => vec![format!(
                "round done: {} received without a replication slot; they stay, and the next one starts from there",
                human::bytes(round.stream_bytes)
            )],
            Event::BranchFinished(branch) if branch.outcome == Outcome::Done => vec![branch_end(branch)],
            Event::Chore { text } => vec![format!("        afterwards: {text}")],
            Event::RunFinished(report) if report.outcome == Outcome::Done => end(report),
            _ => vec![],
        }
    }

    fn position(&self, index: usize) -> String {
        format!("[{}/{}]", index + 1, self.stages)
    }
}

/// The last words about a run.
fn end(report: &RunReport) -> Vec<String> {
    let mut lines = vec![headline(report)];
    if !report.refused {
        lines.extend(report.hint.as_ref().map(|hint| format!("  hint: {hint}")));
    }
    match report.outcome {
        Outcome::Done => lines.extend(moved(report)),
        Outcome::Undone if report.refused => lines.push("nothing was touched".to_owned()),
        Outcome::Undone if !report.rounds.is_empty() => lines.push(format!(
            "everything is as it was before the run, but for what {} brought: the next run starts from there",
            human::count(report.rounds.len(), "round")
        )),
        Outcome::Undone => lines.push("everything is as it was before the run".to_owned()),
        Outcome::Stuck => {
            lines
                .push("not everything could be taken back; what is left, in the order in which to type it:".to_owned());
            lines.extend(report.by_hand.iter().map(|command| format!("  {command}")));
        }
    }
    lines
}

fn headline(report: &RunReport) -> String {
    let name = &report.pipeline;
    let took = human::seconds(report.seconds);
    let error = report.error.as_deref().unwrap_or("no reason was given");
    match report.outcome {
        Outcome::Done => match report.downtime_seconds {
            Some(down) => format!("done: {name} in {took}; the standby was down for {}", human::seconds(down)),
            None => format!("done: {name} in {took}"),
        },
        _ if report.cancelled => format!("cancelled: {name} after {took}"),
        // Each refusal has been told with its own hint.
        _ if report.refused => format!("refused: {name} was not started"),
        _ => format!("failed: {name} after {took}: {error}"),
    }
}

fn moved(report: &RunReport) -> Vec<String> {
    let (stream, wire) = (human::bytes(report.stream_bytes), human::bytes(report.wire_bytes));
    let bytes = match report.wire_bytes {
        0 => format!("      {stream} sent"),
        _ => format!("      {stream} sent as {wire} on the wire"),
    };
    let what = match (&report.from_guid, &report.to_guid) {
        (Some(from), Some(to)) if !report.full => format!(", the increment from {from} to {to}"),
        (_, Some(to)) if report.full => format!(", the full snapshot {to}"),
        _ => String::new(),
    };
    let unproven =
        (report.streaming == Some(false)).then(|| "      the standby serves; that it streams was not asked".to_owned());
    std::iter::once(bytes + &what).chain(unproven).collect()
}

/// The last words about a run that had died.
fn recovered(recovery: &Recovery) -> Vec<String> {
    let Recovery { run, pipeline, outcome, stuck, .. } = recovery;
    match outcome {
        Outcome::Done => vec![format!("{pipeline}: the run {run} had committed; it is finished")],
        Outcome::Undone => vec![format!("{pipeline}: the run {run} is taken back; everything is as it was before it")],
        Outcome::Stuck => {
            let first = format!(
                "{pipeline}: the run {run} could not be taken back; what is left, in the order in which to type it:"
            );
            let commands = stuck.iter().map(|stuck| format!("  {}", stuck.by_hand));
            let last = format!("  then: reseed recover, or, if that can't see it: reseed recover --forget {run}");
            std::iter::once(first).chain(commands).chain([last]).collect()
        }
    }
}

/// One line on how a branch ended.
fn branch_end(branch: &BranchReport) -> String {
    let BranchReport { branch: name, outcome, downtime_seconds, error, .. } = branch;
    let why = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    match (outcome, downtime_seconds) {
        (Outcome::Done, Some(down)) => format!("branch {name}: done, down for {}", human::seconds(*down)),
        (Outcome::Done, None) => format!("branch {name}: done"),
        (Outcome::Undone, _) => format!("branch {name}: failed and taken back{why}"),
        (Outcome::Stuck, _) => format!("branch {name}: failed, and something could not be taken back{why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Outcome) -> RunReport {
        let mut report = RunReport::new("r1", "reset");
        report.outcome = outcome;
        report.seconds = 3.21;
        report
    }

    fn words(talk: TalkArgs, event: &Event) -> String {
        Wording::new(talk).lines(event, Instant::now()).join("\n")
    }

    fn usual(report: RunReport) -> String {
        words(TalkArgs::default(), &Event::RunFinished(Box::new(report)))
    }

    #[test]
    fn a_good_end_says_what_moved_and_how_long_nothing_was_served() {
        let mut report = report(Outcome::Done);
        report.downtime_seconds = Some(0.364);
        (report.stream_bytes, report.wire_bytes) = (23 << 20, 5 << 20);
        (report.from_guid, report.to_guid) = (Some("1a".into()), Some("2b".into()));
        assert_eq!(
            usual(report.clone()),
            "done: reset in 3.2 s; the standby was down for 0.36 s\n      \
             23.0 MiB sent as 5.0 MiB on the wire, the increment from 1a to 2b"
        );
        (report.full, report.from_guid, report.downtime_seconds, report.wire_bytes) = (true, None, None, 0);
        assert_eq!(usual(report), "done: reset in 3.2 s\n      23.0 MiB sent, the full snapshot 2b");
    }

    #[test]
    fn a_bad_end_says_why_what_helps_and_how_things_are_now() {
        let mut bad = report(Outcome::Undone);
        (bad.error, bad.hint) = (Some("stage a: no luck".into()), Some("ask nicely".into()));
        assert_eq!(
            usual(bad.clone()),
            "failed: reset after 3.2 s: stage a: no luck\n  hint: ask nicely\neverything is as it was before the run"
        );
        bad.refused = true;
        assert_eq!(usual(bad), "refused: reset was not started\nnothing was touched");
        let mut stuck = report(Outcome::Stuck);
        (stuck.error, stuck.by_hand) = (Some("no luck".into()), vec!["rm b".into(), "rm a".into()]);
        assert!(usual(stuck).ends_with("in the order in which to type it:\n  rm b\n  rm a"));
    }

    #[test]
    fn the_quiet_hear_only_what_is_wrong_and_the_verbose_see_the_time() {
        let quiet = TalkArgs { quiet: true, ..TalkArgs::default() };
        let verbose = TalkArgs { verbose: true, ..TalkArgs::default() };
        let done = Event::RunFinished(Box::new(report(Outcome::Done)));
        assert_eq!(words(quiet, &done), "");
        assert_eq!(words(quiet, &Event::Warning { stage: None, text: "odd".into() }), "warning: odd");
        let brief = Event::StageFinished { index: 0, stage: "a".into(), seconds: 0.01 };
        assert_eq!(words(TalkArgs::default(), &brief), "");
        assert_eq!(words(verbose, &brief), "    0.00          a took 0.01 s");
    }
}
