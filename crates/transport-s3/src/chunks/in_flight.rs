//! Chunks of one stream that are on their way.

use reseed_core::{Error, Result};
use sha2::Digest;
use tokio::task::JoinSet;

use super::cut::{Cutter, Piece};
use super::write::{Keeping, Kept, One, Writing, Written, keep};
use crate::store::Sha256;
use crate::uploads::{Ahead, Before};

/// Chunks that are on their way. To drop it is to give them up.
pub(super) struct InFlight {
    tasks: JoinSet<Result<(usize, Kept)>>,
    done: Vec<(usize, Kept)>,
    most: usize,
    /// What has taken the bytes so far, and how many they were.
    hash: sha2::Sha256,
    size: u64,
    /// What is known in front of the next chunk.
    place: Option<String>,
    head: Option<String>,
}

impl InFlight {
    /// None yet, behind what is kept.
    pub(super) fn new(how: &Writing, before: Option<Before>) -> Self {
        let (tasks, most) = (JoinSet::new(), how.in_flight.max(1));
        let Some(Before { chunks, hash, place }) = before else {
            return Self { tasks, done: vec![], most, hash: sha2::Sha256::new(), size: 0, place: None, head: None };
        };
        let done = chunks.into_iter().map(|chunk| (chunk, false)).enumerate().collect();
        Self { tasks, done, most, hash, size: place.offset, place: Some(place.state), head: Some(place.head) }
    }

    /// Stores all of a stream.
    pub(super) async fn stream(
        mut self,
        to: &Keeping,
        number: usize,
        cutter: Cutter,
        how: &Writing,
    ) -> Result<Written> {
        let written = self.all(to, number, cutter, how).await;
        if written.is_err() {
            self.settle().await;
        }
        written
    }

    /// Sends every chunk of a stream on its way, and waits for all.
    async fn all(&mut self, to: &Keeping, number: usize, mut cutter: Cutter, how: &Writing) -> Result<Written> {
        for index in self.done.len().. {
            let Some(piece) = cutter.next().await? else { break };
            let one = self.take(number, index, piece);
            self.room().await?;
            let (to, how) = (to.clone(), how.clone());
            self.tasks.spawn(async move { Ok((index, keep(to, one, how).await?)) });
        }
        self.end().await
    }

    /// The next chunk to be.
    fn take(&mut self, number: usize, index: usize, piece: Piece) -> One {
        let Piece { bytes: plain, head, behind } = piece;
        self.hash.update(&plain);
        self.size += plain.len() as u64;
        self.head = self.head.take().or(head);
        let place = std::mem::replace(&mut self.place, behind.as_ref().map(|place| place.state.clone()));
        let (hash, size) = (self.hash.clone(), self.size);
        let ahead = |head| Ahead { stream: number, chunks: index + 1, hash, place: behind, size, head };
        One { number, index, plain, place, ahead: self.head.clone().map(ahead) }
    }

    /// Waits for what is on its way, however it ends: a chunk that is given up may still be stored, and
    /// who takes the upload back would not see it.
    async fn settle(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Waits until one more may be on its way.
    async fn room(&mut self) -> Result<()> {
        while self.tasks.len() >= self.most {
            self.one().await?;
        }
        Ok(())
    }

    async fn one(&mut self) -> Result<()> {
        let Some(ended) = self.tasks.join_next().await else { return Ok(()) };
        self.done.push(ended.map_err(|e| Error::failed("storing a chunk broke off").because(e))??);
        Ok(())
    }

    /// All of them, in order, and the bytes of those that had to be stored.
    async fn end(&mut self) -> Result<Written> {
        while !self.tasks.is_empty() {
            self.one().await?;
        }
        self.done.sort_by_key(|(index, _)| *index);
        let sent = self.done.iter().filter(|(_, kept)| kept.1).map(|(_, kept)| kept.0.stored).sum();
        let chunks: Vec<_> = self.done.drain(..).map(|(_, (chunk, _))| chunk).collect();
        let head = self.head.take().filter(|_| chunks.iter().any(|chunk| chunk.place.is_some()));
        let sha256 = Sha256(std::mem::take(&mut self.hash).finalize().into());
        Ok(Written { size: self.size, sha256, chunks, head, sent })
    }
}
