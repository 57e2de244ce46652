//! Streams through a bad line: whatever happens to whichever request, what comes of it is right, or there is a
//! clean error, no manifest over missing chunks and no wrong byte for a receiver.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reseed_core::Result;
use reseed_core::item::Facts;
use reseed_core::stream::Chunks;
use reseed_transport_s3::chain::{Chain, chains, publish};
use reseed_transport_s3::chunks::{Keeping, Reading, Writing, read, write};
use reseed_transport_s3::format::{FORMAT, Manifest, Stream, VERSION};
use reseed_transport_s3::seal::{Identities, Recipients};
use reseed_transport_s3::store::{S3Settings, S3Store, Store};
use reseed_transport_s3::verify::{Depth, verify};

use crate::proxy::{Fault, Proxy};
use crate::s3::{Server, server, settings};
use crate::suite::noise;

/// Chunks of the stream; with the manifest there is one request more.
const CHUNKS: usize = 5;
const CHUNK: usize = 40_000;

/// How long a body may stand still here.
const STALL: Duration = Duration::from_secs(1);

fn stream() -> Bytes {
    noise(7, CHUNKS * CHUNK - 100)
}

/// Puts a stream as a full, as `s3-put` does.
async fn put(store: &Arc<dyn Store>, run: &str) -> Result<()> {
    let how = Writing { chunk: CHUNK, level: 3, in_flight: 2, recipients: Recipients::default() };
    let written = write(&Keeping::new(store, run), 0, Box::new(Chunks::new(vec![stream()])), &how).await?;
    let stream = Stream {
        dataset: "tank/pg".into(),
        mountpoint: "/pg".into(),
        snapshot: "s".into(),
        guid: "g".into(),
        from_guid: None,
        between: vec![],
        made: None,
        main: true,
        encodings: vec![],
        recipients: vec![],
        size: written.size,
        sha256: written.sha256,
        head: None,
        chunks: written.chunks,
    };
    let manifest = Manifest {
        format: FORMAT.into(),
        version: VERSION,
        signature: None,
        run: run.into(),
        created: 1,
        parent: None,
        depth: 0,
        storage: "zfs".into(),
        streams: vec![stream],
        left_out: vec![],
        files: vec![],
        facts: Facts::default(),
    };
    publish(store.as_ref(), run, &manifest).await.map(drop)
}

