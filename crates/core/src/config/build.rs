//! What a plugin may ask while it is built from its table.

use std::any::Any;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Problem, Ref, Table, nearest};
use crate::host::{Host, LocalConfig, LocalHost};
use crate::registry::{HostResource, ResourcePlugin, resources};

/// A resource's table that has not been built yet, or what came of it.
enum Slot<'i> {
    Raw(Table<'i>),
    Building,
    Built(Option<Arc<dyn Any + Send + Sync>>),
}

/// A resource, or the problems that it has.
pub(super) type Built = Result<Arc<dyn Any + Send + Sync>, Vec<Problem>>;

/// Builds stages and resources; collects problems instead of stopping at the first.
pub struct BuildCx<'a> {
    problems: &'a mut Vec<Problem>,
    slots: HashMap<(String, String), Slot<'a>>,
    /// Where the table that is being built is named.
    here: Option<Range<usize>>,
}

impl<'a> BuildCx<'a> {
    pub(super) fn new(problems: &'a mut Vec<Problem>) -> Self {
        let local = HostResource(Arc::new(LocalHost::new("local", &LocalConfig::default())));
        let built = Slot::Built(Some(Arc::new(local) as _));
        Self { problems, slots: HashMap::from([(("hosts".to_owned(), "local".to_owned()), built)]), here: None }
    }

    pub(super) fn add(&mut self, table: &str, name: &str, raw: Table<'a>) {
        self.slots.insert((table.to_owned(), name.to_owned()), Slot::Raw(raw));
    }

    /// Reports a problem. The file is refused when all of it has been read. A problem in no one
    /// place is one of the table that is being built.
    pub fn problem(&mut self, mut problem: Problem) {
        problem.span = problem.span.or_else(|| self.here.clone());
        self.problems.push(problem);
    }

    /// Takes an entry off a table and reads it.
    pub(super) fn take<T: DeserializeOwned>(&mut self, table: &mut Table<'_>, key: &'static str) -> Option<T> {
        table.take(key, self.problems)
    }

    /// Does `work` as a part of building the table that is named at `here`.
    pub(super) fn at<T>(&mut self, here: Range<usize>, work: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.here.replace(here);
        let done = work(self);
        self.here = outer;
        done
    }

    /// The host of this name; the local machine where there is no name.
    pub fn host(&mut self, name: Option<&Ref>) -> Option<Arc<dyn Host>> {
        let local = Ref::nowhere("local".to_owned());
        let host = self.resource::<HostResource>("hosts", name.unwrap_or(&local))?;
        Some(Arc::clone(&host.0))
    }

    /// The resource of this name in a table, built when it is first asked for.
    pub fn resource<T: Any + Send + Sync>(&mut self, table: &str, name: &Ref) -> Option<Arc<T>> {
        let key = (table.to_owned(), name.to_string());
        if !self.slots.contains_key(&key) {
            self.unknown(table, name);
            return None;
        }
        if matches!(self.slots[&key], Slot::Building) {
            self.problem(Problem::at(name.span(), format!("`{table}.{}` needs itself", **name)));
            return None;
        }
        self.build(&key)?.downcast().ok()
    }

    /// Builds what no stage has asked for, so that its problems are reported too.
    pub(super) fn build_rest(&mut self) {
        let mut keys: Vec<_> = self.slots.keys().cloned().collect();
        keys.sort();
        for key in keys {
            self.build(&key);
        }
    }

    /// Builds every resource by itself; gives each, or the problems that it has.
    pub(super) fn build_each(mut self) -> Vec<((String, String), Built)> {
        let mut keys: Vec<_> = self.slots.keys().cloned().collect();
        keys.sort();
        let each = keys.into_iter().map(|key| {
            let before = self.problems.len();
            let built = self.build(&key).ok_or_else(|| self.problems[before..].to_vec());
            (key, built)
        });
        each.collect()
    }

    fn build(&mut self, key: &(String, String)) -> Option<Arc<dyn Any + Send + Sync>> {
        match self.slots.insert(key.clone(), Slot::Building) {
            Some(Slot::Raw(raw)) => {
                let built = self.at(raw.span(), |cx| {
                    cx.plugin(&key.0, raw).and_then(|(plugin, raw)| (plugin.build)(&key.1, raw, cx))
                });
                self.slots.insert(key.clone(), Slot::Built(built.clone()));
                built
            }
            Some(Slot::Built(built)) => {
                self.slots.insert(key.clone(), Slot::Built(built.clone()));
                built
            }
            _ => None,
        }
    }

    /// The plugin that `use` picks, and the table without it.
    fn plugin(&mut self, table: &str, mut raw: Table<'a>) -> Option<(&'static ResourcePlugin, Table<'a>)> {
        let candidates: Vec<_> = resources().into_iter().filter(|plugin| plugin.table == table).collect();
        if let [only] = candidates[..]
            && only.use_.is_none()
        {
            return Some((only, raw));
        }
        let known: Vec<_> = candidates.iter().filter_map(|plugin| plugin.use_).collect();
        let Some(picked) = raw.take_str("use") else {
            let problem = Problem::at(raw.span(), "the key `use` is missing, or not a string");
            self.problem(problem.hint(format!("one of: {}", known.join(", "))));
            return None;
        };
        let found = candidates.into_iter().find(|plugin| plugin.use_ == Some(picked.get_ref()));
        if found.is_none() {
            let problem = Problem::at(picked.span(), format!("`{}` is no plugin of `{table}`", picked.get_ref()));
            self.problem(problem.hint(nearest(picked.get_ref(), &known)));
        }
        found.map(|plugin| (plugin, raw))
    }

    fn unknown(&mut self, table: &str, name: &Ref) {
        let mut known: Vec<_> = self.slots.keys().filter(|(t, _)| t == table).map(|(_, n)| n.clone()).collect();
        known.sort();
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        let hint = match known.is_empty() {
            true => format!("add a table `[{table}.{}]`", **name),
            false => nearest(name, &known),
        };
        self.problem(Problem::at(name.span(), format!("there is no `[{table}.{}]`", **name)).hint(hint));
    }
}
