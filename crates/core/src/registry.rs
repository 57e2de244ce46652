//! Plugins register themselves at link time; built-in ones register exactly as a stranger's do.
//!
//! A crate that is linked only for its plugins needs one `use its_name as _;` in the binary:
//! otherwise the linker leaves it out and nothing registers.

use std::any::Any;
use std::sync::Arc;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Format;
use crate::codec::Codec;
use crate::config::BuildCx;
use crate::host::Host;
use crate::reader::{Resumption, StreamReader};
use crate::stage::Stage;
use crate::undo::{Chore, Record, StoredChore, StoredUndo, Undo};

/// The configuration of a stage: its table in a pipeline file without `use`.
///
/// Doc comments of the type and its fields are the stage's reference and its schema.
pub trait StageConfig: DeserializeOwned + JsonSchema {
    /// The stage's name in a pipeline file.
    const NAME: &'static str;
    /// Makes the stage. Problems are reported to `cx`, all of them; then the result is `None`.
    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>>;
}

/// The configuration of a resource: a named table beside the stages, for example `[hosts.primary]`.
pub trait ResourceConfig: DeserializeOwned + JsonSchema {
    /// The table that it belongs to, for example `hosts`.
    const TABLE: &'static str;
    /// The value of `use` that picks it; `None` where the table has one kind of resource only.
    const USE: Option<&'static str>;
    /// What [`BuildCx::resource`] gives.
    type Resource: Any + Send + Sync;
    /// Makes the resource of this name. Problems are reported to `cx`; then the result is `None`.
    fn build(self, name: &str, cx: &mut BuildCx<'_>) -> Option<Self::Resource>;
}

/// A host as a resource. Plugins of the table `hosts` build this.
#[derive(Debug, Clone)]
pub struct HostResource(pub Arc<dyn Host>);

/// A registered stage.
pub struct StagePlugin {
    /// Its name in a pipeline file.
    pub name: &'static str,
    /// JSON Schema of its table.
    pub schema: fn() -> Schema,
    /// Builds it from its table.
    pub(crate) build: fn(crate::config::Table<'_>, &mut BuildCx<'_>) -> Option<Arc<dyn Stage>>,
}

/// A registered resource.
pub struct ResourcePlugin {
    /// The table that it belongs to.
    pub table: &'static str,
    /// The value of `use` that picks it.
    pub use_: Option<&'static str>,
    /// JSON Schema of its table.
    pub schema: fn() -> Schema,
    /// Builds it from its table.
    pub(crate) build: fn(&str, crate::config::Table<'_>, &mut BuildCx<'_>) -> Option<Arc<dyn Any + Send + Sync>>,
}

/// A registered codec, by which another process can undo what was done to a stream.
pub struct CodecPlugin {
    /// The name of its encoding.
    pub name: &'static str,
    /// The standard program that encodes and decodes it, where there is one.
    pub program: Option<&'static str>,
    /// Makes it from the text after the colon in its spec, for example a level.
    pub parse: fn(&str) -> Option<Arc<dyn Codec>>,
}

/// A registered reader of a format's streams.
pub struct ReaderPlugin {
    /// The format that it reads, as its storage calls it.
    pub format: Format,
    /// Whether these bytes, the first of a stream, look like it: there are [`ENOUGH`] of them, or as many as the
    /// stream has.
    pub looks: fn(&[u8]) -> bool,
    /// Opens a reader for a stream that has not begun.
    pub open: fn() -> Box<dyn StreamReader>,
    /// What it knows of streams that are gone on with in their middle, where it knows how.
    pub resumption: Option<&'static dyn Resumption>,
}

/// Bytes from which every format is known.
pub const ENOUGH: usize = 64;
/// A registered undo, by which another process can take back what a run has left.
pub struct UndoPlugin {
    /// Its name in journals.
    pub kind: &'static str,
    pub(crate) revive: fn(Value) -> serde_json::Result<Arc<dyn Undo>>,
    pub(crate) again: fn(Value) -> serde_json::Result<Record>,
}

/// A registered chore, by which another process can finish a run that has committed.
pub struct ChorePlugin {
    /// Its name in journals.
    pub kind: &'static str,
    pub(crate) revive: fn(Value) -> serde_json::Result<Arc<dyn Chore>>,
}

inventory::collect!(StagePlugin);
inventory::collect!(ResourcePlugin);
inventory::collect!(CodecPlugin);
inventory::collect!(ReaderPlugin);
inventory::collect!(UndoPlugin);
inventory::collect!(ChorePlugin);

impl UndoPlugin {
    /// The plugin of an undo's type.
    pub const fn of<U: StoredUndo>() -> Self {
        Self {
            kind: U::KIND,
            revive: |data| serde_json::from_value::<U>(data).map(|undo| Arc::new(undo) as _),
            again: |data| Record::of(&serde_json::from_value::<U>(data)?).map_err(serde::ser::Error::custom),
        }
    }
}

impl ChorePlugin {
    /// The plugin of a chore's type.
    pub const fn of<C: StoredChore>() -> Self {
        Self { kind: C::KIND, revive: |data| serde_json::from_value::<C>(data).map(|chore| Arc::new(chore) as _) }
    }
}

impl StagePlugin {
    /// The plugin of a configuration type.
    pub const fn of<C: StageConfig>() -> Self {
        Self { name: C::NAME, schema: schema_of::<C>, build: build_stage::<C> }
    }
}

impl StagePlugin {
    /// Whether it has a `timeout` of its own, which says more than that of every stage.
    pub(crate) fn keeps_time(&self) -> bool {
        (self.schema)().pointer("/properties/timeout").is_some()
    }

