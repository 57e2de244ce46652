use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::reader::{Damage, DamageKind, Place, Resumption, Seen, StreamReader};
use reseed_core::registry::ReaderPlugin;
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Error, Format, Result};

mod resumed;

use super::*;
use crate::format::Stream;
use crate::seal::{Identities, Recipients};
use crate::store::{FileStore, Over};
use crate::store::{Key, Sha256, Store};

/// Pieces of odd sizes, and then an error where one is wanted.
struct Pieces(VecDeque<Bytes>, bool);

#[async_trait]
impl ByteStream for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.0.pop_front() {
            Some(piece) => Ok(Some(piece)),
            None if self.1 => Err(Error::failed("cut")),
            None => Ok(None),
        }
    }
}

fn stream(bytes: &[u8], fails: bool) -> BoxStream {
    Box::new(Pieces(bytes.chunks(37).map(Bytes::copy_from_slice).collect(), fails))
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn how() -> Writing {
    Writing { chunk: 100, level: 3, in_flight: 3, recipients: Recipients::default() }
}

fn of(written: &Written) -> Stream {
    Stream {
        dataset: "tank/pg".into(),
        mountpoint: "/pg".into(),
        snapshot: "s".into(),
        guid: "1".into(),
        from_guid: None,
        between: vec![],
        made: None,
        main: true,
        encodings: vec![],
        recipients: vec![],
        size: written.size,
        sha256: written.sha256,
        head: written.head.clone(),
        chunks: written.chunks.clone(),
    }
}

fn reading(ahead: usize) -> Reading {
    Reading { ahead, identities: Identities::default() }
}

/// What comes out, and how it ends.
async fn all(mut stream: BoxStream) -> (Vec<u8>, Result<()>) {
    let mut bytes = vec![];
    loop {
        match stream.next().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

fn store(directory: &tempfile::TempDir) -> Arc<dyn Store> {
    Arc::new(FileStore::new(directory.path()))
}

#[tokio::test]
async fn a_stream_comes_back_as_it_was_whatever_its_length() {
    for size in [0, 1, 99, 100, 101, 1000, 12_345] {
        let directory = tempfile::tempdir().unwrap();
        let (store, data) = (store(&directory), noise(size));
        let written = write(&Keeping::new(&store, "run"), 0, stream(&data, false), &how()).await.unwrap();
        assert_eq!((written.size, written.chunks.len()), (size as u64, size.div_ceil(100)));
        assert_eq!(written.sha256, Sha256::of(&data));
        for ahead in [1, 4] {
            let (bytes, end) = all(read(&store, &of(&written), &reading(ahead))).await;
            end.unwrap();
            assert_eq!(bytes, data);
        }
    }
}

/// Streams of records of a length byte, as many bytes, and nothing else; a record of length 0 ends one.
#[derive(Debug, Default)]
struct Lengths {
    left: usize,
    ended: bool,
    offset: u64,
    border: u64,
    records: u64,
}

reseed_core::inventory::submit! {
    ReaderPlugin { format: Format::new("lengths"), looks: |_| false, open: || Box::new(Lengths::default()), resumption: Some(&Counts) }
}

impl Lengths {
    fn damage(&self, text: &str) -> Damage {
        Damage { kind: DamageKind::Altered, record: self.records, offset: self.offset, text: text.to_owned() }
    }
}

impl StreamReader for Lengths {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Damage> {
        for byte in bytes {
            if self.ended {
                return Err(self.damage("it goes on after its end"));
            }
            self.offset += 1;
            match self.left {
                0 => (self.left, self.ended) = (usize::from(*byte), *byte == 0),
                left => self.left = left - 1,
            }
            if self.left == 0 {
                (self.border, self.records) = (self.offset, self.records + 1);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Damage> {
        if self.ended { Ok(()) } else { Err(self.damage("its end did not come")) }
    }

    fn seen(&self) -> Seen {
        Seen { to_guid: Some("1".into()), ..Seen::default() }
    }

    fn border(&self) -> u64 {
        self.border
    }

    fn place(&self) -> Option<Place> {
        Some(Place { offset: self.border, head: "lengths".into(), state: self.border.to_string() })
    }
}

/// Places are told by the bytes in front of them, and so are tokens.
struct Counts;

impl Resumption for Counts {
    fn reader(&self, place: &Place) -> Result<Box<dyn StreamReader>> {
        Ok(Box::new(Lengths { offset: place.offset, border: place.offset, ..Lengths::default() }))
    }

    fn leads_to(&self, place: &Place, token: &str) -> bool {
        token.parse::<u64>().is_ok_and(|offset| place.offset <= offset)
    }

    fn rest(&self, _: &Place, _: &str, stream: BoxStream) -> Result<BoxStream> {
        Ok(stream)
    }
}

/// Twenty records of 31 bytes, a long one, and the end.
fn lengths() -> Vec<u8> {
    let short = [&[30][..], &[7; 30]].concat();
    [short.repeat(20), vec![250], vec![8; 250], vec![0]].concat()
}

#[tokio::test]
async fn a_stream_that_can_be_read_is_cut_between_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let data = lengths();
    let judge = |stream: &Stream| Judge::of("lengths", stream);
    let nothing = Written { size: 0, sha256: Sha256::of(&[]), chunks: vec![], head: None, sent: 0 };
    let put = async |run: &str, data: &[u8]| {
        write_judged(&Keeping::new(&store, run), 0, stream(data, false), judge(&of(&nothing)), &how()).await
    };
    let written = put("run", &data).await.unwrap();
    let sizes: Vec<_> = written.chunks.iter().map(|chunk| chunk.size).collect();
    // Three records each; what is longer than a chunk is cut where it must be.
    assert_eq!(sizes, [93, 93, 93, 93, 93, 93, 62, 100, 100, 52]);
    assert_eq!(all(read(&store, &of(&written), &reading(2))).await.0, data);
    assert_eq!(examine(&store, &of(&written), judge(&of(&written)), &reading(2)).await.unwrap(), []);

    let cut = put("cut", &data[..data.len() - 1]).await.unwrap_err();
    assert!(cut.to_string().contains("its end did not come") && cut.hint_text().is_some(), "{cut}");
    let other = Stream { guid: "2".into(), ..of(&written) };
    let found = examine(&store, &other, judge(&other), &reading(2)).await.unwrap();
    assert_eq!(found[0].why, "the stream is the whole of 1 and not the whole of 2, as its source has said");
    // Stored by someone who could not read it: a deep look tells in which chunk it goes wrong.
    let surplus = [&data[..], &[5; 150]].concat();
    let blind = write(&Keeping::new(&store, "blind"), 0, stream(&surplus, false), &how()).await.unwrap();
    let found = examine(&store, &of(&blind), judge(&of(&blind)), &reading(2)).await.unwrap();
    let [broken] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&broken.object, &*broken.why), (&blind.chunks[8].object, "it goes on after its end"));
}

#[tokio::test]
async fn a_stream_that_is_cut_is_never_taken_for_whole() {
    let directory = tempfile::tempdir().unwrap();
    let error =
        write(&Keeping::new(&store(&directory), "run"), 0, stream(&noise(250), true), &how()).await.unwrap_err();
    assert_eq!(error.chain(), "cut");
}

#[tokio::test]
async fn what_is_put_again_is_as_it_was_and_what_was_altered_is_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (store, data) = (store(&directory), noise(250));
    let first = write(&Keeping::new(&store, "run"), 0, stream(&data, false), &how()).await.unwrap();
    assert_eq!(write(&Keeping::new(&store, "run"), 0, stream(&data, false), &how()).await.unwrap(), first);
    // What has this name and is not this was altered.
    std::fs::write(directory.path().join(&first.chunks[1].object), "x").unwrap();
    assert_eq!(write(&Keeping::new(&store, "run"), 0, stream(&data, false), &how()).await.unwrap(), first);
    all(read(&store, &of(&first), &reading(2))).await.1.unwrap();
}

/// What is done to one object.
type Harm = fn(Vec<u8>) -> Option<Vec<u8>>;

#[tokio::test]
async fn no_wrong_byte_comes_out_and_the_object_is_named() {
    let harms: [Harm; 5] = [
        |_| None,
        |mut bytes| {
            bytes.pop();
            Some(bytes)
        },
        |mut bytes| {
            bytes[20] ^= 1;
            Some(bytes)
        },
        |_| Some(zstd::bulk::compress(&[7; 100], 3).unwrap()),
        |_| Some(vec![]),
    ];
    let data = noise(1000);
    for (index, harm) in (0..10).flat_map(|index| harms.map(|harm| (index, harm))) {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        let written = write(&Keeping::new(&store, "run"), 0, stream(&data, false), &how()).await.unwrap();
        let object = written.chunks[index].object.clone();
        let path = directory.path().join(&object);
        match harm(std::fs::read(&path).unwrap()) {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let (bytes, end) = all(read(&store, &of(&written), &reading(3))).await;
        assert_eq!(bytes, data[..index * 100], "what came before is right, and no more comes");
        let told = end.unwrap_err().chain();
        assert!(told.contains(&object), "{told}");
    }
}

#[tokio::test]
async fn chunks_in_another_order_never_end_cleanly() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let written = write(&Keeping::new(&store, "run"), 0, stream(&noise(300), false), &how()).await.unwrap();
    let mut record = of(&written);
    record.chunks.swap(0, 1);
    let (_, end) = all(read(&store, &record, &reading(3))).await;
    assert!(end.unwrap_err().chain().contains("is not the one that was stored"));
}

/// Fails at one of its calls.
#[derive(Debug)]
struct Failing(Arc<dyn Store>, std::sync::atomic::AtomicUsize);

#[async_trait]
impl Over for Failing {
    fn inner(&self) -> &dyn Store {
        self.0.as_ref()
    }

    async fn put(&self, key: &Key, bytes: Bytes, sha256: Sha256) -> Result<()> {
        match self.1.fetch_sub(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Err(Error::failed("no")),
            _ => self.0.put(key, bytes, sha256).await,
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_at_any_call_fails_the_whole() {
    for at in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Failing(store(&directory), at.into()));
        let error = write(&Keeping::new(&store, "run"), 0, stream(&noise(1000), false), &how()).await.unwrap_err();
        assert_eq!(error.chain(), "no");
    }
}

#[tokio::test]
async fn whoever_gives_up_leaves_nothing_on_its_way() {
    for _ in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory);
        let how = Writing { chunk: 1000, in_flight: 8, ..how() };
        // It breaks off behind seven chunks, which nobody has waited for.
        write(&Keeping::new(&store, "run"), 0, stream(&noise(7030), true), &how).await.unwrap_err();
        let streams = std::fs::read_dir(directory.path().join("chunks/run")).unwrap();
        let chunks = streams.flat_map(|stream| std::fs::read_dir(stream.unwrap().path()).unwrap());
        assert_eq!(chunks.count(), 7, "and no file of another name");
    }
}

#[tokio::test]
async fn what_is_encrypted_comes_back_to_who_has_the_key_and_to_nobody_else() {
    use age::secrecy::ExposeSecret;
    let directory = tempfile::tempdir().unwrap();
    let store = store(&directory);
    let keys = [(); 2].map(|()| age::x25519::Identity::generate());
    let [right, wrong] = keys.each_ref().map(|key| Identities::parse(key.to_string().expose_secret()).unwrap());
    let recipients = Recipients::parse([&*keys[0].to_public().to_string()]).unwrap();
    let data = noise(1000);
    let how = Writing { recipients: recipients.clone(), ..how() };
    let written = write(&Keeping::new(&store, "run"), 0, stream(&data, false), &how).await.unwrap();
    let record = Stream { recipients: recipients.names(), ..of(&written) };
    for chunk in &written.chunks {
        assert!(chunk.object.ends_with(".zst.age"), "{}", chunk.object);
        let object = std::fs::read(directory.path().join(&chunk.object)).unwrap();
        assert!(object.starts_with(b"age-encryption.org/v1") && Sha256::of(&object) == chunk.sha256);
    }
    let (bytes, end) = all(read(&store, &record, &Reading { ahead: 3, identities: right.clone() })).await;
    end.unwrap();
    assert_eq!(bytes, data);
    right.open(&record).unwrap();
    for (identities, why) in [(wrong, "is of another key"), (Identities::default(), "no identity is given")] {
        let (bytes, end) = all(read(&store, &record, &Reading { ahead: 3, identities: identities.clone() })).await;
        let told = end.unwrap_err().chain();
        assert!(bytes.is_empty() && told.contains("can't be decrypted"), "{told}");
        let refused = identities.open(&record).unwrap_err();
        assert!(refused.chain().contains(why), "{}", refused.chain());
        assert!(refused.hint_text().is_some_and(|hint| hint.contains(&record.recipients[0])));
    }
}

#[tokio::test]
async fn what_is_there_is_not_stored_again_encrypted_or_not() {
    let key = age::x25519::Identity::generate().to_public().to_string();
    for recipients in [Recipients::default(), Recipients::parse([&*key]).unwrap()] {
        let directory = tempfile::tempdir().unwrap();
        let (store, data) = (store(&directory), noise(1000));
        let how = Writing { recipients, ..how() };
        write(&Keeping::new(&store, "run"), 0, stream(&data[..400], false), &how).await.unwrap();
        let before = store.list("").await.unwrap();
        let begun = Keeping::begun(&store, "run").await.unwrap();
        assert_eq!(begun.there.size().0, before.len());
        let written = write(&begun, 0, stream(&data, false), &how).await.unwrap();
        let names: Vec<_> = written.chunks.iter().map(|chunk| chunk.object.clone()).collect();
        assert!(before.iter().all(|object| names.iter().any(|name| name == object.key.as_str())), "{names:?}");
        assert_eq!(store.list("").await.unwrap().len(), 10, "none is there twice");
        let all: u64 = written.chunks.iter().map(|chunk| chunk.stored).sum();
        assert_eq!(written.sent + before.iter().map(|object| object.size).sum::<u64>(), all);
        let again = Keeping::begun(&store, "run").await.unwrap();
        assert_eq!(write(&again, 0, stream(&data, false), &how).await.unwrap(), Written { sent: 0, ..written });
    }
}

/// An age file that anyone could write, as who puts has no secret: its content is judged before it goes on.
#[tokio::test]
async fn an_age_file_with_something_else_in_it_is_not_taken_for_the_chunk() {
    use age::secrecy::ExposeSecret;
    let directory = tempfile::tempdir().unwrap();
    let (store, data) = (store(&directory), noise(200));
    let key = age::x25519::Identity::generate();
    let identities = Identities::parse(key.to_string().expose_secret()).unwrap();
    let recipients = Recipients::parse([&*key.to_public().to_string()]).unwrap();
    let how = Writing { recipients: recipients.clone(), ..how() };
    let written = write(&Keeping::new(&store, "run"), 0, stream(&data, false), &how).await.unwrap();
    let mut record = Stream { recipients: recipients.names(), ..of(&written) };
    let forged = recipients.encrypt(&zstd::bulk::compress(&[7; 100], 3).unwrap()).unwrap();
    let chunk = &mut record.chunks[1];
    std::fs::write(directory.path().join(&chunk.object), &forged).unwrap();
    (chunk.stored, chunk.sha256) = (forged.len() as u64, Sha256::of(&forged));
    let (bytes, end) = all(read(&store, &record, &Reading { ahead: 2, identities })).await;
    assert_eq!(bytes, data[..100]);
    assert!(end.unwrap_err().chain().contains("is not what was stored"));
}
