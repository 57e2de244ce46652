//! What the demo says in the end: one JSON object, or a story.

use reseed_core::event::Event;
use reseed_core::report::RunReport;
use serde_json::{Value, json};

use super::Via;
use crate::{human, out};

/// What a demo finds out.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) backend: &'static str,
    pub(super) via: Via,
    /// What was put into the repository, where there is one: the full, an increment, the last increment.
    pub(super) puts: Vec<RunReport>,
    pub(super) seed: Option<RunReport>,
    pub(super) reset: Option<RunReport>,
    pub(super) lsn: Option<String>,
    pub(super) rows_primary: Option<u64>,
    pub(super) rows_standby: Option<u64>,
    pub(super) streaming: bool,
    pub(super) alone: Alone,
}

/// What is found out of the standby that was seeded without a primary.
#[derive(Debug, Default)]
pub(super) struct Alone {
    pub(super) seed: Option<RunReport>,
    pub(super) rows: Option<u64>,
    pub(super) serving: bool,
}

impl Findings {
    /// Nothing found out yet about this backend.
    pub(super) fn of(backend: &'static str, via: Via) -> Self {
        Self { backend, via, ..Self::default() }
    }

    /// One object; `null` for what it did not get to.
    pub(super) fn json(&self) -> Value {
        let both = json!({
            "backend": self.backend,
            "seed": finished(self.seed.as_ref()),
            "reset": finished(self.reset.as_ref()),
            "rows_primary": self.rows_primary,
            "rows_standby": self.rows_standby,
            "streaming": self.streaming,
        });
        let (Some(repository), Value::Object(both)) = (self.via.repository(), &both) else { return both };
        let mut all = json!({ "backend": self.backend, "via": repository });
        all["puts"] = self.puts.iter().map(|report| finished(Some(report))).collect();
        all.as_object_mut().into_iter().for_each(|all| all.extend(both.clone()));
        let Alone { seed, rows, serving } = &self.alone;
        all["alone"] = json!({ "seed": finished(seed.as_ref()), "rows": rows, "serving": serving });
        all
    }
}

/// A report as the event `run.finished`.
fn finished(report: Option<&RunReport>) -> Option<Value> {
    serde_json::to_value(Event::RunFinished(Box::new(report?.clone()))).ok()
}

/// Announces an act.
pub(super) fn act(what: &str) {
    out::talk(&format!("\n== {what}"));
}

/// The end of the story, and the files for the reader to keep.
pub(super) fn story(findings: &Findings, files: &[(&str, &str)]) -> String {
    let mut text = String::from("\n");
    let mut tell = |what: &str, line: String| text.push_str(&format!("{what:7} {line}\n"));
    for report in &findings.puts {
        tell("put", put_line(report));
    }
    let lines = [("seeded", &findings.seed), ("reset", &findings.reset)];
    for (what, report) in lines.into_iter().filter_map(|(what, report)| Some((what, report.as_ref()?))) {
        tell(what, line(report));
    }
    let rows = findings.rows_primary.unwrap_or_default();
    let at = findings.lsn.as_deref().unwrap_or("the end");
    tell("rows", format!("{rows} on both sides at {at}; the standby is streaming"));
    if let (Some(seed), Some(rows)) = (&findings.alone.seed, findings.alone.rows) {
        let took = human::seconds(seed.seconds);
        tell("alone", format!("{rows} rows in a standby that was seeded with no primary, in {took}; it serves"));
    }
    text.push_str("\nWhat did it, for you to keep:\n");
    for (name, file) in files {
        text.push_str(&format!("\n    # {name}\n"));
        for line in file.lines() {
            text.push_str(if line.is_empty() { "" } else { "    " });
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn put_line(report: &RunReport) -> String {
    let what = if report.full { "everything" } else { "an increment" };
    let (stream, stored) = (human::bytes(report.stream_bytes), human::bytes(report.wire_bytes));
    format!("{what}, {stream} stored as {stored}, in {}", human::seconds(report.seconds))
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

    fn findings(via: Via) -> Findings {
        let mut reset = RunReport::new("r1", "demo");
        (reset.stream_bytes, reset.wire_bytes, reset.downtime_seconds) = (3 << 20, 1 << 20, Some(0.4));
        Findings { reset: Some(reset), rows_primary: Some(7), ..Findings::of("zfs", via) }
    }

    fn keys(json: &Value) -> Vec<&str> {
        json.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_object_has_every_key_also_when_it_ended_early() {
        let json = findings(Via::Direct).json();
        assert_eq!(keys(&json), ["backend", "seed", "reset", "rows_primary", "rows_standby", "streaming"]);
        assert_eq!(json["reset"]["event"], "run.finished");
        assert_eq!((&json["seed"], &json["rows_primary"]), (&Value::Null, &json!(7)));
    }

    #[test]
    fn the_object_of_a_repository_has_what_was_put_and_the_standby_without_a_primary() {
        let mut findings = findings(Via::S3);
        findings.puts.push(RunReport::new("p1", "put"));
        findings.alone = Alone { seed: None, rows: Some(7), serving: true };
        let json = findings.json();
        let wanted = ["backend", "via", "puts", "seed", "reset", "rows_primary", "rows_standby", "streaming", "alone"];
        assert_eq!(keys(&json), wanted);
        assert_eq!((&json["via"], &json["puts"][0]["run"]), (&json!("s3"), &json!("p1")));
        assert_eq!(json["alone"], json!({ "seed": null, "rows": 7, "serving": true }));
    }

    #[test]
    fn the_story_says_what_moved_and_how_long_it_was_down() {
        let story = story(&findings(Via::Direct), &[("demo.toml", "name = \"demo\"\n")]);
        assert!(story.contains("reset   an increment, 3.0 MiB as 1.0 MiB on the wire"), "{story}");
        assert!(story.contains("down for 0.40 s") && story.contains("    name = \"demo\""), "{story}");
    }
}
