//! What every filter of streams promises.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::harm::INJECTED;
use super::{Probe, comes_true, context, endless, header, item, standstill};
use crate::host::{Command, LocalConfig, LocalHost};
use crate::item::{Item, Payload, StreamItem};
use crate::stage::Stage;
use crate::stream::{BoxStream, Chunks, collect};
use crate::{Encoding, Error, Kind, Result};

/// Up to so many bytes, an input is cut at each of them; a longer one at so many places.
const CUTS: usize = 96;
/// The longest input that a job can be made to give.
const JOB: usize = 16 * 1024;

/// A filter, what it is given, and what it must make of it.
#[derive(Debug, Clone)]
pub struct FilterContract {
    stage: Arc<dyn Stage>,
    input: Vec<u8>,
    output: Option<Vec<u8>>,
    encodings: Vec<Encoding>,
    knows_its_end: bool,
    ahead: u64,
    large: Option<Bytes>,
}

impl FilterContract {
    /// A filter that leaves bytes as they are, on this input.
    pub fn new(stage: Arc<dyn Stage>, input: &[u8]) -> Self {
        Self {
            stage,
            input: input.to_vec(),
            output: Some(input.to_vec()),
            encodings: vec![],
            knows_its_end: false,
            ahead: 16 << 20,
            large: None,
        }
    }

    /// It makes these bytes of the input.
    pub fn makes(mut self, output: &[u8]) -> Self {
        self.output = Some(output.to_vec());
        self
    }

    /// What it makes of the input is not compared.
    pub fn makes_something(mut self) -> Self {
        self.output = None;
        self
    }

    /// The input is encoded: this was done to it, the last one outermost.
    pub fn encoded(mut self, encodings: impl IntoIterator<Item = Encoding>) -> Self {
        self.encodings = encodings.into_iter().collect();
        self
    }

    /// It knows the end of what it reads, as a decoder does: a shorter or a longer input is an error
    /// even when it ends cleanly.
    pub fn knows_its_end(mut self) -> Self {
        self.knows_its_end = true;
        self
    }

    /// It may have pulled so many bytes more than were taken from it, for pipes, queues and threads on
    /// the way. Without this, 16 MiB.
    pub fn ahead(mut self, bytes: u64) -> Self {
        self.ahead = bytes;
        self
    }

    /// An input that is longer than what it may pull ahead, for one that can't read any bytes.
    pub fn large(mut self, input: impl Into<Bytes>) -> Self {
        self.large = Some(input.into());
        self
    }

    /// All of the contract.
    ///
    /// # Panics
    /// With what is not held.
    pub async fn holds(&self) {
        self.gives_the_kind_that_it_says().await;
        self.passes_everything().await;
        self.fails_when_its_input_fails().await;
        self.fails_when_its_producer_fails_after_a_clean_close().await;
        if self.knows_its_end {
            self.refuses_a_shorter_or_longer_input().await;
        }
        self.starts_nothing_before_it_is_pulled().await;
        self.stops_when_it_is_not_pulled().await;
        self.lets_go_when_it_is_dropped().await;
    }

    /// The stream that comes out is of the kind that `flow` gave.
    pub async fn gives_the_kind_that_it_says(&self) {
        let given = self.here(Box::new(Chunks::new(vec![])));
        let said = self.stage.flow(&Kind::Stream(given.kind())).expect("it takes this kind");
        let gave = self.run(given).await.expect("it can be put on").kind();
        assert_eq!(Kind::Stream(gave), said, "{}", self.name());
    }

    /// What comes out is what it must be, however the input is cut into chunks.
    pub async fn passes_everything(&self) {
        for chunk in [1, 7, 4096, usize::MAX] {
            let output = self.on_bytes(&self.input, chunk, None).await;
            let output = output.unwrap_or_else(|error| panic!("{}: {}", self.name(), error.chain()));
            if let Some(wanted) = &self.output {
                assert!(output == *wanted, "{}: {} bytes came out, not the right ones", self.name(), output.len());
            }
        }
    }

    /// An input that fails at any byte is never taken for one that ended, and its error is the error.
    pub async fn fails_when_its_input_fails(&self) {
        for cut in self.cuts() {
            match self.on_bytes(&self.input[..cut], 1000, Some(Error::failed(INJECTED))).await {
                Ok(_) => panic!("{}: its input failed at byte {cut}, and it ended cleanly", self.name()),
                Err(error) => {
                    let chain = error.chain();
                    assert!(chain.contains(INJECTED), "{}: the cause at byte {cut} became: {chain}", self.name());
                }
            }
        }
    }

