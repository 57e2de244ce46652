//! The table of the stage `tee`, whose branches are stages themselves.

use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NAME, Slack, Tee, code};
use crate::config::{BuildCx, Located, Period, Problem, Size, Table};
use crate::registry::{StagePlugin, schema_of};
use crate::stage::{Branch, Stage};

/// Parts the pipeline: one read of the source feeds several branches, for example two standbys, or
/// a standby and a bucket. Each branch goes on and ends by itself: one that fails is taken back and
/// leaves the others alone.
///
/// Each `[[stage.branch]]` has a `name` and stages of its own, `[[stage.branch.stage]]`, which take
/// the stream. Branches that start from the same snapshot, as a rule all, share one read; those that have
/// come apart are each sent what they lack, by one read for each snapshot that some start from.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TeeConfig {
    /// When the run counts as done: when `all` branches are, or when `any` of them is.
    #[serde(default)]
    policy: Policy,
    /// What to do about a branch that lags by more than `buffer`: `wait` for it, or `drop` it once
    /// the others have waited for `patience`.
    #[serde(default)]
    slow: Slow,
    /// Bytes that a branch may lag behind the fastest one; kept in memory for each branch.
    #[serde(default = "default_buffer")]
    buffer: Located<Size>,
    /// How long the others wait for a branch before it is dropped.
    #[serde(default = "default_patience")]
    patience: Period,
}

/// When the run counts as done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Policy {
    /// When all branches are.
    #[default]
    All,
    /// When any of them is.
    Any,
}

/// What to do about a branch that lags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Slow {
    /// Wait for it.
    #[default]
    Wait,
    /// Drop it.
    Drop,
}

const BUFFER: Size = match Size::bytes(code::BUFFER as u64) {
    Some(size) => size,
    None => unreachable!(),
};

fn default_buffer() -> Located<Size> {
    Located::nowhere(BUFFER)
}

fn default_patience() -> Period {
    Period(Duration::from_secs(30))
}

crate::inventory::submit! { StagePlugin::nested(NAME, schema, build) }

fn schema() -> Schema {
    let mut schema = schema_of::<TeeConfig>();
    let stages = json!({ "type": "array", "minItems": 1, "items": { "$ref": "#/properties/stage/items" } });
    let branch = json!({
        "description": "One way on which the pipeline goes on: a `name`, and its `stage`s.",
        "type": "array",
        "minItems": 2,
        "items": {
            "type": "object",
            "required": ["name", "stage"],
            "additionalProperties": false,
            "properties": { "name": { "type": "string", "pattern": "^[a-z0-9-]{1,20}$" }, "stage": stages },
        },
    });
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("branch".to_owned(), branch);
    }
    schema.insert("required".to_owned(), json!(["branch"]));
    schema
}

fn build(mut table: Table<'_>, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
    let span = table.span();
    let parts = table.take_tables("branch", cx);
    let mut branches = Vec::new();
    let mut whole = parts.len() > 1;
    if !whole {
        let problem = Problem::at(span, "a tee has two branches or more");
        cx.problem(problem.hint("add `[[stage.branch]]` with a `name` and its `[[stage.branch.stage]]`s"));
    }
    for part in parts {
        match branch(part, cx) {
            Some((name, _)) if branches.iter().any(|other: &Branch| other.name == *name) => {
                cx.problem(Problem::at(name.span(), format!("two branches are called `{}`", *name)));
                whole = false;
            }
            Some((name, stages)) => {
                whole &= !contested(&branches, &name, &stages, cx);
                branches.push(Branch { name: name.into_inner(), stages });
            }
            None => whole = false,
        }
    }
    let TeeConfig { policy, slow, buffer, patience } = table.read(cx)?;
    let bytes = u32::try_from(buffer.get()).ok().filter(|bytes| u64::from(*bytes) >= code::LEAST);
    let Some(bytes) = bytes else {
        cx.problem(Problem::at(buffer.span(), "a branch may lag by 1 MiB to 4 GiB"));
        return None;
    };
    let slack = Slack { buffer: bytes, patience: (slow == Slow::Drop).then_some(patience.0) };
    whole.then(|| Arc::new(Tee { branches, policy, slack }) as _)
}

type Named = (Located<String>, Vec<Arc<dyn Stage>>);

fn branch(mut table: Table<'_>, cx: &mut BuildCx<'_>) -> Option<Named> {
    let span = table.span();
    let stages = table.take_tables("stage", cx);
    if stages.is_empty() {
        cx.problem(Problem::at(span, "the branch has no `[[stage.branch.stage]]`"));
    }
    let read = table.read::<BranchConfig>(cx);
    let count = stages.len();
    let built: Vec<_> = stages.into_iter().filter_map(|stage| cx.stage(stage)).collect();
    let name = read?.name;
    if !is_name(&name) {
        cx.problem(Problem::at(name.span(), "a branch is called by up to 20 small letters, digits and `-`"));
        return None;
    }
    if built.iter().any(|stage| !stage.branches().is_empty()) {
        cx.problem(Problem::at(name.span(), "a tee can't stand in a branch of another").hint("add a branch there"));
        return None;
    }
    (count > 0 && built.len() == count).then_some((name, built))
}

/// Whether a branch may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 20 && name.chars().all(plain)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BranchConfig {
    name: Located<String>,
}

/// Tells of what a stage of this branch and one of another both want for themselves.
fn contested(others: &[Branch], name: &Located<String>, stages: &[Arc<dyn Stage>], cx: &mut BuildCx<'_>) -> bool {
    let held: Vec<_> = others.iter().flat_map(|other| other.stages.iter().map(move |stage| (other, stage))).collect();
    let mut found = false;
    for stage in stages {
        for claim in stage.claims() {
            let Some((other, owner)) = held.iter().find(|(_, owner)| owner.claims().contains(&claim)) else { continue };
            let what = format!("{} {} on {}", claim.what, claim.name, claim.host);
            let text =
                format!("{} of `{}` and {} of this branch both claim {what}", owner.name(), other.name, stage.name());
            cx.problem(Problem::at(name.span(), text));
            found = true;
        }
    }
    found
}
