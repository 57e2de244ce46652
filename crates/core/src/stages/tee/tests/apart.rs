//! Branches that do not hold the same.

use super::*;
use crate::host::{LocalConfig, LocalHost};
use crate::item::SnapshotSet;
use crate::stage::{Source, SourceStage};
use crate::stream::Deferred;

#[derive(Debug)]
struct Snapshots;

#[async_trait]
impl Stage for Snapshots {
    fn name(&self) -> &str {
        "snapshots"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Snapshot(FORMAT))
    }

    async fn run(&self, input: Item, _cx: &StageCx) -> Result<Item> {
        let host = Arc::new(LocalHost::new("local", &LocalConfig::default()));
        let set = SnapshotSet { host, format: FORMAT, parts: vec![header().part], left_out: vec![] };
        Ok(input.with(Payload::Snapshot(set)))
    }
}

/// Sends from the last of what is held, and notes when that is really done.
#[derive(Debug)]
struct Sends {
    log: Log,
    /// The base from which nothing can be sent to its end.
    breaks: &'static str,
}

#[async_trait]
impl Source for Sends {
    fn name(&self) -> &str {
        "sends"
    }

    fn format(&self) -> Format {
        FORMAT
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        let held = cx.holdings(&[header().part]).await?;
        self.log.lock().unwrap().push(format!("{} holds {}", cx.branch().unwrap(), held.of("data").join("+")));
        Ok(())
    }

    async fn streams(&self, _set: &SnapshotSet, held: &Holdings, _cx: &StageCx) -> Result<Vec<StreamItem>> {
        let from_guid = held.of("data").last().cloned();
        let from = from_guid.clone().unwrap_or_default();
        let (log, breaks) = (self.log.clone(), from == self.breaks);
        let opened = async move {
            log.lock().unwrap().push(format!("sent from {from}"));
            let chunks = vec![Bytes::from(from)];
            let stream = if breaks { Chunks::failing(chunks, Error::failed("cut")) } else { Chunks::new(chunks) };
            Ok(Box::new(stream) as BoxStream)
        };
        Ok(vec![StreamItem::here(StreamHeader { from_guid, ..header() }, Deferred::boxed(opened))])
    }
}

/// Holds these snapshots, and takes what fits.
#[derive(Debug)]
struct Keeps {
    guids: &'static [&'static str],
    log: Log,
}

#[async_trait]
impl Stage for Keeps {
    fn name(&self) -> &str {
        "keeps"
    }

    fn flow(&self, _input: &Kind) -> Result<Kind, Box<Mismatch>> {
        Ok(Kind::Standby)
    }

    async fn holds(&self, wanted: &[SnapshotPart], _cx: &CheckCx) -> Result<Option<Holdings>> {
        let guids: Vec<_> = self.guids.iter().map(|guid| (*guid).to_owned()).collect();
        let holding = |part: &SnapshotPart| Holding::of(&part.dataset, guids.clone());
        Ok(Some(Holdings::at("here", wanted.iter().map(holding).collect())))
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let Payload::Streams(streams) = input.payload else { panic!("no stream") };
        assert_eq!(streams.len(), 1, "one stream is for each branch");
        for stream in streams {
            let said = stream.header.from_guid.clone().unwrap_or_default();
            let bytes = crate::stream::collect(stream.open(None).await?, 100).await?;
            assert_eq!(bytes, said.as_bytes());
            self.log.lock().unwrap().push(format!("{} took from {said}", cx.branch().unwrap()));
        }
        Ok(Item { payload: Payload::Standby, facts: input.facts })
    }
}

async fn run(held: [&'static [&'static str]; 3], breaks: &'static str) -> (RunReport, Vec<String>) {
    let log = Log::default();
    let branch = |(name, guids): (&str, &'static [&'static str])| {
        let keeps = Keeps { guids, log: log.clone() };
        Branch { name: name.to_owned(), stages: vec![Arc::new(keeps)] }
    };
    let branches = ["one", "two", "three"].into_iter().zip(held).map(branch).collect();
    let tee = Tee { branches, policy: Policy::Any, slack: Slack { buffer: 4 * CHUNK as u32, patience: None } };
    let sends = SourceStage(Sends { log: log.clone(), breaks });
    let stages: Vec<Arc<dyn Stage>> = vec![Arc::new(Snapshots), Arc::new(sends), Arc::new(tee)];
    let report = Engine::new(Pipeline::new("test", stages)).run().await;
    let mut said = log.lock().unwrap().clone();
    said.sort();
    (report, said)
}

#[tokio::test]
async fn what_starts_from_the_same_snapshot_is_sent_once() {
    let (report, said) = run([&["1"], &["1"], &["0", "1"]], "none").await;
    assert_eq!(report.exit_code(), 0, "{report:?}");
    let asked = ["one holds 1", "one took from 1", "sent from 1", "three holds 0+1"];
    assert_eq!(said, [&asked[..], &["three took from 1", "two holds 1", "two took from 1"]].concat());
}

#[tokio::test]
async fn branches_that_came_apart_are_each_sent_what_they_lack() {
    let (report, said) = run([&["1", "2"], &["1"], &[]], "none").await;
    assert_eq!(report.exit_code(), 0, "{report:?}");
    let told: Vec<_> = said.iter().filter(|line| !line.contains("holds")).map(String::as_str).collect();
    let sent = ["one took from 2", "sent from ", "sent from 1", "sent from 2"];
    assert_eq!(told, [&sent[..], &["three took from ", "two took from 1"]].concat());
}

#[tokio::test]
async fn a_stream_that_breaks_is_the_end_of_those_alone_that_it_is_for() {
    let (report, said) = run([&["1", "2"], &["1"], &["1", "2"]], "2").await;
    assert_eq!(report.exit_code(), 0, "{report:?}");
    let done = [("one", Outcome::Undone), ("three", Outcome::Undone), ("two", Outcome::Done)];
    assert_eq!(outcomes(&report), done, "{said:?}");
}
