//! One put, from its first record to its manifest.

use std::collections::BTreeSet;
use std::sync::Arc;

use reseed_core::item::{ArmedSnapshots, Facts, FilesBeside, StreamHeader, StreamItem};
use reseed_core::stage::StageCx;
use reseed_core::undo::Armed;
use reseed_core::{Error, Result};

use super::begun::Begun;
use super::undo::{Abandon, Leave, Publish, Sweep};
use super::{PUT_THE_WHOLE, Put};
use crate::chain::{Link, publish};
use crate::chunks::{Judge, Keeping, Written, write, write_behind, write_judged};
use crate::format::{self, ChunkName, FileBeside, LeftOut, Manifest, Stream, VERSION};
use crate::store::Sha256;
use crate::uploads::{self, Marks, Upload, before, forget_from, now};

/// A put that is under way.
pub(super) struct Going<'p> {
    put: &'p Put,
    cx: &'p StageCx,
    upload: Upload,
    keeping: Keeping,
    /// What the manifest will say, but for the chunks.
    draft: Manifest,
    root: String,
    /// Whether an earlier run began it.
    gone_on: bool,
    armed: Armed,
}

impl<'p> Going<'p> {
    /// Begins a put of streams with these headers.
    pub(super) async fn begin(
        put: &'p Put,
        headers: &[StreamHeader],
        facts: Facts,
        cx: &'p StageCx,
    ) -> Result<Going<'p>> {
        let main =
            headers.iter().find(|header| header.part.main).ok_or_else(|| Error::failed("no stream is the main one"))?;
        let base = match headers.iter().any(|header| header.from_guid.is_some()) {
            true => put.base(&main.part.dataset, cx).await?,
            false => None,
        };
        let parent = base.as_ref().map(|(_, link)| link);
        let draft = Manifest {
            format: uploads::FORMAT.to_owned(),
            version: VERSION,
            signature: None,
            run: cx.run_id().to_owned(),
            created: now(),
            parent: parent.map(Link::as_parent),
            depth: parent.map_or(0, |link| link.manifest.depth + 1),
            storage: main.format.as_str().to_owned(),
            streams: headers.iter().map(|header| put.planned(header)).collect(),
            left_out: main.left_out.iter().map(left_out).collect(),
            files: vec![],
            facts,
        };
        fits(&draft, parent)?;
        let armed = cx.arm(Abandon { repository: put.repository(), run: cx.run_id().to_owned() })?;
        let upload = Upload::begin(&put.store, cx.run_id(), &main.part.dataset, draft.parent.clone()).await?;
        let keeping = Keeping { marks: put.marks(cx), ..Keeping::new(&put.store, upload.id()) };
        let root = base.map_or_else(|| cx.run_id().to_owned(), |(root, _)| root);
        let mut going = Self { put, cx, upload, keeping, draft, root, gone_on: false, armed };
        going.be_ready().await?;
        Ok(going)
    }

    /// Goes on with what an earlier run began: facts and files are those of its snapshots.
    pub(super) async fn on(put: &'p Put, begun: &Begun, cx: &'p StageCx) -> Result<Going<'p>> {
        let id = begun.found.id.clone();
        let armed = cx.arm(Leave { repository: put.repository(), upload: id.clone(), run: cx.run_id().to_owned() })?;
        let Some(upload) = Upload::take(&put.store, &begun.found, cx.run_id()).await? else {
            let error = Error::failed(format!("another run goes on with the upload {id} in {}", put.store.url()));
            return Err(error.hint("let that run end; only one can put what has been begun"));
        };
        let keeping = Keeping { marks: put.marks(cx), ..Keeping::begun(&put.store, upload.id()).await? };
        let (chunks, bytes) = keeping.there.size();
        cx.note(format!("{chunks} chunks with {} MiB are there already", bytes.div_ceil(1 << 20)));
        // The full of a chain bears the name of the run that wrote its manifest.
        let root = begun.root.clone().unwrap_or_else(|| cx.run_id().to_owned());
        Ok(Self { put, cx, upload, keeping, draft: begun.draft.clone(), root, gone_on: true, armed })
    }

    /// Puts what the source keeps for a while only; from then on a later run could do the rest.
    async fn be_ready(&mut self) -> Result<()> {
        self.draft.files = self.files().await?;
        self.draft = self.draft.clone().signed(self.put.seal.signer.as_ref())?;
        self.upload.ready(&self.draft).await?;
        if !self.put.resumes(self.cx) {
            return Ok(());
        }
        let (repository, run) = (self.put.repository(), self.cx.run_id().to_owned());
        let leave = self.cx.arm(Leave { repository, upload: self.upload.id().to_owned(), run })?;
        self.cx.disarm(std::mem::replace(&mut self.armed, leave))?;
        if let Some(snapshots) = self.cx.board().get::<ArmedSnapshots>() {
            snapshots.0.iter().try_for_each(|armed| self.cx.disarm(*armed))?;
        }
        Ok(())
    }

    /// Puts the streams, and then the manifest.
    pub(super) async fn put(&mut self, streams: Vec<StreamItem>) -> Result<Link> {
        let mut put = vec![];
        for (number, stream) in streams.into_iter().enumerate() {
            put.push(self.stream(number, stream).await?);
            self.cx.go_on()?;
        }
        let manifest = Manifest {
            format: format::FORMAT.to_owned(),
            signature: None,
            run: self.cx.run_id().to_owned(),
            created: now(),
            streams: put,
            ..self.draft.clone()
        };
        let manifest = manifest.signed(self.put.seal.signer.as_ref())?;
        manifest.is_right().map_err(|why| Error::failed(format!("what was put is no increment: {why}")))?;
        self.upload.close().await?;
        let to_be = Link::to_be(&self.root, &manifest)?;
        // From here on it is the manifest that tells whether the run has committed.
        let (repository, name) = (self.put.repository(), to_be.key.as_str().to_owned());
        self.cx.arm(Publish { repository, manifest: name, sha256: to_be.sha256 })?;
        let link = publish(self.put.store.as_ref(), &self.root, &manifest).await?;
        let (repository, run) = (self.put.repository(), self.cx.run_id().to_owned());
        self.cx.after_commit(Sweep { repository, dataset: link.manifest.main().to_owned(), run })?;
        if let Err(error) = self.tidy(&link.manifest).await {
            self.cx.warn(format!("something of the upload stays in {}: {}", self.put.store.url(), error.chain()));
        }
        Ok(link)
    }

    /// Removes what is of no use once the manifest is there: chunks of earlier runs that it does not name, as
    /// the same chunk is encrypted to other bytes each time, and the records.
    async fn tidy(&self, manifest: &Manifest) -> Result<()> {
        if self.keeping.there.size().0 > 0 {
            let named = manifest.stored().into_iter().flat_map(|stream| stream.chunks).map(|chunk| chunk.object);
            let named: BTreeSet<_> = named.collect();
            for object in self.put.store.list(&format::chunks_of(self.upload.id())).await? {
                if ChunkName::read(&object.key).is_some() && !named.contains(object.key.as_str()) {
                    self.put.store.delete(&object.key).await?;
                }
            }
        }
        self.upload.forget().await
    }

    /// Puts the files beside the streams, as streams of the numbers after theirs.
    async fn files(&self) -> Result<Vec<FileBeside>> {
        let (first, mut files) = (self.draft.streams.len(), vec![]);
        let beside = self.cx.board().get::<FilesBeside>();
        for (index, file) in beside.iter().flat_map(|beside| &beside.0).enumerate() {
            let put = write(&self.keeping, first + index, (file.open)(), &self.put.how).await;
            let Written { size, sha256, chunks, sent, .. } =
                put.map_err(|e| e.context(format!("putting {}", file.name)))?;
            self.cx.meters().wire.add(sent);
            let (name, recipients) = (file.name.clone(), self.put.how.recipients.names());
            files.push(FileBeside { name, size, sha256, recipients, chunks });
            self.cx.go_on()?;
        }
        Ok(files)
    }

    async fn stream(&self, number: usize, stream: StreamItem) -> Result<Stream> {
        let planned = self.put.planned(&stream.header);
        let put = self.written(number, stream, &planned).await;
        let Written { size, sha256, chunks, head, sent } =
            put.map_err(|e| e.context(format!("putting {}", planned.dataset)))?;
        self.cx.meters().wire.add(sent);
        Ok(Stream { size, sha256, head, chunks, ..planned })
    }

    /// Stores a stream; only what follows the part that is kept already, where its source can make just that.
    async fn written(&self, number: usize, mut stream: StreamItem, planned: &Stream) -> Result<Written> {
        let (storage, how) = (&self.draft.storage, &self.put.how);
        let before = match self.gone_on {
            true => before(&self.put.store, self.upload.id(), number, &self.put.seal.trust).await?,
            false => None,
        };
        let plain = Some(Arc::clone(&self.cx.meters().stream));
        let goes_on = match &before {
            Some(before) => stream.go_on_behind(&before.place).await?,
            None => false,
        };
        let before = before.filter(|_| goes_on);
        if self.gone_on {
            let kept = before.as_ref().map_or(0, |before| before.chunks.len());
            forget_from(&self.put.store, self.upload.id(), number, kept).await?;
        }
        if let Some(before) = before {
            let mib = before.place.offset >> 20;
            self.cx.note(format!("{} is sent behind the {mib} MiB of it that are kept", planned.dataset));
            let rest = stream.open(plain).await?;
            return write_behind(&self.keeping, number, before, rest, (storage, planned), how).await;
        }
        let judge = Judge::of(storage, planned);
        write_judged(&self.keeping, number, stream.open(plain).await?, judge, how).await
    }
}