    /// A plugin whose table holds stages itself, in tables that `build` takes off.
    pub(crate) const fn nested(
        name: &'static str,
        schema: fn() -> Schema,
        build: fn(crate::config::Table<'_>, &mut BuildCx<'_>) -> Option<Arc<dyn Stage>>,
    ) -> Self {
        Self { name, schema, build }
    }
}

impl ResourcePlugin {
    /// The plugin of a configuration type.
    pub const fn of<C: ResourceConfig>() -> Self {
        Self { table: C::TABLE, use_: C::USE, schema: schema_of::<C>, build: build_resource::<C> }
    }
}

/// The schema of a configuration, complete in itself.
pub(crate) fn schema_of<C: JsonSchema>() -> Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<C>()
}

fn build_stage<C: StageConfig>(table: crate::config::Table<'_>, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
    table.read::<C>(cx)?.build(cx)
}

fn build_resource<C: ResourceConfig>(
    name: &str,
    table: crate::config::Table<'_>,
    cx: &mut BuildCx<'_>,
) -> Option<Arc<dyn Any + Send + Sync>> {
    let built = table.read::<C>(cx)?.build(name, cx)?;
    Some(Arc::new(built))
}

/// Registers a stage by its configuration type.
#[macro_export]
macro_rules! register_stage {
    ($config:ty) => {
        $crate::inventory::submit! { $crate::registry::StagePlugin::of::<$config>() }
    };
}

/// Registers a resource by its configuration type.
#[macro_export]
macro_rules! register_resource {
    ($config:ty) => {
        $crate::inventory::submit! { $crate::registry::ResourcePlugin::of::<$config>() }
    };
}

/// Registers an undo by its type, under the name that it has in journals.
#[macro_export]
macro_rules! register_undo {
    ($kind:literal, $undo:ty) => {
        impl $crate::undo::StoredUndo for $undo {
            const KIND: &'static str = $kind;
        }
        $crate::inventory::submit! { $crate::registry::UndoPlugin::of::<$undo>() }
    };
}

/// Registers a chore by its type, under the name that it has in journals.
#[macro_export]
macro_rules! register_chore {
    ($kind:literal, $chore:ty) => {
        impl $crate::undo::StoredChore for $chore {
            const KIND: &'static str = $kind;
        }
        $crate::inventory::submit! { $crate::registry::ChorePlugin::of::<$chore>() }
    };
}

/// Names of all registered undos, in order.
pub fn undos() -> Vec<&'static str> {
    let mut all: Vec<_> = inventory::iter::<UndoPlugin>.into_iter().map(|plugin| plugin.kind).collect();
    all.sort_unstable();
    all
}

/// Names of all registered chores, in order.
pub fn chores() -> Vec<&'static str> {
    let mut all: Vec<_> = inventory::iter::<ChorePlugin>.into_iter().map(|plugin| plugin.kind).collect();
    all.sort_unstable();
    all
}

pub(crate) fn undo(kind: &str) -> Option<&'static UndoPlugin> {
    inventory::iter::<UndoPlugin>.into_iter().find(|plugin| plugin.kind == kind)
}

pub(crate) fn chore(kind: &str) -> Option<&'static ChorePlugin> {
    inventory::iter::<ChorePlugin>.into_iter().find(|plugin| plugin.kind == kind)
}

/// All registered stages, by name.
pub fn stages() -> Vec<&'static StagePlugin> {
    let mut all: Vec<_> = inventory::iter::<StagePlugin>.into_iter().collect();
    all.sort_by_key(|plugin| plugin.name);
    all
}

/// All registered resources, by table and `use`.
pub fn resources() -> Vec<&'static ResourcePlugin> {
    let mut all: Vec<_> = inventory::iter::<ResourcePlugin>.into_iter().collect();
    all.sort_by_key(|plugin| (plugin.table, plugin.use_));
    all
}

/// The standard program that encodes and decodes this, where reseed knows one.
pub fn codec_program(encoding: &crate::Encoding) -> Option<&'static str> {
    let mut plugins = inventory::iter::<CodecPlugin>.into_iter();
    plugins.find(|plugin| plugin.name == encoding.as_str())?.program
}

/// The codec that a spec such as `zstd:3` names.
pub fn codec(spec: &str) -> Option<Arc<dyn Codec>> {
    let (name, rest) = spec.split_once(':').unwrap_or((spec, ""));
    let plugin = inventory::iter::<CodecPlugin>.into_iter().find(|plugin| plugin.name == name)?;
    (plugin.parse)(rest)
}

/// A reader of this format's streams, where the format has one.
pub fn reader(format: &str) -> Option<Box<dyn StreamReader>> {
    let plugin = inventory::iter::<ReaderPlugin>.into_iter().find(|plugin| plugin.format.as_str() == format)?;
    Some((plugin.open)())
}

/// What this format knows of streams that are gone on with in their middle.
pub fn resumption(format: &str) -> Option<&'static dyn Resumption> {
    inventory::iter::<ReaderPlugin>.into_iter().find(|plugin| plugin.format.as_str() == format)?.resumption
}

/// The format of a stream that begins like this: with at least [`ENOUGH`] bytes, or all that it has.
pub fn detect(bytes: &[u8]) -> Option<&'static ReaderPlugin> {
    inventory::iter::<ReaderPlugin>.into_iter().find(|plugin| !bytes.is_empty() && (plugin.looks)(bytes))
}
