use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::codec::Zstd;
use crate::host::{LocalConfig, LocalHost};
use crate::stream::{Chunks, collect};
use crate::testkit;

/// A pass that counts how often it was put on a stream.
#[derive(Debug, Default)]
struct Count {
    reads: bool,
    put: AtomicUsize,
}

impl Count {
    fn of(reads: bool) -> Arc<Self> {
        Arc::new(Self { reads, ..Self::default() })
    }

    fn put(&self) -> usize {
        self.put.load(Ordering::SeqCst)
    }
}

impl Pass for Count {
    fn pass(&self, stream: BoxStream) -> BoxStream {
        self.put.fetch_add(1, Ordering::SeqCst);
        stream
    }

    fn reads(&self) -> bool {
        self.reads
    }
}

/// A source that can go on behind byte 4 alone.
struct Behind(Arc<Count>);

#[async_trait]
impl Resume for Behind {
    async fn behind(&self, place: &Place) -> Result<Option<(Job, Arc<dyn Pass>)>> {
        let can = place.offset == 4;
        Ok(can.then(|| (says("rest"), Arc::clone(&self.0) as Arc<dyn Pass>)))
    }
}

fn says(what: &str) -> Job {
    Command::new("printf").arg(what).into()
}

fn place(offset: u64) -> Place {
    Place { offset, head: String::new(), state: String::new() }
}

/// A stream that can be gone on with, its source's own pass, and that which takes its place.
fn stream() -> (StreamItem, Arc<Count>, Arc<Count>) {
    let (own, other) = (Count::of(true), Count::of(true));
    let mut stream = StreamItem::from_job(
        testkit::header(),
        Arc::new(LocalHost::new("local", &LocalConfig::default())),
        says("the whole"),
    );
    stream.pending.pass(own.clone());
    (stream.resumed_by(Arc::new(Behind(other.clone()))), own, other)
}

async fn opened(stream: StreamItem) -> String {
    String::from_utf8(collect(stream.open(None).await.unwrap(), 100).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_stream_becomes_what_follows_a_place() {
    let ((mut stream, own, other), throttle) = (stream(), Count::of(false));
    stream.pending.pass(throttle.clone());
    assert!(stream.go_on_behind(&place(4)).await.unwrap());
    assert_eq!(opened(stream).await, "rest");
    assert_eq!((own.put(), other.put(), throttle.put()), (0, 1, 1));
}

#[tokio::test]
async fn where_only_the_whole_will_do_it_stays_the_whole() {
    let (mut elsewhere, own, _) = stream();
    assert!(!elsewhere.go_on_behind(&place(5)).await.unwrap(), "the source has nothing from there on");
    assert_eq!((opened(elsewhere).await.as_str(), own.put()), ("the whole", 1));

    let ((mut hashed, ..), hash) = (stream(), Count::of(true));
    hashed.pending.pass(hash.clone());
    assert!(!hashed.go_on_behind(&place(4)).await.unwrap(), "a hash is of all of it");
    assert_eq!((opened(hashed).await.as_str(), hash.put()), ("the whole", 1));

    let (mut packed, ..) = stream();
    packed.pending.codec(Arc::new(Zstd { level: 3 }));
    assert!(!packed.go_on_behind(&place(4)).await.unwrap());
    let (wrapped, ..) = stream();
    let mut wrapped = StreamItem { wrap: Some(Arc::new(|job| job)), ..wrapped };
    assert!(!wrapped.go_on_behind(&place(4)).await.unwrap());
    let (seen, ..) = stream();
    let mut seen = seen.map_here(&Arc::default(), |stream| stream);
    assert!(!seen.go_on_behind(&place(4)).await.unwrap());
    assert_eq!(opened(seen).await, "the whole");
    let mut here = testkit::item(Box::new(Chunks::new(vec![])));
    assert!(!here.go_on_behind(&place(4)).await.unwrap());
}
