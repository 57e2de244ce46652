//! The end of a pipeline that receives: the narrow trait for authors, and its adapter to [`Stage`].

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::unexpected;
use crate::host::{Host, Job, drain};
use crate::item::{Body, Item, Payload, SnapshotPart, StreamHeader, StreamItem, Volume};
use crate::leftover::Leftovers;
use crate::stage::arrivals::Arrivals;
use crate::stage::{CheckCx, Claim, Holdings, Stage, StageCx};
use crate::stream::Metered;
use crate::{Class, Error, Format, Kind, Mismatch, Result, StreamKind};

/// Receives streams. The adapter drives them.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// The stage's name.
    fn name(&self) -> &str;
    /// The storage's format.
    fn format(&self) -> Format;
    /// The machine that receives.
    fn host(&self) -> Arc<dyn Host>;
    /// See [`Stage::approaches`].
    fn approaches(&self) -> bool {
        false
    }
    /// See [`Stage::claims`].
    fn claims(&self) -> Vec<Claim> {
        vec![]
    }
    /// See [`Stage::scout`].
    async fn scout(&self, _cx: &CheckCx) {}
    /// See [`Stage::survey`].
    ///
    /// # Errors
    /// When it can't find out.
    async fn survey(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }
    /// See [`Stage::check`].
    ///
    /// # Errors
    /// A refusal.
    async fn check(&self, _cx: &CheckCx) -> Result<()> {
        Ok(())
    }
    /// See [`Stage::holds`].
    ///
    /// # Errors
    /// When the target can't be asked.
    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Holdings>;
    /// See [`Stage::leftovers`].
    ///
    /// # Errors
    /// When it can't look.
    async fn leftovers(&self, _cx: &CheckCx) -> Result<Leftovers> {
        Ok(Leftovers::default())
    }
    /// Prepares for one stream, arms what takes it back, and gives the job that reads the stream.
    ///
    /// # Errors
    /// When the storage refuses.
    async fn begin(&self, header: &StreamHeader, cx: &StageCx) -> Result<Job>;
    /// What a person can do about a stream that did not arrive, where what was said on the way tells.
    fn advice(&self, _header: &StreamHeader, _said: &str) -> Option<String> {
        None
    }
    /// Verifies, after the job ended well, that what the header promised has arrived.
    ///
    /// # Errors
    /// When it has not.
    async fn verify(&self, header: &StreamHeader, cx: &StageCx) -> Result<()>;
    /// Whether what was received can stay as it is when a later stream of the same dataset fails.
    fn stays(&self) -> bool {
        false
    }
    /// Makes what was received fit to stay, as [`finish`](Self::finish) would have.
    ///
    /// # Errors
    /// When the storage refuses.
    async fn settle(&self, _received: &[StreamHeader], _cx: &StageCx) -> Result<()> {
        Ok(())
    }
    /// Makes a volume of all that was received: of each dataset, where it arrived last.
    ///
    /// # Errors
    /// When the storage refuses.
    async fn finish(&self, received: Vec<StreamHeader>, cx: &StageCx) -> Result<Arc<dyn Volume>>;
}

/// A [`Sink`] as a stage.
#[derive(Debug)]
pub struct SinkStage<S>(pub S);

/// Drives a stream into a job on this machine.
pub(crate) async fn receive(stream: StreamItem, host: &dyn Host, job: Job, cx: &StageCx) -> Result<()> {
    let job = match &stream.wrap {
        Some(wrap) => wrap(job),
        None => job,
    };
    // What is already in this process was counted by the transport that brought it here.
    let plain = matches!(stream.body, Body::Job { .. }).then(|| Arc::clone(&cx.meters().stream));
    let dataset = stream.header.part.dataset.clone();
    let received = async {
        let _flowing = cx.flowing();
        let opening = cx.meters().pulled.wait();
        let stream = Metered::boxed(stream.open(plain).await?, Arc::clone(&cx.meters().pulled));
        drop(opening);
        let process = host.start(&job).await?;
        drain(stream, process, &cx.meters().sink).await
    };
    received.await.map_err(|e| e.context(format!("receiving {dataset}")))
}

/// An error that says nothing of what to do, with what is known of it.
fn advised(error: Error, advice: impl FnOnce(&str) -> Option<String>) -> Error {
    let known = matches!(error.class(), Class::Failed) && error.hint_text().is_none();
    match known.then(|| advice(&error.chain())).flatten() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// Notes in the report what has arrived: of a chain, where its first stream starts and its last one ends.
pub(crate) fn report_received(header: &StreamHeader, cx: &StageCx) {
    if header.part.main {
        cx.report(|report| {
            if report.to_guid.is_none() {
                report.full = header.from_guid.is_none();
                report.from_guid = header.from_guid.clone();
            }
            report.to_guid = Some(header.part.guid.clone());
        });
    }
}

#[async_trait]
impl<S: Sink> Stage for SinkStage<S> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn approaches(&self) -> bool {
        self.0.approaches()
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        let gives = Kind::Dataset(self.0.format());
        let plain = Kind::Stream(StreamKind { format: self.0.format(), encodings: vec![] });
        match input {
            input if *input == plain => Ok(gives),
            Kind::Stream(stream) if stream.format == self.0.format() => {
                let mismatch = Mismatch::new(format!("a plain {plain}"), input, gives);
                Err(match stream.encodings.last().filter(|outermost| outermost.is_done()) {
                    Some(done) => mismatch.hint(format!("put a stage in front of it that decodes {}", done.as_str())),
                    None => mismatch.hint("a transport or a decoder must stand in front of it"),
                })
            }
            other => Err(Mismatch::new(format!("a {plain}"), other, gives)),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        self.0.claims()
    }

    /// What is received into is changed for good.
    fn locks(&self) -> Vec<Claim> {
        self.0.claims()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        Some(self.0.host())
    }

    async fn scout(&self, cx: &CheckCx) {
        self.0.scout(cx).await;
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        self.0.survey(cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.0.check(cx).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Option<Holdings>> {
        self.0.holds(wanted, cx).await.map(Some)
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        self.0.leftovers(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { return Err(unexpected(self.name(), &input)) };
        let mut received: Vec<StreamHeader> = Vec::with_capacity(streams.len());
        let mut arrivals = Arrivals::of(self.0.stays(), cx);
        for stream in streams {
            let header = stream.header.clone();
            header.check()?;
            arrivals.before(&header, &self.0, cx).await?;
            let job = self.0.begin(&header, cx).await;
            let job = job.map_err(|e| e.context(format!("receiving {}", header.part.dataset)))?;
            let arrived = receive(stream, self.0.host().as_ref(), job, cx).await;
            arrived.map_err(|error| advised(error, |said| self.0.advice(&header, said)))?;
            self.0.verify(&header, cx).await?;
            report_received(&header, cx);
            arrivals.add(&header);
            // Of several increments of one dataset the last one says where it has arrived.
            received.retain(|earlier| earlier.part.dataset != header.part.dataset);
            received.push(header);
        }
        let volume = self.0.finish(received, cx).await?;
        Ok(Item { payload: Payload::Dataset(volume), facts: input.facts })
    }
}
