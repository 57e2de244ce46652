//! What the demo says in the end: one JSON object, or a story.

use reseed_core::event::Event;
use reseed_core::report::RunReport;
use serde_json::{Value, json};

use crate::{human, out};

/// What a demo finds out.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) backend: &'static str,
    pub(super) seed: Option<RunReport>,
    pub(super) reset: Option<RunReport>,
    pub(super) lsn: Option<String>,
    pub(super) rows_primary: Option<u64>,
    pub(super) rows_standby: Option<u64>,
    pub(super) streaming: bool,
}

impl Findings {
    /// Nothing found out yet about this backend.
    pub(super) fn of(backend: &'static str) -> Self {
        Self { backend, ..Self::default() }
    }

    /// One object; `null` for what it did not get to.
    pub(super) fn json(&self) -> Value {
        let finished = |report: &Option<RunReport>| {
            let event = report.clone().map(|report| Event::RunFinished(Box::new(report)));
            event.and_then(|event| serde_json::to_value(event).ok())
        };
        json!({
            "backend": self.backend,
            "seed": finished(&self.seed),
            "reset": finished(&self.reset),
            "rows_primary": self.rows_primary,
            "rows_standby": self.rows_standby,
            "streaming": self.streaming,
        })
    }
}

/// Announces an act.
pub(super) fn act(what: &str) {
    out::talk(&format!("\n== {what}"));
}

/// The end of the story, and the file for the reader to keep.
pub(super) fn story(findings: &Findings, pipeline: &str) -> String {
    let mut text = String::from("\n");
    let lines = [("seeded", &findings.seed), ("reset", &findings.reset)];
    for (what, report) in lines.into_iter().filter_map(|(what, report)| Some((what, report.as_ref()?))) {
        text.push_str(&format!("{what:7} {}\n", line(report)));
    }
    let rows = findings.rows_primary.unwrap_or_default();
    let at = findings.lsn.as_deref().unwrap_or("the end");
    text.push_str(&format!("rows    {rows} on both sides at {at}; the standby is streaming\n"));
    text.push_str("\nThe pipeline file that did it, twice. It is yours:\n\n");
    for line in pipeline.lines() {
        text.push_str(if line.is_empty() { "" } else { "    " });
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn line(report: &RunReport) -> String {
    let what = if report.full { "everything" } else { "an increment" };
    let moved =
        format!("{what}, {} as {} on the wire", human::bytes(report.stream_bytes), human::bytes(report.wire_bytes));
    let down = match report.downtime_seconds {
        Some(seconds) => format!("the standby was down for {}", human::seconds(seconds)),
        None => "no standby was there to be stopped".to_owned(),
    };
    format!("{moved}, in {}; {down}", human::seconds(report.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let mut reset = RunReport::new("r1", "demo");
        (reset.stream_bytes, reset.wire_bytes, reset.downtime_seconds) = (3 << 20, 1 << 20, Some(0.4));
        Findings { reset: Some(reset), rows_primary: Some(7), ..Findings::of("zfs") }
    }

    #[test]
    fn the_object_has_every_key_also_when_it_ended_early() {
        let json = findings().json();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["backend", "seed", "reset", "rows_primary", "rows_standby", "streaming"]);
        assert_eq!(json["reset"]["event"], "run.finished");
        assert_eq!((&json["seed"], &json["rows_primary"]), (&Value::Null, &json!(7)));
    }

    #[test]
    fn the_story_says_what_moved_and_how_long_it_was_down() {
        let story = story(&findings(), "name = \"demo\"\n");
        assert!(story.contains("reset   an increment, 3.0 MiB as 1.0 MiB on the wire"), "{story}");
        assert!(story.contains("down for 0.40 s") && story.contains("    name = \"demo\""), "{story}");
    }
}
