//! What is wrong with a pipeline file: all of it, each underlined where it stands.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use reseed_core::config::Problem;
use serde_json::{Value, json};

use crate::human::count;
use crate::out;

/// Lines are broken here, on terminals too, so that a report reads the same everywhere.
const WIDTH: usize = 100;

/// How a report is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// ASCII without colours: for files, pipes and tests.
    Plain,
    /// Box drawing without colours.
    Drawn,
    /// Box drawing and colours.
    Coloured,
}

impl Style {
    /// What a terminal gets.
    pub(crate) fn terminal() -> Self {
        if out::wants_colour() { Self::Coloured } else { Self::Drawn }
    }

    fn theme(self) -> GraphicalTheme {
        match self {
            Self::Plain => GraphicalTheme::none(),
            Self::Drawn => GraphicalTheme::unicode_nocolor(),
            Self::Coloured => GraphicalTheme::unicode(),
        }
    }
}

/// Everything that is wrong with the file `name`, whose content is `text`, in the order in which
/// it stands there. The last line says how much it is.
pub fn render(name: &str, text: &str, problems: &[Problem], style: Style) -> String {
    let source = NamedSource::new(name, masked(text, problems));
    let mut report = String::new();
    for problem in problems {
        draw(&mut report, problem, &source, text.len(), style);
        if let Some(hint) = &problem.hint {
            report.push_str(&format!("  hint: {hint}\n"));
        }
        report.push('\n');
    }
    report.push_str(&format!("error: {} in {name}; nothing was touched\n", count(problems.len(), "problem")));
    report
}

/// The text with stars in place of what must not be shown. Nothing moves by that.
fn masked(text: &str, problems: &[Problem]) -> String {
    let mut masked = text.to_owned();
    for span in problems.iter().filter(|problem| problem.private).filter_map(|problem| problem.span.clone()) {
        if masked.get(span.clone()).is_some() {
            masked.replace_range(span.clone(), &"*".repeat(span.len()));
        }
    }
    masked
}

fn draw(report: &mut String, problem: &Problem, source: &NamedSource<String>, end: usize, style: Style) {
    let handler = GraphicalReportHandler::new_themed(style.theme()).with_width(WIDTH).with_links(false);
    let shown = Shown { problem, source, end };
    let before = report.len();
    if handler.render_report(report, &shown).is_err() {
        report.truncate(before);
        report.push_str(&format!("  {}\n", problem.message));
    }
}

/// The same for programs: one line of JSON with line and column, both from 1, of each problem.
pub fn json(name: &str, text: &str, problems: &[Problem]) -> Value {
    let list: Vec<_> = problems
        .iter()
        .map(|problem| {
            let place = problem.span.as_ref().map(|span| place(text, span.start));
            json!({
                "message": problem.message,
                "line": place.map(|(line, _)| line),
                "column": place.map(|(_, column)| column),
                "hint": problem.hint,
            })
        })
        .collect();
    json!({ "event": "file.wrong", "file": name, "problems": list })
}

/// The same of a call that is wrong.
pub(crate) fn json_of_call(message: &str, hint: &str) -> Value {
    json!({ "event": "call.wrong", "message": message, "hint": hint })
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// One problem as what miette draws.
struct Shown<'a> {
    problem: &'a Problem,
    source: &'a NamedSource<String>,
    end: usize,
}

impl Diagnostic for Shown<'_> {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.problem.span.as_ref().map(|_| self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let clip = |span: &std::ops::Range<usize>| span.start.min(self.end)..span.end.min(self.end);
        let here = clip(self.problem.span.as_ref()?);
        let related = self.problem.related.as_ref();
        let text = related.map(|_| "here".to_owned());
        let first = std::iter::once(LabeledSpan::new_primary_with_span(text, here));
        let second = related.map(|(span, what)| LabeledSpan::new_with_span(Some(what.clone()), clip(span)));
        Some(Box::new(first.chain(second)))
    }
}

impl std::error::Error for Shown<'_> {}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.problem, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_beyond_the_end_of_the_file_is_still_told() {
        let told = render("a.toml", "name = 1", &[Problem::at(90..95, "odd").hint("look")], Style::Plain);
        assert!(told.contains("odd") && told.contains("hint: look") && told.contains("1 problem in a.toml"), "{told}");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown_by_its_neighbours_either() {
        let text = "a = 1\npassword = \"grün\"\nb = 2\n";
        let from = text.find('"').unwrap();
        let problems = [Problem::at(0..1, "odd"), Problem::at(from..text.find("\nb").unwrap(), "open").private()];
        let told = render("a.toml", text, &problems, Style::Plain);
        assert!(!told.contains("gr") && told.contains("password = *******"), "{told}");
    }

    #[test]
    fn places_count_from_one_and_in_characters() {
        let text = "a = 1\nü = 2\n";
        assert_eq!(place(text, 0), (1, 1));
        assert_eq!(place(text, text.find('=').unwrap()), (1, 3));
        assert_eq!(place(text, text.rfind('2').unwrap()), (2, 5));
    }
}
