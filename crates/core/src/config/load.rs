//! From the text of a pipeline file to a pipeline, or to every problem that it has.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::{ApproachConfig, Stall};
use super::table::read_value;
use super::{BuildCx, Located, Period, Problem, Table, nearest, variables};
use crate::Kind;
use crate::engine::{Approach, Misfit, Pipeline};
use crate::registry;
use crate::stage::{AroundStage, Limited, Stage};

/// A pipeline that has been read, built and folded.
#[derive(Debug)]
pub struct Loaded {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The kind after each stage.
    pub kinds: Vec<Kind>,
    /// The settings of each stage as they stand in the file: `level = 3`. No `${name}` is filled.
    pub settings: Vec<Vec<String>>,
    /// How long the journals of runs that have ended are kept.
    pub history: Duration,
}

/// How long journals are kept where the file does not say.
const HISTORY: Period = Period::seconds(90 * 24 * 3600);

/// Reads a pipeline file. `set` fills its `${name}`s. Pure but for reading secrets.
///
/// # Errors
/// Every problem of the file at once.
pub fn load(text: &str, set: &BTreeMap<String, String>) -> Result<Loaded, Vec<Problem>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut problems: Vec<_> = errors.iter().map(syntax).collect();
    if !problems.is_empty() {
        problems.dedup();
        return Err(problems);
    }
    let mut root = root.into_inner();
    let settings = settings(&root, text);
    variables::fill(&mut root, set, &mut problems);
    let unfilled = problems.clone();
    let name = take_name(&mut root, &mut problems);
    let stall = take_stall(&mut root, &mut problems);
    let approach = take_approach(&mut root, &mut problems);
    let history = take_history(&mut root, &mut problems).unwrap_or(HISTORY).0;
    let stages = take_stages(&mut root, &mut problems);
    let mut cx = BuildCx::new(&mut problems);
    add_resources(root, &mut cx);
    let built: Vec<_> = stages.into_iter().map(|stage| build(stage, &mut cx)).collect();
    cx.build_rest();
    forget_what_follows(&unfilled, &mut problems);
    finish(name, built, problems)
        .and_then(|(pipeline, kinds)| Ok((approached(pipeline.stall(stall.limit()), approach)?, kinds)))
        .map(|(pipeline, kinds)| Loaded { pipeline, kinds, settings, history })
}

/// Builds the stages of a pipeline file, whether or not they fit together.
#[cfg(feature = "testkit")]
pub(crate) fn stages(text: &str) -> Result<Vec<Arc<dyn Stage>>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut root = DeTable::parse(text).map_err(|error| vec![syntax(&error)])?.into_inner();
    let picked = take_stages(&mut root, &mut problems);
    let mut cx = BuildCx::new(&mut problems);
    add_resources(root, &mut cx);
    let built: Vec<_> = picked.into_iter().filter_map(|stage| build(stage, &mut cx).1).collect();
    if problems.is_empty() { Ok(built) } else { Err(problems) }
}

/// The text of each setting of each stage, on one line.
fn settings(root: &DeTable<'_>, text: &str) -> Vec<Vec<String>> {
    let stages = root.get("stage").and_then(|value| value.get_ref().as_array());
    let one = |table: &DeTable<'_>| -> Vec<String> {
        let mut entries: Vec<_> =
            table.iter().filter(|(key, value)| key.get_ref() != "use" && !holds_tables(value.get_ref())).collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let line = |value: Range<usize>| text[value].split_whitespace().collect::<Vec<_>>().join(" ");
        entries.iter().map(|(key, value)| format!("{} = {}", key.get_ref(), line(value.span()))).collect()
    };
    let tables = stages.into_iter().flatten().filter_map(|stage| stage.get_ref().as_table());
    tables.map(one).collect()
}

/// Stages within a stage are shown as such, not as a setting of it.
fn holds_tables(value: &DeValue<'_>) -> bool {
    value.as_array().is_some_and(|array| array.iter().any(|value| value.get_ref().is_table()))
}

pub(super) fn syntax(error: &toml::de::Error) -> Problem {
    let message = error.message().trim().replace('\n', ", ");
    match error.span() {
        Some(span) => Problem::at(span, message),
        None => Problem::of_all(message),
    }
}

fn take_name(root: &mut DeTable<'_>, problems: &mut Vec<Problem>) -> Option<String> {
    let Some(value) = root.remove("name") else {
        problems.push(Problem::of_all("the file has no `name`").hint("begin it with `name = \"…\"`"));
        return None;
    };
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match value.get_ref().as_str() {
        Some(name) if !name.is_empty() && name.chars().all(safe) => Some(name.to_owned()),
        _ => {
            problems.push(Problem::at(value.span(), "a name is made of letters, digits, `-` and `_`"));
            None
        }
    }
}

