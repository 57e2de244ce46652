//! The resources of a pipeline file without its stages.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use toml::de::DeTable;

use super::build::Built;
use super::load::{add_resources, syntax};
use super::{BuildCx, Problem, variables};
use crate::host::{Host, LocalConfig, LocalHost};
use crate::registry::HostResource;
use crate::{Error, Result};

type Key = (String, String);

/// The hosts and other resources of a pipeline file, by table and name.
#[derive(Clone, Default)]
pub struct Resources {
    built: Arc<HashMap<Key, Built>>,
}

impl Resources {
    /// Builds the resources of a pipeline file. One that can't be built is told by those who ask for it.
    ///
    /// # Errors
    /// Every problem, where the text is no pipeline file or a variable has no value.
    pub fn read(text: &str, set: &BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        let root = DeTable::parse(text).map_err(|error| vec![syntax(&error)])?;
        let mut root = root.into_inner();
        let mut problems = Vec::new();
        variables::fill(&mut root, set, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        // What is no resource is for `load` to read.
        let resources = root.into_iter().filter(|(_, value)| value.get_ref().is_table());
        let root = resources.filter(|(table, _)| table.get_ref() != "stage").collect();
        let mut cx = BuildCx::new(&mut problems);
        add_resources(root, &mut cx);
        Ok(Self { built: Arc::new(cx.build_each().into_iter().collect()) })
    }

    /// What every file has: the host `local`.
    pub fn local() -> Self {
        let local = LocalHost::new("local", &LocalConfig::default());
        Self::default().with("hosts", "local", HostResource(Arc::new(local)))
    }

    /// The same with one more, or with another in the place of one.
    pub fn with<T: Any + Send + Sync>(&self, table: &str, name: &str, resource: T) -> Self {
        let mut built = HashMap::clone(&self.built);
        built.insert((table.to_owned(), name.to_owned()), Ok(Arc::new(resource)));
        Self { built: Arc::new(built) }
    }

    /// The resource of this name in a table.
    ///
    /// # Errors
    /// When there is none, or when it could not be built.
    pub fn get<T: Any + Send + Sync>(&self, table: &str, name: &str) -> Result<Arc<T>> {
        let none = || Error::failed(format!("there is no `[{table}.{name}]` in the run's pipeline file"));
        match self.built.get(&(table.to_owned(), name.to_owned())) {
            Some(Ok(built)) => Arc::clone(built).downcast().map_err(|_| none()),
            Some(Err(problems)) => Err(unbuilt(table, name, problems)),
            None => Err(none()),
        }
    }

    /// Every host that could be built.
    pub(crate) fn hosts(&self) -> Vec<Arc<dyn Host>> {
        let built = self.built.iter().filter(|((table, _), _)| table == "hosts");
        let hosts = built.filter_map(|(_, built)| Arc::clone(built.as_ref().ok()?).downcast::<HostResource>().ok());
        hosts.map(|host| Arc::clone(&host.0)).collect()
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.built.keys()).finish()
    }
}

fn unbuilt(table: &str, name: &str, problems: &[Problem]) -> Error {
    let told: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    let error = Error::failed(match told.is_empty() {
        true => format!("`[{table}.{name}]` needs something that can't be built"),
        false => format!("`[{table}.{name}]`: {}", told.join("; ")),
    });
    match problems.iter().find_map(|problem| problem.hint.clone()) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}
