//! One lazy stream on its way, and what filters do with it.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;

use super::{LeftOut, Pass, Pending, SnapshotPart};
use crate::codec::Codec;
use crate::host::{Command, Host, Job, linked, linked_then, open, through};
use crate::reader::Place;
use crate::stream::{BoxStream, Deferred, Meter, Metered};
use crate::{Encoding, Error, Format, Result, StreamKind, names};

/// What a stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    /// The snapshot at whose state the receiver arrives.
    pub part: SnapshotPart,
    /// The snapshot that the receiver must hold already; `None` for a full stream.
    pub from_guid: Option<String>,
    /// Identities of snapshots between that one and this, which the same stream brings, oldest first: the
    /// receiver has them too, then.
    pub between: Vec<String>,
    /// How its source makes it, in the storage's own words: what is put on top of it later must be made so, too.
    pub made: Option<String>,
    /// Whether it goes on with what the receiver has of it since it was cut off.
    pub goes_on: bool,
    /// The storage's format.
    pub format: Format,
    /// What was done to the bytes, the last one outermost.
    pub encodings: Vec<Encoding>,
    /// Size before encoding in bytes, where the storage can estimate it.
    pub estimate: Option<u64>,
    /// Left-out datasets of the same set, so that the receiver can make empty ones.
    pub left_out: Vec<LeftOut>,
    /// The branches that it is for, where a pipeline parts behind it and not all start from the same snapshot;
    /// all of them where none is named.
    pub branches: Vec<String>,
}

impl StreamHeader {
    /// Of the whole of a snapshot, as the storage makes it.
    pub fn new(part: SnapshotPart, format: Format) -> Self {
        Self {
            part,
            from_guid: None,
            between: vec![],
            made: None,
            goes_on: false,
            format,
            encodings: vec![],
            estimate: None,
            left_out: vec![],
            branches: vec![],
        }
    }

    /// Whether the branch of this name takes it.
    pub fn is_for(&self, branch: &str) -> bool {
        self.branches.is_empty() || self.branches.iter().any(|name| name == branch)
    }

    /// Judges every name that came with the stream, before it reaches a command or a path.
    ///
    /// # Errors
    /// Which of them is none.
    pub fn check(&self) -> Result<()> {
        self.part.check()?;
        self.left_out.iter().try_for_each(LeftOut::check)?;
        let guids = self.from_guid.iter().chain(&self.between);
        match guids.map(String::as_str).find_map(|guid| Some((guid, names::wrong_part(guid)?))) {
            Some((guid, why)) => Err(Error::failed(format!("`{}` is no GUID: {why}", names::shown(guid)))),
            None => Ok(()),
        }
    }
}

/// One lazy stream: what will make its bytes, where, and what is still to be done to them there.
pub struct StreamItem {
    /// What it carries.
    pub header: StreamHeader,
    /// What makes the bytes.
    pub body: Body,
    /// What was asked for and not done yet. A transport does it; whoever opens the stream does what
    /// is left.
    pub pending: Pending,
    /// What a transport makes of the receiver's job, so that it understands the wire.
    pub wrap: Option<Wrap>,
    /// How its source makes what follows a place in its middle, where it can.
    pub resume: Option<Resuming>,
}

/// How a stream can be made from a place in its middle on.
#[derive(Clone)]
pub struct Resuming {
    source: Arc<dyn Resume>,
    /// Passes that read the bytes and are the source's own: it asks for others instead.
    own: usize,
}

/// A source that can make a stream from a place in its middle on.
#[async_trait]
pub trait Resume: Send + Sync {
    /// The job that makes it on the stream's host, and what makes of that job's bytes those that follow the
    /// place; `None` where there is no such job any more, or the place is none of this stream.
    ///
    /// # Errors
    /// When it can't be asked.
    async fn behind(&self, place: &Place) -> Result<Option<(Job, Arc<dyn Pass>)>>;
}

/// Makes a job that takes what the wire brings out of a job that takes a plain stream. The job that
/// it makes gives its inner job a clean end of input only after a whole stream.
pub type Wrap = Arc<dyn Fn(Job) -> Job + Send + Sync>;

/// What makes the bytes of a stream.
pub enum Body {
    /// A job on a host that has not been started.
    Job {
        /// Where it runs.
        host: Arc<dyn Host>,
        /// What runs.
        job: Job,
    },
    /// A stream in this process.
    Here(BoxStream),
}

/// The machine on which the bytes of a stream are while they wait for the next filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// In this process.
    Here,
    /// On another machine: a command must run there.
    Far,
}

impl StreamItem {
    /// A stream that a job will make.
    pub fn from_job(header: StreamHeader, host: Arc<dyn Host>, job: Job) -> Self {
        Self { header, body: Body::Job { host, job }, pending: Pending::default(), wrap: None, resume: None }
    }

    /// A stream in this process.
    pub fn here(header: StreamHeader, stream: BoxStream) -> Self {
        Self { header, body: Body::Here(stream), pending: Pending::default(), wrap: None, resume: None }
    }

    /// The same stream, whose source can make it from a place in its middle on. What was asked for by now is the
    /// source's own.
    pub fn resumed_by(mut self, source: Arc<dyn Resume>) -> Self {
        self.resume = Some(Resuming { source, own: self.pending.readers() });
        self
    }

    /// The kind that this stream has.
    pub fn kind(&self) -> StreamKind {
        StreamKind { format: self.header.format.clone(), encodings: self.header.encodings.clone() }
    }