/// All that comes of a chain's stream, and how it ended.
async fn get(store: &Arc<dyn Store>, chain: &Chain) -> (Vec<u8>, Result<()>) {
    let how = Reading { ahead: 2, identities: Identities::default() };
    let mut stream = read(store, &chain.links[0].manifest.streams[0], &how);
    let mut all = vec![];
    loop {
        match stream.next().await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

async fn chain_of(store: &Arc<dyn Store>, run: &str) -> Option<Chain> {
    chains(store.as_ref()).await.unwrap().into_iter().find(|chain| chain.name.ends_with(run))
}

/// A server, one way to it through a proxy and a straight one.
struct Line {
    proxy: Proxy,
    through: Arc<dyn Store>,
    straight: Arc<dyn Store>,
    _server: Server,
}

impl Line {
    async fn new() -> Option<Self> {
        let server = server().await?;
        let proxy = Proxy::before(server.port).await;
        let good = settings(&server, "line");
        let through = S3Settings { endpoint: Some(proxy.endpoint()), stall: STALL, ..good.clone() };
        Some(Self {
            proxy,
            through: Arc::new(S3Store::new(through)),
            straight: Arc::new(S3Store::new(good)),
            _server: server,
        })
    }

    /// A put through the line: it is there and whole, or it is not there.
    async fn put_is_whole_or_absent(&self, run: &str, what: &str) -> Result<()> {
        let done = put(&self.through, run).await;
        self.proxy.calm();
        match (&done, chain_of(&self.straight, run).await) {
            (Ok(()), Some(chain)) => {
                let verdict = verify(&self.straight, &chain, Depth::Deep).await.unwrap();
                assert_eq!((verdict.broken, chain.broken), (vec![], None), "{what}");
            }
            (Err(error), None) => assert!(error.hint_text().is_some(), "{what}: {}", error.chain()),
            (done, chain) => panic!("{what}: {done:?}, and there is {chain:?}"),
        }
        done
    }

    /// A get through the line: it is right, or it is right up to an error.
    async fn get_is_right(&self, chain: &Chain, what: &str) -> Result<()> {
        let (got, ended) = get(&self.through, chain).await;
        self.proxy.calm();
        assert!(stream().starts_with(&got), "{what}: a wrong byte went on");
        assert_eq!(ended.is_ok(), got.len() == stream().len(), "{what}: {ended:?}");
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_survives_each_fault_at_each_chunk() {
    use Fault::{Broken, CutUpload, FlippedUpload, LostAnswer, SlowDown, StalledUpload};
    let Some(line) = Line::new().await else { return };
    for fault in [SlowDown, Broken, CutUpload, FlippedUpload, StalledUpload, LostAnswer] {
        for place in 0..=CHUNKS {
            let what = format!("{fault:?} at {place}");
            line.proxy.at(place, fault);
            let done = line.put_is_whole_or_absent(&format!("{fault:?}-{place}"), &what).await;
            // What arrived otherwise than it was sent is a matter for a person; a line that breaks once is not.
            assert!(done.is_ok() || fault == FlippedUpload, "{what}: {done:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_that_can_not_go_on_leaves_no_manifest() {
    use Fault::{CutUpload, Skewed, SlowDown};
    let Some(line) = Line::new().await else { return };
    for (fault, why) in
        [(SlowDown, "overloaded"), (CutUpload, "can't be reached"), (Skewed, "the clocks of this machine")]
    {
        for place in [0, 3, CHUNKS] {
            let what = format!("{fault:?} from {place} on");
            line.proxy.from(place, fault);
            let error = line.put_is_whole_or_absent(&format!("{fault:?}-{place}"), &what).await.unwrap_err();
            assert!(error.chain().contains(why), "{what}: {}", error.chain());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_survives_each_fault_at_each_chunk() {
    use Fault::{Broken, CutDownload, FlippedDownload, LostAnswer, ShortDownload, SlowDown, StalledDownload};
    let Some(line) = Line::new().await else { return };
    put(&line.straight, "run").await.unwrap();
    let chain = chain_of(&line.straight, "run").await.unwrap();
    for fault in [SlowDown, Broken, CutDownload, ShortDownload, FlippedDownload, StalledDownload, LostAnswer] {
        for place in 0..CHUNKS {
            let what = format!("{fault:?} at {place}");
            line.proxy.at(place, fault);
            let done = line.get_is_right(&chain, &what).await;
            // A server that gives something else than it was given is not asked again.
            let wrong = matches!(fault, ShortDownload | FlippedDownload);
            assert_eq!(done.is_ok(), !wrong, "{what}: {done:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_can_not_go_on_ends_with_what_is_wrong() {
    use Fault::{CutDownload, FlippedDownload, SlowDown, StalledDownload};
    let Some(line) = Line::new().await else { return };
    put(&line.straight, "run").await.unwrap();
    let chain = chain_of(&line.straight, "run").await.unwrap();
    for (fault, why) in [
        (SlowDown, "overloaded"),
        (CutDownload, "the line breaks each time"),
        (StalledDownload, "nothing came for 1 s"),
        (FlippedDownload, "its SHA-256 is not the one that was stored"),
    ] {
        line.proxy.from(2, fault);
        let error = line.get_is_right(&chain, &format!("{fault:?}")).await.unwrap_err();
        assert!(error.chain().contains(why), "{fault:?}: {}", error.chain());
    }
}

/// The time of another, as its answers tell it, is heeded: the request is signed anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_once_is_no_error_for_long() {
    let Some(line) = Line::new().await else { return };
    line.proxy.next(&[Fault::Skewed]);
    let done = put(&line.through, "skewed").await;
    line.proxy.calm();
    if let Err(error) = done {
        assert!(error.chain().contains("clocks"), "{}", error.chain());
        assert!(chain_of(&line.straight, "skewed").await.is_none());
    }
}
