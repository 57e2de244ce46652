//! The stage `exec`: any command as a source, a filter or a sink.

mod build;
mod filter;
mod program;
mod sink;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use self::filter::ExecFilter;
use self::program::Program;
use self::sink::ExecSink;
use self::source::{ExecSource, Sends};
use super::here;
use crate::config::{Located, Ref};
use crate::host::Host;
use crate::register_stage;
use crate::stage::{FilterStage, Stage};
use crate::{Encoding, Format};

/// Runs a command of your own as a filter, a source or a sink: `mbuffer`, `pv`, `gpg`, a script.
///
/// - A filter reads the stream and writes what it makes of it, on the machine where the stream is: in
///   front of a transfer the one that sends, behind it the one that receives. It keeps the kind of the
///   stream unless it says what it `encodes` or `decodes`. What it encodes travels as it is, until a
///   stage behind the transfer decodes it.
/// - A source writes one whole stream for each snapshot, or for nothing if it is the first stage.
/// - A sink reads streams, one after the other, and keeps them.
///
/// The command must exit 0, or the run fails. One whose input broke is ended and never sees a clean
/// end of it; one that does not read to the end is an error. What it says on standard error is in the
/// report. Sources and sinks find `RESEED_RUN`, `RESEED_DATASET`, `RESEED_SNAPSHOT`, `RESEED_TO_GUID`
/// and, for an increment, `RESEED_FROM_GUID` in their environment; `RESEED_BETWEEN_GUIDS` too where the stream
/// brings the snapshots in between.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ExecConfig {
    /// The program and its arguments, as they are: no shell reads them. For a shell, run one:
    /// `["sh", "-c", "…"]`.
    argv: Located<Vec<String>>,
    /// What the command does with streams; by default it is a filter.
    #[serde(default)]
    role: Role,
    /// The machine that it runs on, from `[hosts]`. By default, for a filter, where the stream is;
    /// else this one.
    #[serde(default)]
    on: Option<Ref>,
    /// The user whom it runs as, by the `become` of the host where the login is another; `root` too.
    #[serde(default, rename = "as")]
    as_: Option<Located<String>>,
    /// Variables of its environment. Everyone on the machine can see them: put no secrets here.
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// For a filter: a name for what it does to the stream, for example `gpg`. Nothing but a filter
    /// that `decodes` it takes the stream then.
    #[serde(default)]
    encodes: Option<Located<String>>,
    /// For a filter: the name of the encoding that it takes off, for example `gpg`.
    #[serde(default)]
    decodes: Option<Located<String>>,
    /// For a source: the format of what it writes, as its receivers call it. By default that of the snapshot.
    #[serde(default)]
    format: Option<Located<String>>,
    /// For a source that is the first stage: identity of the snapshot that it writes, in the storage's own
    /// terms, as `reseed stream inspect` tells it. A repository keeps streams of a storage only with the right one.
    #[serde(default)]
    guid: Option<Located<String>>,
    /// For a source that is the first stage: identity of the snapshot that its stream starts from. By default
    /// it is a whole.
    #[serde(default)]
    from_guid: Option<Located<String>>,
    /// For a source or a sink: the command that takes back what it left, run where and as the command
    /// itself if the run fails. It must be content with finding nothing, and with being run twice.
    #[serde(default)]
    undo: Option<Located<Vec<String>>>,
}

/// What a command does with streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Role {
    /// It reads a stream and writes another.
    #[default]
    Filter,
    /// It writes a stream.
    Source,
    /// It reads a stream and keeps it.
    Sink,
}

register_stage!(ExecConfig);

const NAME: &str = "exec";

/// A command as a stage, for pipelines that are built in code.
///
/// ```
/// use reseed_core::Format;
/// use reseed_core::stages::Exec;
///
/// let source = Exec::new(["tar", "-C", "/etc", "-c", "."]).source(Some(Format::new("tar")));
/// let filter = Exec::new(["gpg", "--encrypt", "-r", "backup"]).encodes("gpg").filter();
/// let sink = Exec::new(["sh", "-c", "cat > /backup/$RESEED_RUN"]).sink();
/// # let _ = (source, filter, sink);
/// ```
#[derive(Debug, Clone)]
pub struct Exec {
    program: Program,
    on: Option<Arc<dyn Host>>,
    encodes: Option<String>,
    decodes: Option<String>,
    sends: Sends,
    undo: Option<Vec<String>>,
}

impl Exec {
    /// A program and its arguments.
    ///
    /// # Panics
    /// When there is not even a program.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv: Vec<_> = argv.into_iter().map(Into::into).collect();
        assert!(!argv.is_empty(), "a command begins with its program");
        Self {
            program: Program::new(argv),
            on: None,
            encodes: None,
            decodes: None,
            sends: Sends::default(),
            undo: None,
        }
    }

    /// Runs it on this machine. By default, for a filter, where the stream is; else on this one.
    pub fn on(mut self, host: Arc<dyn Host>) -> Self {
        self.on = Some(host);
        self
    }

    /// Runs it as this user.
    pub fn as_user(mut self, user: impl Into<String>) -> Self {
        self.program.user = Some(user.into());
        self
    }

    /// Adds a variable to its environment.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.program.environment.push((name.into(), value.into()));
        self
    }

    /// Names what a filter does to the stream.
    pub fn encodes(mut self, encoding: impl Into<String>) -> Self {
        self.encodes = Some(encoding.into());
        self
    }

    /// Names what a filter takes off the stream.
    pub fn decodes(mut self, encoding: impl Into<String>) -> Self {
        self.decodes = Some(encoding.into());
        self
    }

    /// Tells of which snapshot the stream of a source is, and from which one it starts, in the storage's own
    /// terms; without the latter it is a whole.
    pub fn sends(mut self, guid: impl Into<String>, from_guid: Option<String>) -> Self {
        self.sends = Sends { guid: Some(guid.into()), from_guid };
        self
    }

    /// The command that takes back what a source or a sink left.
    pub fn undo<S: Into<String>>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.undo = Some(argv.into_iter().map(Into::into).collect());
        self
    }

    /// As a filter.
    pub fn filter(self) -> Arc<dyn Stage> {
        let (encodes, decodes) = (self.encodes.map(Encoding::done), self.decodes.map(Encoding::done));
        Arc::new(FilterStage(ExecFilter { program: self.program, on: self.on, encodes, decodes }))
    }

    /// As a source. Without a format it gives that of the snapshot that it is given.
    pub fn source(self, format: Option<Format>) -> Arc<dyn Stage> {
        let undo = self.undo.map(|argv| self.program.with(argv));
        let (on, sends) = (self.on.unwrap_or_else(here), self.sends);
        Arc::new(ExecSource { program: self.program, on, format, sends, undo })
    }

    /// As a sink.
    pub fn sink(self) -> Arc<dyn Stage> {
        let undo = self.undo.map(|argv| self.program.with(argv));
        Arc::new(ExecSink { program: self.program, on: self.on.unwrap_or_else(here), undo })
    }
}
