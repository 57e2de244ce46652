//! One hop over one wire. Nothing is started before the stream is pulled.

use std::sync::Arc;

use reseed_core::codec::{Codec, Framed, frame};
use reseed_core::host::{Command, Host, Job, open};
use reseed_core::item::{Body, StreamItem, Wrap};
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
    codecs: &Codecs,
    meters: &Meters,
) -> Result<BoxStream> {
    let job = match means {
        Means::Framed => sending(reseed, job, codecs),
        Means::Programs => encoders(codecs)?.into_iter().fold(job, Job::then),
        Means::Plain => job,
    };
    let raw = Deferred::boxed(async move { open(host.as_ref(), &job).await });
    let raw = Metered::boxed(raw, Arc::clone(&meters.wire));
    let plain = match means {
        Means::Framed => Framed::boxed(decode(codecs, raw)),
        Means::Programs => decode(codecs, raw),
        Means::Plain => raw,
    };
    Ok(Metered::boxed(plain, Arc::clone(&meters.stream)))
}

/// From a stream here, or of a job here, to a receiver on another machine.
pub(super) fn outbound(
    reseed: &str,
    means: Means,
    mut stream: StreamItem,
    codecs: &Codecs,
    meters: &Meters,
) -> Result<StreamItem> {
    let watch = stream.watch.take();
    let plain = match stream.body {
        // What is already in this process was counted, and looked at, when it came.
        Body::Here(stream) => stream,
        Body::Job { host, job } => {
            let opened = Deferred::boxed(async move { open(host.as_ref(), &job).await });
            let metered = Metered::boxed(opened, Arc::clone(&meters.stream));
            match watch {
                Some(watch) => watch(metered),
                None => metered,
            }
        }
    };
    let (raw, wrap): (BoxStream, Wrap) = match means {
        Means::Framed => (encode(codecs, frame(plain)), receiving(reseed, codecs)),
        Means::Programs => {
            let decoders = decoders(codecs)?;
            let wrap = move |job: Job| guarded(behind(decoders.clone(), job));
            (blocks(encode(codecs, plain)), Arc::new(wrap))
        }
        Means::Plain => (blocks(plain), Arc::new(guarded)),
    };
    let body = Body::Here(Metered::boxed(raw, Arc::clone(&meters.wire)));
    Ok(StreamItem { header: stream.header, body, pending: vec![], wrap: Some(wrap), watch: None })
}

fn encode(codecs: &Codecs, stream: BoxStream) -> BoxStream {
    codecs.iter().fold(stream, |stream, codec| codec.encode(stream))
}

fn decode(codecs: &Codecs, stream: BoxStream) -> BoxStream {
    codecs.iter().rev().fold(stream, |stream, codec| codec.decode(stream))
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
