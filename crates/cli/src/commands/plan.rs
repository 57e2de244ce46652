//! `reseed plan`: what a pipeline would do, as a procedure to read.

pub(crate) mod survey;

use std::sync::Arc;

use reseed_core::config::Loaded;
use reseed_core::engine::Engine;
use reseed_core::event::Event;
use reseed_core::registry;
use reseed_core::stage::{Branch, Claim};
use reseed_core::{Class, Kind};
use serde_json::{Value, json};

use super::on_runtime;
use crate::args::PlanArgs;
use crate::human::{self, count};
use crate::reference::first_sentence;
use crate::{exit, file, out, signals};
use survey::Notes;

pub(crate) fn run(args: &PlanArgs) -> u8 {
    let loaded = match file::load(&args.file, args.json) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let mut plan = Plan::of(&loaded);
    if !args.offline && on_runtime(plan.survey(loaded)) == exit::CANCELLED {
        out::talk("cancelled; nothing was touched");
        return exit::CANCELLED;
    }
    match args.json {
        true => out::data(&format!("{}\n", plan.json())),
        false => out::data(&plan.text()),
    }
    exit::DONE
}

/// What is known of a pipeline before it runs.
#[derive(Debug)]
struct Plan {
    name: String,
    steps: Vec<Step>,
    surveyed: bool,
    warnings: Vec<String>,
}

/// What is known of one stage.
#[derive(Debug)]
struct Step {
    stage: String,
    host: Option<String>,
    takes: Kind,
    gives: Kind,
    summary: String,
    settings: Vec<String>,
    branches: Vec<String>,
    claims: Vec<Claim>,
    notes: Vec<String>,
    refusals: Vec<(String, Option<String>)>,
}

impl Plan {
    /// What the file itself says.
    fn of(loaded: &Loaded) -> Self {
        let takes = std::iter::once(&Kind::Start).chain(&loaded.kinds);
        let kinds = takes.zip(&loaded.kinds).zip(&loaded.settings);
        let steps = loaded.pipeline.stages().iter().zip(kinds).map(|(stage, ((takes, gives), settings))| Step {
            stage: stage.name().to_owned(),
            host: stage.host().map(|host| host.name().to_owned()),
            takes: takes.clone(),
            gives: gives.clone(),
            summary: summary(stage.name()),
            settings: settings.clone(),
            branches: stage.branches().iter().map(branch).collect(),
            claims: stage.claims(),
            notes: vec![],
            refusals: vec![],
        });
        let steps = steps.collect();
        Self { name: loaded.pipeline.name().to_owned(), steps, surveyed: false, warnings: vec![] }
    }

    /// Adds what the machines say; gives the exit code.
    async fn survey(&mut self, loaded: Loaded) -> u8 {
        let notes = Arc::new(Notes::default());
        let engine = Engine::new(loaded.pipeline).observe(notes.clone());
        let errors = signals::check(&engine).await.err().unwrap_or_default();
        if errors.iter().any(|error| error.class() == Class::Cancelled) {
            return exit::CANCELLED;
        }
        self.surveyed = true;
        for event in notes.all() {
            match event {
                // What a stage in a branch, or for one, notes stands with the stage that parts.
                Event::Note { index, stage, text } if stage != self.steps[index].stage => {
                    self.steps[index].notes.push(format!("{stage}: {text}"));
                }
                Event::Note { index, text, .. } => self.steps[index].notes.push(text),
                Event::Refused { index, error, hint, .. } => self.steps[index].refusals.push((error, hint)),
                Event::Warning { stage, text } => {
                    self.warnings.push(stage.map(|stage| format!("{stage}: {text}")).unwrap_or(text));
                }
                _ => {}
            }
        }
        exit::DONE
    }

    fn refusals(&self) -> usize {
        self.steps.iter().map(|step| step.refusals.len()).sum()
    }

    fn text(&self) -> String {
        let widest = |of: fn(&Step) -> usize| self.steps.iter().map(of).max().unwrap_or(0);
        let columns = (widest(|step| step.stage.len()), widest(|step| step.place().len()));
        let mut text = format!("{}: {}\n", self.name, count(self.steps.len(), "stage"));
        for (index, step) in self.steps.iter().enumerate() {
            text.push('\n');
            step.write(&mut text, index + 1, columns);
        }
        text.push('\n');
        self.warnings.iter().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
        text + &self.verdict()
    }

    fn verdict(&self) -> String {
        match (self.surveyed, self.refusals()) {
            (false, _) => "the stages fit together; no machine was asked\n".to_owned(),
            (true, 0) => "every check passes; nothing was touched\n".to_owned(),
            (true, refused) => format!("would be refused for {}; nothing was touched\n", count(refused, "reason")),
        }
    }

    fn json(&self) -> Value {
        json!({
            "pipeline": self.name,
            "surveyed": self.surveyed,
            "refusals": self.refusals(),
            "warnings": self.warnings,
            "stages": self.steps.iter().map(Step::json).collect::<Vec<_>>(),
        })
    }
}

impl Step {
    fn place(&self) -> String {
        self.host.as_ref().map(|host| format!("on {host}")).unwrap_or_default()
    }

    fn write(&self, text: &mut String, number: usize, (name, place): (usize, usize)) {
        let (stage, on) = (&self.stage, self.place());
        text.push_str(&format!("{number:>3}. {stage:<name$}  {on:<place$}  {} -> {}\n", self.takes, self.gives));
        text.push_str(&human::indented(&self.summary, 5));
        text.push('\n');
        let mut line = |mark: &str, what: &str| text.push_str(&format!("     {mark}{what}\n"));
        self.settings.iter().for_each(|setting| line("    ", setting));
        self.branches.iter().for_each(|branch| line("branch ", branch));
        self.claims.iter().for_each(|claim| line("has to itself: ", &said(claim)));
        self.notes.iter().for_each(|note| line("* ", note));
        for (error, hint) in &self.refusals {
            line("would refuse: ", error);
            hint.iter().for_each(|hint| line("  hint: ", hint));
        }
    }

    fn json(&self) -> Value {
        let claims =
            self.claims.iter().map(|claim| json!({"what": claim.what, "host": claim.host, "name": claim.name}));
        let refusals = self.refusals.iter().map(|(error, hint)| json!({ "error": error, "hint": hint }));
        json!({
            "stage": self.stage,
            "host": self.host,
            "takes": self.takes.to_string(),
            "gives": self.gives.to_string(),
            "summary": self.summary,
            "settings": self.settings,
            "branches": self.branches,
            "claims": claims.collect::<Vec<_>>(),
            "notes": self.notes,
            "refusals": refusals.collect::<Vec<_>>(),
        })
    }
}

/// A branch and its stages in a line.
fn branch(branch: &Branch) -> String {
    let stages: Vec<_> = branch.stages.iter().map(|stage| stage.name()).collect();
    format!("{}: {}", branch.name, stages.join(", "))
}

fn said(claim: &Claim) -> String {
    format!("{} {} on {}", claim.what, claim.name, claim.host)
}

/// The first sentence of a stage's reference.
fn summary(stage: &str) -> String {
    let plugin = registry::stages().into_iter().find(|plugin| plugin.name == stage);
    plugin.map(|plugin| first_sentence((plugin.schema)().as_value())).unwrap_or_default()
}