    /// Where the bytes can be seen. Behind a transport to another machine they are there, although
    /// what goes over the wire is still to be pulled here.
    pub fn reach(&self) -> Reach {
        match &self.body {
            _ if self.wrap.is_some() => Reach::Far,
            Body::Job { host, .. } if !host.is_local() => Reach::Far,
            _ => Reach::Here,
        }
    }

    /// Becomes what follows a place of the stream, where its source can make just that and nothing was asked for
    /// that must see all of it; whether it has. What its source itself asked for comes first.
    ///
    /// # Errors
    /// When the source can't be asked.
    pub async fn go_on_behind(&mut self, place: &Place) -> Result<bool> {
        let (Some(resume), Body::Job { job, .. }, None) = (&self.resume, &mut self.body, &self.wrap) else {
            return Ok(false);
        };
        if !self.pending.codecs().is_empty() || self.pending.readers() > resume.own {
            return Ok(false);
        }
        let Some((rest, pass)) = resume.source.behind(place).await? else { return Ok(false) };
        *job = rest;
        let others = std::mem::take(&mut self.pending).indifferent();
        self.pending.pass(pass);
        self.pending.append(others);
        self.resume = None;
        Ok(true)
    }

    /// Opens the stream in this process, everything pending done; `plain` counts the bytes before
    /// any of it.
    ///
    /// # Errors
    /// When the job can't be started.
    pub async fn open(self, plain: Option<Arc<Meter>>) -> Result<BoxStream> {
        let mut stream = match self.body {
            Body::Job { host, job } => open(host.as_ref(), &job).await?,
            Body::Here(stream) => stream,
        };
        if let Some(meter) = plain {
            stream = Metered::boxed(stream, meter);
        }
        Ok(self.pending.outer(self.pending.inner(stream)))
    }

    /// The same stream with a command on it, run where the bytes are: `host` is used where they are
    /// in this process. Encodings that were asked for are done before it. Nothing is started yet.
    ///
    /// A command whose input broke never sees a clean end of it, and one that does not read to the end
    /// has failed, whatever it says.
    ///
    /// # Errors
    /// When an encoding must be done on a machine by a program and there is none for it.
    pub fn filtered_by(self, command: Command, host: Arc<dyn Host>, plain: &Arc<Meter>) -> Result<Self> {
        self.through_command(command, host, plain, false)
    }

    /// The same for a command that passes the bytes on as they are.
    ///
    /// # Errors
    /// As [`filtered_by`](Self::filtered_by).
    pub fn seen_by(self, command: Command, host: Arc<dyn Host>, plain: &Arc<Meter>) -> Result<Self> {
        let plainly = self.pending.codecs().is_empty();
        self.through_command(command, host, plain, plainly)
    }

    fn through_command(
        mut self,
        command: Command,
        host: Arc<dyn Host>,
        plain: &Arc<Meter>,
        same: bool,
    ) -> Result<Self> {
        let kind = self.kind().settled();
        let mut steps = match self.reach() {
            Reach::Far => encoders(&self.pending.codecs())?,
            Reach::Here => vec![],
        };
        steps.push(command);
        self = match self.reach() {
            Reach::Far => self.filtered_there(steps, same),
            Reach::Here => {
                let job = linked(Job::pipe(steps));
                self.map_here(plain, move |stream| through(host, job, stream))
            }
        };
        self.header.encodings = kind.encodings;
        Ok(self)
    }

    /// The same stream after `change`, which sees the bytes as they are with everything pending done.
    /// Only for a stream whose bytes can be seen here.
    pub fn map_here(self, plain: &Arc<Meter>, change: impl FnOnce(BoxStream) -> BoxStream + Send + 'static) -> Self {
        let header = StreamHeader { encodings: self.kind().settled().encodings, ..self.header.clone() };
        // What is already in this process was counted when it came.
        let plain = matches!(self.body, Body::Job { .. }).then(|| Arc::clone(plain));
        let opened = Deferred::boxed(async move { Ok(change(self.open(plain).await?)) });
        Self::here(header, opened)
    }

    /// Puts commands behind the sender's job, or in front of the receiver's.
    fn filtered_there(self, steps: Vec<Command>, same: bool) -> Self {
        let Self { header, body, pending, wrap, resume: _ } = self;
        let pending = pending.passes();
        match (body, wrap) {
            (Body::Job { host, job }, None) => {
                let job = steps.into_iter().fold(job, linked_then);
                let pending = if same { pending } else { pending.indifferent() };
                Self { header, body: Body::Job { host, job }, pending, wrap: None, resume: None }
            }
            (body, Some(wrap)) => {
                let inner: Wrap = Arc::new(move |job: Job| wrap(in_front(&steps, job)));
                Self { header, body, pending, wrap: Some(inner), resume: None }
            }
            (body, None) => Self { header, body, pending, wrap: None, resume: None },
        }
    }
}

fn in_front(steps: &[Command], job: Job) -> Job {
    let mut all = steps.iter().cloned().chain(job.steps().iter().cloned());
    let Some(first) = all.next() else { return job };
    all.fold(Job::from(first), linked_then)
}

fn encoders(codecs: &[Arc<dyn Codec>]) -> Result<Vec<Command>> {
    let encoder = |codec: &Arc<dyn Codec>| codec.encoder().ok_or_else(|| no_program(codec.as_ref()));
    codecs.iter().map(encoder).collect()
}

fn no_program(codec: &dyn Codec) -> Error {
    Error::failed(format!("no standard program does {}", codec.encoding().as_str()))
}

impl Debug for StreamItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made_by = match &self.body {
            Body::Job { host, job } => format!("{job} on {}", host.name()),
            Body::Here(_) => "here".to_owned(),
        };
        f.debug_struct("StreamItem").field("header", &self.header).field("body", &made_by).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
