//! One hop over one wire. Nothing is started before the stream is pulled.

use std::sync::Arc;

use reseed_core::codec::{Codec, Framed, frame};
use reseed_core::host::{Command, Host, Job, open};
use reseed_core::item::{Body, Pending, StreamItem, Wrap};
use reseed_core::stage::Meters;
use reseed_core::stream::{BoxStream, Deferred, Metered};
use reseed_core::{Error, Result};

use super::guard::{blocks, guarded};
use super::probe::Means;

type Codecs = [Arc<dyn Codec>];

/// From a job on another machine to a plain stream here.
pub(super) fn inbound(
    reseed: &str,
    means: Means,
    host: Arc<dyn Host>,
    job: Job,
    pending: &Pending,
    meters: &Meters,
) -> Result<BoxStream> {
    let codecs = pending.codecs();
    let job = match means {
        Means::Framed => sending(reseed, job, &codecs),
        Means::Programs => encoders(&codecs)?.into_iter().fold(job, Job::then),
        Means::Plain => job,
    };
    let raw = Deferred::boxed(async move { open(host.as_ref(), &job).await });
    let raw = Metered::boxed(raw, Arc::clone(&meters.wire));
    let plain = match means {
        Means::Framed => Framed::boxed(pending.undo_outer(raw)),
        Means::Programs => pending.undo_outer(raw),
        // No codec is done, so every pass sees what is on the wire.
        Means::Plain => return Ok(Metered::boxed(pending.clone().passes().inner(raw), Arc::clone(&meters.stream))),
    };
    Ok(Metered::boxed(pending.inner(plain), Arc::clone(&meters.stream)))
}

/// From a stream here, or of a job here, to a receiver on another machine.
pub(super) fn outbound(
    reseed: &str,
    means: Means,
    stream: StreamItem,
    pending: &Pending,
    meters: &Meters,
) -> Result<StreamItem> {
    let codecs = pending.codecs();
    let plain = match stream.body {
        // What is already in this process was counted when it came.
        Body::Here(stream) => stream,
        Body::Job { host, job } => {
            let opened = Deferred::boxed(async move { open(host.as_ref(), &job).await });
            Metered::boxed(opened, Arc::clone(&meters.stream))
        }
    };
    let (raw, wrap): (BoxStream, Wrap) = match means {
        Means::Framed => (pending.outer(frame(pending.inner(plain))), receiving(reseed, &codecs)),
        Means::Programs => {
            let decoders = decoders(&codecs)?;
            let wrap = move |job: Job| guarded(behind(decoders.clone(), job));
            (blocks(pending.outer(pending.inner(plain))), Arc::new(wrap))
        }
        Means::Plain => (blocks(pending.clone().passes().inner(plain)), Arc::new(guarded)),
    };
    let carried = StreamItem::here(stream.header, Metered::boxed(raw, Arc::clone(&meters.wire)));
    Ok(StreamItem { wrap: Some(wrap), ..carried })
}

/// `reseed wire send` around the sender's job.
fn sending(reseed: &str, job: Job, codecs: &Codecs) -> Job {
    let command = Command::new(reseed).args(["wire", "send"]);
    let specs = codecs.iter().flat_map(|codec| ["--encode".to_owned(), codec.spec()]);
    command.args(specs).arg("--").running(job).into()
}

/// `reseed wire receive` around the receiver's job.
fn receiving(reseed: &str, codecs: &Codecs) -> Wrap {
    let specs = codecs.iter().flat_map(|codec| ["--decode".to_owned(), codec.spec()]);
    let command = Command::new(reseed).args(["wire", "receive"]).args(specs).arg("--");
    Arc::new(move |job| command.clone().running(job).into())
}

fn encoders(codecs: &Codecs) -> Result<Vec<Command>> {
    codecs.iter().map(|codec| codec.encoder().ok_or_else(|| no_program(codec.as_ref()))).collect()
}

fn decoders(codecs: &Codecs) -> Result<Vec<Command>> {
    codecs.iter().rev().map(|codec| codec.decoder().ok_or_else(|| no_program(codec.as_ref()))).collect()
}

fn no_program(codec: &dyn Codec) -> Error {
    Error::failed(format!("no standard program does {}", codec.encoding().as_str()))
}

fn behind(mut decoders: Vec<Command>, job: Job) -> Job {
    decoders.extend(job.steps().iter().cloned());
    Job::pipe(decoders)
}