fn take_stall(root: &mut DeTable<'_>, problems: &mut Vec<Problem>) -> Stall {
    root.remove("stall").and_then(|value| read_value(value, problems)).unwrap_or_default()
}

/// What `[approach]` says, and where it stands.
fn take_approach(root: &mut DeTable<'_>, problems: &mut Vec<Problem>) -> Option<(Range<usize>, Approach)> {
    let value = root.remove("approach")?;
    let span = value.span();
    read_value::<ApproachConfig>(value, problems).map(|config| (span, config.into()))
}

/// The pipeline with its rounds, which are only asked for where there can be some.
fn approached(pipeline: Pipeline, approach: Option<(Range<usize>, Approach)>) -> Result<Pipeline, Vec<Problem>> {
    let Some((span, approach)) = approach else { return Ok(pipeline) };
    if approach.rounds > 0 && pipeline.receiver().is_none() {
        let problem = Problem::at(span, "this pipeline can't be approached in rounds");
        let hint = "rounds need snapshots that are received beside the live data (`into`), and no branches";
        return Err(vec![problem.hint(hint)]);
    }
    Ok(pipeline.approach(Some(approach)))
}

fn take_history(root: &mut DeTable<'_>, problems: &mut Vec<Problem>) -> Option<Period> {
    let value = root.remove("history")?;
    let read = value.get_ref().as_str().map(|text| Period::deserialize(StrDeserializer::<ValueError>::new(text)));
    match read {
        Some(Ok(history)) => Some(history),
        _ => {
            let problem = Problem::at(value.span(), "a length of time is written like `90s`, `24h` or `90d`");
            problems.push(problem.hint("`history` says how long the journals of runs are kept"));
            None
        }
    }
}

/// A text with a variable that has no value is told as that alone, not also as a bad address.
fn forget_what_follows(unfilled: &[Problem], problems: &mut Vec<Problem>) {
    let follows = |problem: &Problem| problem.span.is_some() && unfilled.iter().any(|told| told.span == problem.span);
    problems.retain(|problem| unfilled.contains(problem) || !follows(problem));
}

/// A stage's table and the `use` that picks it; where there is no `use`, only where it stands.
type Picked<'i> = Result<(Spanned<String>, Table<'i>), Range<usize>>;

fn take_stages<'i>(root: &mut DeTable<'i>, problems: &mut Vec<Problem>) -> Vec<Picked<'i>> {
    let Some(value) = root.remove("stage") else {
        problems.push(Problem::of_all("the file has no `[[stage]]`"));
        return vec![];
    };
    let span = value.span();
    let DeValue::Array(values) = value.into_inner() else {
        problems.push(Problem::at(span, "stages are written as `[[stage]]` tables"));
        return vec![];
    };
    values.into_iter().map(|value| take_stage(value, problems)).collect()
}

fn take_stage<'i>(value: Spanned<DeValue<'i>>, problems: &mut Vec<Problem>) -> Picked<'i> {
    let span = value.span();
    let DeValue::Table(entries) = value.into_inner() else {
        problems.push(Problem::at(span.clone(), "stages are written as `[[stage]]` tables"));
        return Err(span);
    };
    pick(Table::new(entries, span.clone())).map_err(|problem| {
        problems.push(problem);
        span
    })
}

/// Takes off what picks the plugin.
fn pick(mut table: Table<'_>) -> Result<(Spanned<String>, Table<'_>), Problem> {
    match table.take_str("use") {
        Some(picked) => {
            let table = table.named_at(picked.span());
            Ok((picked, table))
        }
        None => {
            let problem = Problem::at(table.span(), "the stage has no `use`, or it is not a string");
            Err(problem.hint("`use = \"…\"` picks the plugin; `reseed stages` lists them"))
        }
    }
}

impl BuildCx<'_> {
    /// Builds a stage that stands in the table of another.
    pub(crate) fn stage(&mut self, table: Table<'_>) -> Option<Arc<dyn Stage>> {
        match pick(table) {
            Ok((picked, table)) => build_picked(&picked, table, self),
            Err(problem) => {
                self.problem(problem);
                None
            }
        }
    }
}

pub(super) fn add_resources<'i>(root: DeTable<'i>, cx: &mut BuildCx<'i>) {
    let mut known: Vec<_> = registry::resources().iter().map(|plugin| plugin.table).collect();
    known.dedup();
    for (table, value) in root {
        let name = table.get_ref().to_string();
        let span = value.span();
        match value.into_inner() {
            _ if !known.contains(&name.as_str()) => {
                let mut all = known.clone();
                all.extend(["approach", "history", "name", "stage", "stall"]);
                cx.problem(Problem::at(table.span(), format!("unknown key `{name}`")).hint(nearest(&name, &all)));
            }
            DeValue::Table(entries) => entries.into_iter().for_each(|(key, value)| match value.into_inner() {
                DeValue::Table(entries) => cx.add(&name, key.get_ref(), Table::new(entries, key.span())),
                _ => cx.problem(Problem::at(key.span(), format!("`{name}.{}` is not a table", key.get_ref()))),
            }),
            _ => cx.problem(Problem::at(span, format!("`{name}` is not a table"))),
        }
    }
}

