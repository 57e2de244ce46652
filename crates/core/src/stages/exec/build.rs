//! From a table of a pipeline file to the stage.

use std::sync::Arc;

use super::{Exec, ExecConfig, NAME, Role};
use crate::Format;
use crate::config::{BuildCx, Located, Problem};
use crate::names::wrong_part;
use crate::registry::StageConfig;
use crate::stage::Stage;

impl StageConfig for ExecConfig {
    const NAME: &'static str = NAME;

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let problems = self.problems();
        let host = self.on.as_ref().map(|on| cx.host(Some(on)));
        let fine = problems.is_empty() && !matches!(host, Some(None));
        problems.into_iter().for_each(|problem| cx.problem(problem));
        fine.then(|| {
            let role = self.role;
            let format = self.format.as_ref().map(|name| Format::named(name.as_str()));
            let mut exec = self.command();
            exec.on = host.flatten();
            match role {
                Role::Filter => exec.filter(),
                Role::Source => exec.source(format),
                Role::Sink => exec.sink(),
            }
        })
    }
}

impl ExecConfig {
    fn command(self) -> Exec {
        let mut exec = Exec::new(self.argv.into_inner());
        exec.program.user = self.as_.map(Located::into_inner);
        exec.program.environment = self.environment.into_iter().collect();
        exec.encodes = self.encodes.map(Located::into_inner);
        exec.decodes = self.decodes.map(Located::into_inner);
        exec.sends.guid = self.guid.map(Located::into_inner);
        exec.sends.from_guid = self.from_guid.map(Located::into_inner);
        exec.undo = self.undo.map(Located::into_inner);
        exec
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = [Some(&self.argv), self.undo.as_ref()]
            .into_iter()
            .flatten()
            .filter(|argv| argv.first().is_none_or(String::is_empty))
            .map(|argv| {
                Problem::at(argv.span(), "a command begins with its program").hint("as in `[\"mbuffer\", \"-q\"]`")
            })
            .collect();
        let names = [&self.encodes, &self.decodes, &self.format].into_iter().flatten();
        let bad = names.filter(|name| !is_name(name));
        problems.extend(bad.map(|name| Problem::at(name.span(), "a name is made of letters, digits, `-` and `_`")));
        let guids = [&self.guid, &self.from_guid].into_iter().flatten();
        let wrong = guids.filter_map(|guid| Some((guid, wrong_part(guid)?)));
        let hint = "`reseed stream inspect` tells those of a stream";
        problems
            .extend(wrong.map(|(guid, why)| Problem::at(guid.span(), format!("this is no GUID: {why}")).hint(hint)));
        if let (Some(from), None) = (&self.from_guid, &self.guid) {
            let problem = Problem::at(from.span(), "an increment has a `guid` of its own, too");
            problems.push(problem.hint("add `guid`, or leave both out where the source is given a snapshot"));
        }
        if let Some(user) = self.as_.as_ref().filter(|user| user.is_empty() || user.starts_with('-')) {
            problems.push(Problem::at(user.span(), "this is no name of a user"));
        }
        problems.extend(
            self.environment
                .keys()
                .filter(|name| !is_variable(name))
                .map(|name| Problem::of_all(format!("`{name}` can't be the name of a variable of the environment"))),
        );
        problems.extend(self.misplaced());
        problems
    }

    /// Keys that mean nothing in this role.
    fn misplaced(&self) -> Vec<Problem> {
        let filter = self.role == Role::Filter;
        let of_filters = [("encodes", &self.encodes), ("decodes", &self.decodes)];
        let mut wrong: Vec<_> = of_filters
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_ref()?.span(), "a filter")))
            .filter(|_| !filter)
            .collect();
        let of_sources = [("format", &self.format), ("guid", &self.guid), ("from_guid", &self.from_guid)];
        let sources = of_sources.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?.span(), "a source")));
        wrong.extend(sources.filter(|_| self.role != Role::Source));
        let undo = self.undo.as_ref().filter(|_| filter);
        wrong.extend(undo.map(|undo| ("undo", undo.span(), "a source or a sink")));
        let problem = |(key, span, role)| Problem::at(span, format!("`{key}` belongs to {role} only"));
        wrong.into_iter().map(|wrong| problem(wrong).hint("see `reseed stages exec`")).collect()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