impl Put {
    /// What says of chunks that they are kept, where a later run is to go on behind them.
    fn marks(&self, cx: &StageCx) -> Option<Marks> {
        self.resumes(cx).then(|| Marks(self.seal.signer.clone()))
    }

    /// A stream as it will be in the manifest, without its chunks.
    fn planned(&self, header: &StreamHeader) -> Stream {
        let part = header.part.clone();
        Stream {
            dataset: part.dataset,
            mountpoint: part.mountpoint,
            snapshot: part.snapshot,
            guid: part.guid,
            from_guid: header.from_guid.clone(),
            between: header.between.clone(),
            made: header.made.clone(),
            main: part.main,
            encodings: vec![],
            recipients: self.how.recipients.names(),
            size: 0,
            sha256: Sha256::of(&[]),
            head: None,
            chunks: vec![],
        }
    }
}

/// That the streams start where the newest manifest ends.
fn fits(draft: &Manifest, parent: Option<&Link>) -> Result<()> {
    for stream in &draft.streams {
        let held = parent.and_then(|link| link.manifest.of(&stream.dataset)).map(|stream| &stream.guid);
        if stream.from_guid.as_ref() != held {
            let dataset = &stream.dataset;
            let text = format!("the stream of {dataset} does not start where the repository's newest ends");
            return Err(Error::failed(text).hint(PUT_THE_WHOLE));
        }
    }
    Ok(())
}

fn left_out(left: &reseed_core::item::LeftOut) -> LeftOut {
    LeftOut { dataset: left.dataset.clone(), mountpoint: left.mountpoint.clone() }
}