    /// A producer that closes its output cleanly and then exits other than 0 has failed.
    pub async fn fails_when_its_producer_fails_after_a_clean_close(&self) {
        let input = &self.input[..self.input.len().min(JOB)];
        let octal: String = input.iter().map(|byte| format!("\\0{byte:03o}")).collect();
        let script = r#"printf %b "$1"; exec >&-; echo 'the producer failed' >&2; exit 3"#;
        let job = Command::script(script).titled("producer").arg(octal);
        let host = LocalHost::new("local", &LocalConfig::default());
        let given = StreamItem::from_job(self.header(), Arc::new(host), job.into());
        match self.drive(given).await {
            Ok(_) => panic!("{}: its producer failed, and it ended cleanly", self.name()),
            // A decoder of the part that fits may see by itself that it is cut.
            Err(error) if input.len() < self.input.len() && self.knows_its_end => drop(error),
            Err(error) => assert!(error.chain().contains("exited 3"), "{}: {}", self.name(), error.chain()),
        }
    }

    /// An input that ends cleanly but too early or too late is an error.
    pub async fn refuses_a_shorter_or_longer_input(&self) {
        for cut in self.cuts().into_iter().filter(|cut| *cut < self.input.len()) {
            let output = self.on_bytes(&self.input[..cut], 1000, None).await;
            assert!(output.is_err(), "{}: its input ended after byte {cut}, and it ended cleanly", self.name());
        }
        let longer = [&self.input[..], b"and more"].concat();
        let output = self.on_bytes(&longer, 1000, None).await;
        assert!(output.is_err(), "{}: bytes followed its input, and it ended cleanly", self.name());
    }

    /// To put it on a stream pulls nothing.
    pub async fn starts_nothing_before_it_is_pulled(&self) {
        let probe = Probe::default();
        let opened = self.open(self.here(probe.on(self.much()))).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(probe.pulled(), 0, "{}: pulled before it was", self.name());
        drop(opened);
    }

    /// When nobody pulls, it comes to a standstill.
    pub async fn stops_when_it_is_not_pulled(&self) {
        let probe = Probe::default();
        let mut stream = self.open(self.here(probe.on(self.much()))).await.expect("it can be put on");
        stream.next().await.expect("it flows").expect("there is more");
        let stands = standstill(async || probe.pulled()).await;
        let pulled = stands.unwrap_or_else(|| panic!("{}: pulls on and on", self.name()));
        let ahead = self.ahead;
        assert!(pulled <= ahead, "{}: {pulled} bytes were pulled ahead, more than {ahead}", self.name());
    }

    /// When it is dropped, what it reads from is dropped.
    pub async fn lets_go_when_it_is_dropped(&self) {
        let probe = Probe::default();
        let mut stream = self.open(self.here(probe.on(self.much()))).await.expect("it can be put on");
        stream.next().await.expect("it flows").expect("there is more");
        drop(stream);
        assert!(comes_true(async || probe.is_dropped()).await, "{}: holds on to its input", self.name());
    }

    fn name(&self) -> String {
        format!("stage {}", self.stage.name())
    }

    fn header(&self) -> crate::item::StreamHeader {
        let done = self.encodings.iter().map(|encoding| Encoding::done(encoding.as_str()));
        crate::item::StreamHeader { encodings: done.collect(), ..header() }
    }

    fn here(&self, stream: BoxStream) -> StreamItem {
        StreamItem { header: self.header(), ..item(stream) }
    }

    fn much(&self) -> BoxStream {
        match &self.large {
            Some(large) => Box::new(Chunks::new(chunks(large, 64 * 1024))),
            None => endless(),
        }
    }

    async fn run(&self, given: StreamItem) -> Result<StreamItem> {
        let input = Item::start().with(Payload::Streams(vec![given]));
        let output = self.stage.run(input, &context(Arc::clone(&self.stage))).await?;
        match output.payload {
            Payload::Streams(mut streams) if streams.len() == 1 => Ok(streams.remove(0)),
            other => panic!("{}: gave {other:?} for one stream", self.name()),
        }
    }

    async fn open(&self, given: StreamItem) -> Result<BoxStream> {
        self.run(given).await?.open(None).await
    }

    async fn drive(&self, given: StreamItem) -> Result<Vec<u8>> {
        collect(self.open(given).await?, usize::MAX).await
    }

    async fn on_bytes(&self, input: &[u8], chunk: usize, error: Option<Error>) -> Result<Vec<u8>> {
        let chunks = chunks(input, chunk);
        let stream = match error {
            Some(error) => Chunks::failing(chunks, error),
            None => Chunks::new(chunks),
        };
        self.drive(self.here(Box::new(stream))).await
    }

    fn cuts(&self) -> Vec<usize> {
        let length = self.input.len();
        match length <= CUTS {
            true => (0..=length).collect(),
            false => (0..CUTS).map(|n| n * length / CUTS).chain([length - 1, length]).collect(),
        }
    }
}

fn chunks(bytes: &[u8], size: usize) -> Vec<Bytes> {
    bytes.chunks(size.max(1)).map(Bytes::copy_from_slice).collect()
}
