//! What was asked for and is still to be done to a stream's bytes.

use std::fmt::Debug;
use std::sync::Arc;

use crate::Encoding;
use crate::codec::Codec;
use crate::stream::BoxStream;

/// Something that this process does to bytes on their way and that leaves them as they are: slow
/// them down, keep some ahead, look at them.
pub trait Pass: Debug + Send + Sync {
    /// Puts it on a stream, lazily: nothing is started or pulled here.
    fn pass(&self, stream: BoxStream) -> BoxStream;

    /// Whether it reads the bytes, and so can't be put on what another machine has made of them
    /// before they came here. It is left out there; only what needs no promise from it may say so.
    fn reads(&self) -> bool {
        false
    }
}

/// Codecs and passes in the order in which they were asked for, the innermost first.
///
/// A transport does the codecs on the sending machine and undoes them on the receiving one. Passes
/// are done where the bytes are in this process: in front of the codec that follows them when it
/// encodes here, behind it when it decodes here.
#[derive(Debug, Clone, Default)]
pub struct Pending(Vec<Step>);

#[derive(Debug, Clone)]
enum Step {
    Codec(Arc<dyn Codec>),
    Pass(Arc<dyn Pass>),
}

impl Pending {
    /// Asks for a codec.
    pub fn codec(&mut self, codec: Arc<dyn Codec>) {
        self.0.push(Step::Codec(codec));
    }

    /// Asks for a pass.
    pub fn pass(&mut self, pass: Arc<dyn Pass>) {
        self.0.push(Step::Pass(pass));
    }

    /// Takes back what was asked for last, if it is the codec of this encoding.
    pub fn take_back(&mut self, encoding: &Encoding) -> bool {
        let is_last = matches!(self.0.last(), Some(Step::Codec(codec)) if codec.encoding() == *encoding);
        if is_last {
            self.0.pop();
        }
        is_last
    }

    /// The codecs, the innermost first.
    pub fn codecs(&self) -> Vec<Arc<dyn Codec>> {
        self.0.iter().filter_map(Step::codec).collect()
    }

    /// The passes alone, for a stream whose codecs are done elsewhere.
    pub fn passes(self) -> Self {
        Self(self.0.into_iter().filter(|step| matches!(step, Step::Pass(_))).collect())
    }

    /// The passes that do not care what the bytes have become on another machine.
    pub fn indifferent(self) -> Self {
        Self(self.0.into_iter().filter(|step| matches!(step, Step::Pass(pass) if !pass.reads())).collect())
    }

    /// How many passes read the bytes.
    pub(super) fn readers(&self) -> usize {
        self.0.iter().filter(|step| matches!(step, Step::Pass(pass) if pass.reads())).count()
    }

    /// Asks for all that another asks for, behind what is asked for here.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The codecs alone, for a stream whose passes are done.
    pub fn without_passes(self) -> Self {
        Self(self.0.into_iter().filter(|step| matches!(step, Step::Codec(_))).collect())
    }

    /// Takes off the passes in front of the first codec: for one who does them, so that whoever opens
    /// the stream does only the rest.
    pub fn take_inner(&mut self) -> Self {
        let inner = self.0.iter().take_while(|step| matches!(step, Step::Pass(_))).count();
        Self(self.0.drain(..inner).collect())
    }

    /// Does the passes in front of the first codec, on a stream to which no codec was applied.
    pub fn inner(&self, stream: BoxStream) -> BoxStream {
        Self::apply(self.0.iter().take_while(|step| matches!(step, Step::Pass(_))), stream)
    }

    /// Does the codecs, and the passes that are behind the first of them.
    pub fn outer(&self, stream: BoxStream) -> BoxStream {
        Self::apply(self.0.iter().skip_while(|step| matches!(step, Step::Pass(_))), stream)
    }

    /// Undoes the codecs on a stream to which a far machine applied them, and does the passes that are
    /// behind the first of them. What is [`inner`](Self::inner) is left to do.
    pub fn undo_outer(&self, stream: BoxStream) -> BoxStream {
        let outer: Vec<_> = self.0.iter().skip_while(|step| matches!(step, Step::Pass(_))).collect();
        outer.into_iter().rev().fold(stream, |stream, step| match step {
            Step::Codec(codec) => codec.decode(stream),
            Step::Pass(pass) => pass.pass(stream),
        })
    }

    fn apply<'a>(steps: impl Iterator<Item = &'a Step>, stream: BoxStream) -> BoxStream {
        steps.fold(stream, |stream, step| match step {
            Step::Codec(codec) => codec.encode(stream),
            Step::Pass(pass) => pass.pass(stream),
        })
    }
}

impl Step {
    fn codec(&self) -> Option<Arc<dyn Codec>> {
        match self {
            Self::Codec(codec) => Some(Arc::clone(codec)),
            Self::Pass(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::codec::Zstd;
    use crate::stream::{Chunks, Meter, Metered, collect};

    #[derive(Debug, Default)]
    struct Count(Arc<Meter>, Mutex<u32>);

    impl Pass for Count {
        fn pass(&self, stream: BoxStream) -> BoxStream {
            *self.1.lock().unwrap() += 1;
            Metered::boxed(stream, Arc::clone(&self.0))
        }
    }

    #[tokio::test]
    async fn a_pass_sees_the_bytes_of_its_place_in_the_order_wherever_the_codec_runs() {
        let (plain, packed) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut pending = Pending::default();
        pending.pass(plain.clone());
        pending.codec(Arc::new(Zstd { level: 3 }));
        pending.pass(packed.clone());
        let stream = Box::new(Chunks::new(vec![vec![7; 100_000].into()]));
        let encoded = collect(pending.outer(pending.inner(stream)), usize::MAX).await.unwrap();
        assert_eq!((plain.0.bytes(), packed.0.bytes()), (100_000, encoded.len() as u64));
        let length = encoded.len() as u64;
        let stream = Box::new(Chunks::new(vec![encoded.into()]));
        collect(pending.inner(pending.undo_outer(stream)), usize::MAX).await.unwrap();
        assert_eq!((plain.0.bytes(), packed.0.bytes()), (200_000, 2 * length));
    }

    #[tokio::test]
    async fn what_is_in_front_of_the_first_codec_can_be_done_apart_from_the_rest() {
        let (plain, packed) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut rest = Pending::default();
        rest.pass(plain.clone());
        rest.codec(Arc::new(Zstd { level: 3 }));
        rest.pass(packed.clone());
        let inner = rest.take_inner();
        let stream = inner.inner(Box::new(Chunks::new(vec![vec![7; 1000].into()])));
        let encoded = collect(rest.outer(rest.inner(stream)), usize::MAX).await.unwrap();
        assert_eq!((plain.0.bytes(), packed.0.bytes()), (1000, encoded.len() as u64));
        assert_eq!((*plain.1.lock().unwrap(), *packed.1.lock().unwrap()), (1, 1));
    }

    #[test]
    fn only_what_was_asked_for_last_can_be_taken_back() {
        let mut pending = Pending::default();
        assert!(!pending.take_back(&Zstd::ENCODING));
        pending.codec(Arc::new(Zstd { level: 3 }));
        assert!(!pending.take_back(&Encoding::new("other")));
        pending.pass(Arc::new(Count::default()));
        assert!(!pending.take_back(&Zstd::ENCODING), "the pass must see what it was put on");
        let mut pending = pending.without_passes();
        assert!(pending.take_back(&Zstd::ENCODING));
        assert!(pending.codecs().is_empty());
    }
}
