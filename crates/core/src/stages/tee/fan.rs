//! One stream read once and given to several readers, each of which is bounded in how far it lags.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::Slack;
use crate::item::{Body, StreamItem};
use crate::stage::Meters;
use crate::stream::{BoxStream, ByteStream, Meter, Metered};
use crate::{Error, Result};

/// What a reader is given. A channel that ends without an end is a broken stream.
enum Piece {
    Bytes(Bytes, OwnedSemaphorePermit),
    End,
    Broken(String),
}

/// One reader's end of one stream.
struct Reader {
    pieces: mpsc::UnboundedReceiver<Piece>,
    ended: bool,
}

/// The way to one reader of one stream.
struct Lane {
    pieces: mpsc::UnboundedSender<Piece>,
    /// Bytes that the reader may still lag.
    room: Arc<Semaphore>,
    /// Cancels the reader.
    reader: CancellationToken,
    slack: Slack,
}

/// Parts each stream among the readers that it is for, by their names; each is cancelled when it falls behind.
/// What is given first reads the streams one after the other, each once, and must be driven; it ends when all of
/// them have ended or broken, or when nobody reads any more. Behind one that broke, none is read of those that
/// are for the same readers.
pub(super) fn out(
    streams: Vec<StreamItem>,
    readers: &[(&str, CancellationToken)],
    slack: Slack,
    meters: &Meters,
) -> (impl Future<Output = Result<()>> + Send + use<>, Vec<Vec<StreamItem>>) {
    let mut ends: Vec<Vec<StreamItem>> = readers.iter().map(|_| Vec::new()).collect();
    let mut sources = Vec::new();
    let rooms: Vec<_> = readers.iter().map(|_| Arc::new(Semaphore::new(slack.buffer as usize))).collect();
    for mut stream in streams {
        let mut lanes = Vec::new();
        // What the bytes pass before anything is done to them, they pass once: in the one read.
        let mut pending = std::mem::take(&mut stream.pending);
        stream.pending = pending.take_inner();
        for ((end, room), (name, reader)) in ends.iter_mut().zip(&rooms).zip(readers) {
            if !stream.header.is_for(name) {
                continue;
            }
            let (sender, pieces) = mpsc::unbounded_channel();
            lanes.push(Lane { pieces: sender, room: Arc::clone(room), reader: reader.clone(), slack });
            let mut item = StreamItem::here(stream.header.clone(), Box::new(Reader { pieces, ended: false }));
            // What was asked for and not done yet is done in each branch: on its own way.
            item.pending.clone_from(&pending);
            item.wrap.clone_from(&stream.wrap);
            end.push(item);
        }
        sources.push((stream, lanes));
    }
    let counts = Counts { plain: Arc::clone(&meters.stream), wire: Arc::clone(&meters.wire) };
    let read_all = async move {
        let mut broken: Vec<(Vec<String>, Error)> = vec![];
        for (stream, lanes) in sources {
            let whose = stream.header.branches.clone();
            // The lanes of the streams behind a broken one end without an end.
            if broken.iter().any(|(of, _)| *of == whose) {
                continue;
            }
            if let Err(error) = read(stream, lanes, &counts).await {
                broken.push((whose, error));
            }
        }
        broken.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    };
    (read_all, ends)
}

/// What counts the bytes that the one read brings.
struct Counts {
    plain: Arc<Meter>,
    wire: Arc<Meter>,
}

impl Counts {
    /// Opens a stream. What is already in this process was counted when it came.
    async fn open(&self, stream: StreamItem) -> Result<BoxStream> {
        let Body::Job { host, .. } = &stream.body else { return stream.open(None).await };
        let wire = (!host.is_local()).then(|| Arc::clone(&self.wire));
        let opened = stream.open(Some(Arc::clone(&self.plain))).await?;
        Ok(match wire {
            Some(wire) => Metered::boxed(opened, wire),
            None => opened,
        })
    }
}

/// Reads one stream to its end, or until nobody wants it any more.
async fn read(stream: StreamItem, mut lanes: Vec<Lane>, counts: &Counts) -> Result<()> {
    lanes.retain(Lane::is_wanted);
    if lanes.is_empty() {
        return Ok(());
    }
    let mut opened = counts.open(stream).await.map_err(|error| broken(&lanes, error))?;
    loop {
        match opened.next().await {
            Ok(Some(bytes)) => lanes = spread(lanes, &bytes).await,
            Ok(None) => break,
            Err(error) => return Err(broken(&lanes, error)),
        }
        if lanes.is_empty() {
            return Ok(());
        }
    }
    lanes.iter().for_each(|lane| lane.tell(Piece::End));
    Ok(())
}

fn broken(lanes: &[Lane], error: Error) -> Error {
    lanes.iter().for_each(|lane| lane.tell(Piece::Broken(error.chain())));
    error
}

/// Gives the bytes to every lane that still takes some, and keeps those that do.
async fn spread(lanes: Vec<Lane>, bytes: &Bytes) -> Vec<Lane> {
    let mut left = Vec::with_capacity(lanes.len());
    for lane in lanes {
        if lane.give(bytes.clone()).await {
            left.push(lane);
        }
    }
    left
}

impl Lane {
    /// Whether someone still reads.
    fn is_wanted(&self) -> bool {
        !self.pieces.is_closed() && !self.reader.is_cancelled()
    }

    fn tell(&self, piece: Piece) {
        // Who does not read any more need not know.
        let _ = self.pieces.send(piece);
    }

    /// Waits for room and gives the bytes; `false` when the lane takes no more.
    async fn give(&self, bytes: Bytes) -> bool {
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.slack.buffer);
        let room = Arc::clone(&self.room).acquire_many_owned(size);
        let patience = async {
            match self.slack.patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.reader.cancelled() => {
                self.tell(Piece::Broken("the branch was cancelled".to_owned()));
                false
            }
            () = self.pieces.closed() => false,
            room = room => match room {
                Ok(room) => self.pieces.send(Piece::Bytes(bytes, room)).is_ok(),
                Err(_) => false,
            },
            () = patience => {
                self.tell(Piece::Broken("the branch fell behind".to_owned()));
                self.reader.cancel();
                false
            }
        }
    }
}

#[async_trait]
impl ByteStream for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        match self.pieces.recv().await {
            Some(Piece::Bytes(bytes, _room)) => Ok(Some(bytes)),
            Some(Piece::End) => {
                self.ended = true;
                Ok(None)
            }
            Some(Piece::Broken(why)) => Err(Error::failed(why)),
            None => Err(Error::failed("the stream was given up before its end")),
        }
    }
}
