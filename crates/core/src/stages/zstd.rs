//! The stages `zstd` and `unzstd`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::codec::{Codec, Zstd};
use crate::config::{BuildCx, Located, Problem};
use crate::guard::{Grant, GuardRule, Rule, Verdict};
use crate::item::{Reach, StreamItem};
use crate::registry::StageConfig;
use crate::stage::{CheckCx, Filter, FilterStage, Stage, StageCx};
use crate::stages::here;
use crate::{Mismatch, Result, StreamKind};
use crate::{register_rule, register_stage};

/// Compresses streams with zstd. In front of a transport it runs on the sending machine, by reseed
/// itself or by the `zstd` program there; the transport decompresses on the receiving machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ZstdConfig {
    /// Compression level from 1 (fastest) to 19.
    #[serde(default = "default_level")]
    #[schemars(range(min = 1, max = 19))]
    level: Located<i32>,
}

/// Compresses streams. None for a level that zstd does not have: they go from 1 to 19.
pub fn zstd(level: i32) -> Option<Arc<dyn Stage>> {
    let known = (1..=19).contains(&level);
    known.then(|| Arc::new(FilterStage(Compress(Arc::new(Zstd { level })))) as Arc<dyn Stage>)
}

/// Decompresses streams.
pub fn unzstd() -> Arc<dyn Stage> {
    Arc::new(FilterStage(Decompress))
}

fn default_level() -> Located<i32> {
    Located::nowhere(3)
}

/// Decompresses streams, where no transport has done it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UnzstdConfig {}

register_stage!(ZstdConfig);
register_stage!(UnzstdConfig);

impl StageConfig for ZstdConfig {
    const NAME: &'static str = "zstd";

    fn build(self, cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        let stage = zstd(*self.level);
        if stage.is_none() {
            cx.problem(Problem::at(self.level.span(), "zstd's levels go from 1 to 19"));
        }
        stage
    }
}

impl StageConfig for UnzstdConfig {
    const NAME: &'static str = "unzstd";

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(unzstd())
    }
}

#[derive(Debug)]
struct Compress(Arc<Zstd>);

#[async_trait]
impl Filter for Compress {
    fn name(&self) -> &str {
        "zstd"
    }

    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>> {
        let mut output = input.clone();
        output.encodings.push(self.0.encoding());
        Ok(output)
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let far = cx.stream_host().filter(|host| !host.is_local());
        Ok(far.map(|host| Grant::plain(host.name(), "zstd")).into_iter().collect())
    }

    async fn apply(&self, mut stream: StreamItem, _cx: &StageCx) -> Result<StreamItem> {
        stream.header.encodings.push(self.0.encoding());
        stream.pending.codec(self.0.clone());
        Ok(stream)
    }
}

/// Allows the standard program, between its input and its output alone.
#[derive(Debug)]
struct ZstdRule;

register_rule!(ZstdRule);

impl GuardRule for ZstdRule {
    const NAME: &'static str = "zstd";

    fn new(objects: Vec<String>) -> Result<Self, String> {
        if objects.is_empty() { Ok(Self) } else { Err("it is about nothing in particular".to_owned()) }
    }
}

impl Rule for ZstdRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        match argv {
            ["zstd", "-q", "-d", "-c"] => Verdict::Allowed,
            ["zstd", "-q", "-c", "-T0", level] => {
                let level = level.strip_prefix('-').filter(|level| level.chars().all(|c| c.is_ascii_digit()));
                Verdict::of(level.is_some_and(|level| (1..=2).contains(&level.len())), || {
                    "it is a level from 1 to 22 that goes there".to_owned()
                })
            }
            _ => Verdict::Unknown,
        }
    }
}

#[derive(Debug)]
struct Decompress;

#[async_trait]
impl Filter for Decompress {
    fn name(&self) -> &str {
        "unzstd"
    }

    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>> {
        let mut output = input.clone();
        match output.encodings.pop() {
            Some(encoding) if encoding == Zstd::ENCODING => Ok(output),
            _ => Err(Mismatch::new(
                "a stream that is compressed with zstd",
                &crate::Kind::Stream(input.clone()),
                crate::Kind::Stream(input.clone()),
            )),
        }
    }

    async fn apply(&self, mut stream: StreamItem, cx: &StageCx) -> Result<StreamItem> {
        // What was asked for and not done yet need not be done at all.
        if !stream.pending.take_back(&Zstd::ENCODING) {
            let zstd = Zstd { level: 3 };
            stream = match (stream.reach(), zstd.decoder()) {
                (Reach::Far, Some(decoder)) => stream.filtered_by(decoder, here(), &cx.meters().stream)?,
                _ => stream.map_here(&cx.meters().stream, move |stream| zstd.decode(stream)),
            };
        }
        stream.header.encodings.pop();
        Ok(stream)
    }
}
