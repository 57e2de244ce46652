//! One line of JSON for each event; the last one is `run.finished`.

use std::io::Write;
use std::time::Instant;

use reseed_core::event::Event;

use super::View;
use crate::out;

/// Writes JSON lines.
pub(super) struct JsonLines<W> {
    out: W,
}

impl<W: Write + Send> JsonLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> View for JsonLines<W> {
    fn show(&mut self, event: &Event, _at: Instant) {
        let Ok(line) = serde_json::to_string(event) else { return };
        // Whatever becomes of its lines, the run goes on.
        out::judge(writeln!(self.out, "{line}").and_then(|()| self.out.flush()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reseed_core::report::RunReport;

    #[test]
    fn the_report_has_exactly_the_fields_that_programs_rely_on() {
        let mut lines = JsonLines::new(Vec::new());
        lines.show(&Event::RunFinished(Box::new(RunReport::new("r1", "reset"))), Instant::now());
        let line = String::from_utf8(lines.out).unwrap();
        assert_eq!(
            line,
            "{\"event\":\"run.finished\",\"run\":\"r1\",\"pipeline\":\"reset\",\"outcome\":\"undone\",\
             \"seconds\":0.0,\"downtime_seconds\":null,\"stream_bytes\":0,\"wire_bytes\":0,\"full\":false,\
             \"from_guid\":null,\"to_guid\":null,\"error\":null}\n"
        );
    }
}