/// What to do about a `timeout` of nothing.
const NO_LIMIT: &str = "without `timeout` there is no limit";

type Folded = (Pipeline, Vec<Kind>);
type BuiltStage = (Range<usize>, Option<Arc<dyn Stage>>);

fn build(stage: Picked<'_>, cx: &mut BuildCx<'_>) -> BuiltStage {
    let (picked, table) = match stage {
        Ok(stage) => stage,
        Err(span) => return (span, None),
    };
    let stage = build_picked(&picked, table, cx);
    (picked.span(), stage)
}

fn build_picked(picked: &Spanned<String>, mut table: Table<'_>, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
    let plugins = registry::stages();
    match plugins.iter().find(|plugin| plugin.name == picked.get_ref()) {
        Some(plugin) => cx.at(picked.span(), |cx| {
            let limit = if plugin.keeps_time() { None } else { cx.take::<Located<Period>>(&mut table, "timeout") };
            if let Some(zero) = limit.as_ref().filter(|limit| limit.0.is_zero()) {
                cx.problem(Problem::at(zero.span(), "no stage is done in no time").hint(NO_LIMIT));
            }
            let inner = (plugin.build)(table, cx)?;
            Some(match limit {
                Some(limit) => Arc::new(AroundStage(Limited { inner, limit: limit.into_inner().0 })),
                None => inner,
            })
        }),
        None => {
            let known: Vec<_> = plugins.iter().map(|plugin| plugin.name).collect();
            let problem = Problem::at(picked.span(), format!("there is no stage `{}`", picked.get_ref()));
            cx.problem(problem.hint(nearest(picked.get_ref(), &known)));
            None
        }
    }
}

/// Folds the longest run of stages that could be built, so that misfits are told with the rest.
fn finish(name: Option<String>, built: Vec<BuiltStage>, mut problems: Vec<Problem>) -> Result<Folded, Vec<Problem>> {
    let spans: Vec<_> = built.iter().map(|(span, _)| span.clone()).collect();
    let whole = !built.is_empty() && built.iter().all(|(_, stage)| stage.is_some());
    let stages = built.into_iter().map_while(|(_, stage)| stage).collect();
    let pipeline = Pipeline::new(name.clone().unwrap_or_default(), stages);
    let folded = pipeline.fold();
    match folded {
        Ok(kinds) if whole && problems.is_empty() => return Ok((pipeline, kinds)),
        Ok(_) => {}
        Err(misfits) => {
            let told = misfits.into_iter().filter(|misfit| whole || !matches!(misfit, Misfit::End { .. }));
            problems.extend(told.map(|misfit| misfit_problem(&pipeline, &spans, misfit)));
        }
    }
    problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
    problems.dedup();
    Err(problems)
}

fn misfit_problem(pipeline: &Pipeline, spans: &[Range<usize>], misfit: Misfit) -> Problem {
    let stage = |index: usize| pipeline.stages()[index].name().to_owned();
    match misfit {
        Misfit::Kind { index, mismatch } if mismatch.inside.is_some() => {
            let problem = Problem::at(spans[index].clone(), mismatch.inside.unwrap_or_default());
            Problem { hint: mismatch.hint, ..problem }
        }
        Misfit::Kind { index, mismatch } => {
            let (name, takes, given) = (stage(index), &mismatch.takes, &mismatch.given);
            let problem = Problem::at(spans[index].clone(), format!("{name} takes {takes}, but is given {given}"));
            let problem = match index.checked_sub(1) {
                Some(before) => problem.related(spans[before].clone(), format!("gives {given}")),
                None => problem,
            };
            Problem { hint: mismatch.hint.clone(), ..problem }
        }
        Misfit::Claim { indexes: (first, second), claim } => {
            let what = format!("{} {} on {}", claim.what, claim.name, claim.host);
            let text = match first == second {
                true => format!("two stages in the branches of {} both claim {what}", stage(first)),
                false => format!("{} and {} both claim {what}", stage(first), stage(second)),
            };
            Problem::at(spans[second].clone(), text).related(spans[first].clone(), "claimed here first")
        }
        Misfit::End { kind } => {
            let text = format!("the pipeline ends with {kind}, which is of no use to anyone");
            let last = spans.last().cloned().unwrap_or_default();
            Problem::at(last, text).hint("end it with a stage that gives a standby, a dataset or staged streams")
        }
    }
}
