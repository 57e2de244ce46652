//! The stage `hash`.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::here;
use crate::config::BuildCx;
use crate::guard::{Grant, GuardRule, Rule, Verdict, script};
use crate::host::{Command, Host};
use crate::item::{Pass, Reach, StreamItem};
use crate::registry::StageConfig;
use crate::report::StreamHash;
use crate::stage::{CheckCx, Filter, FilterStage, Stage, StageCx};
use crate::stream::{BoxStream, ByteStream};
use crate::{Encoding, Error, Kind, Mismatch, Result, StreamKind};
use crate::{register_rule, register_stage};

/// Notes the SHA-256 of every stream in the report. A second `hash` behind the transfer compares:
/// another SHA-256 than before is an error, and the receiver sees no end of such a stream.
///
/// Each takes its place seriously: in front of a transfer from another machine the hash is taken on
/// that machine, by `sha256sum`. It is the hash of the stream as it is there, so the two must stand
/// where the same was done to it: `hash`, `zstd`, a transfer, `hash`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HashConfig {}

register_stage!(HashConfig);

const NAME: &str = "hash";

impl StageConfig for HashConfig {
    const NAME: &'static str = NAME;

    fn build(self, _cx: &mut BuildCx<'_>) -> Option<Arc<dyn Stage>> {
        Some(hash())
    }
}

/// Notes the SHA-256 of every stream in the report, and compares it with an earlier one.
pub fn hash() -> Arc<dyn Stage> {
    Arc::new(FilterStage(Hash))
}

/// Programs of which one is on every machine.
const PICK: &str = r#"for s in sha256sum "sha256 -q" "shasum -a 256"; do command -v ${s%% *} >/dev/null 2>&1 && break; s=; done
[ -n "$s" ]"#;

/// Hashes what passes and says the hash on standard error, with `$1` in front. When the copy on its way
/// breaks, everything is ended before its end can be seen.
const PASS: &str = r#"for s in sha256sum "sha256 -q" "shasum -a 256"; do command -v ${s%% *} >/dev/null 2>&1 && break; done
exec 3>&1
h=$({ tee /dev/stderr 2>&1 >&3 3>&- || kill -9 0; } | $s 3>&-) || exit
echo "$1 ${h%% *}" >&2"#;

/// What stands in front of a hash that comes from another machine.
pub(super) const MARK: &str = "reseed-hash-";

#[derive(Debug)]
struct Hash;

#[async_trait]
impl Filter for Hash {
    fn name(&self) -> &str {
        NAME
    }

    fn flow(&self, input: &StreamKind) -> Result<StreamKind, Box<Mismatch>> {
        Ok(input.clone())
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        let Some(Kind::Stream(input)) = cx.input() else { return Ok(()) };
        comparable(&input, cx)?;
        match cx.stream_host() {
            Some(host) if !host.is_local() => hashable_there(host.as_ref(), &input).await,
            _ => Ok(()),
        }
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        let far = cx.stream_host().filter(|host| !host.is_local());
        Ok(far.map(|host| Grant::plain(host.name(), NAME)).into_iter().collect())
    }

    async fn apply(&self, mut stream: StreamItem, cx: &StageCx) -> Result<StreamItem> {
        let point = Arc::new(Point::new(&stream, cx));
        match stream.reach() {
            Reach::Here => stream.pending.pass(point),
            Reach::Far if !stream.pending.codecs().is_empty() => return Err(behind_a_codec(&stream.kind())),
            Reach::Far => {
                let mark = format!("{MARK}{}", cx.index);
                let command = Command::script(PASS).titled("sha256").arg(&mark);
                let command = command.heard_by(move |said| point.heard(&mark, said));
                stream = stream.seen_by(command, here(), &cx.meters().stream)?;
            }
        }
        Ok(stream)
    }
}

/// Allows the hash of what passes.
#[derive(Debug)]
struct HashRule;

register_rule!(HashRule);

impl GuardRule for HashRule {
    const NAME: &'static str = NAME;

    fn new(objects: Vec<String>) -> Result<Self, String> {
        if objects.is_empty() { Ok(Self) } else { Err("it is about nothing in particular".to_owned()) }
    }
}

impl Rule for HashRule {
    fn judge(&self, argv: &[&str]) -> Verdict {
        let is_mark = |mark: &str| mark.strip_prefix(MARK).is_some_and(|index| index.parse::<usize>().is_ok());
        match (script(argv, PICK), script(argv, PASS)) {
            (Some([]), _) => Verdict::Allowed,
            (_, Some([mark])) => Verdict::of(is_mark(mark), || "its mark is none of reseed's".to_owned()),
            _ => Verdict::Unknown,
        }
    }
}

/// Two hashes that can't agree would only look like a comparison.
fn comparable(input: &StreamKind, cx: &CheckCx) -> Result<()> {
    let earlier = cx.inputs_of(NAME);
    if earlier.is_empty() || earlier.iter().any(|(_, kind)| *kind == Kind::Stream(input.clone())) {
        return Ok(());
    }
    let kinds: Vec<_> = earlier.iter().map(|(_, kind)| kind.to_string()).collect();
    let text =
        format!("the hash of {} can't be compared with that of {}", Kind::Stream(input.clone()), kinds.join(", "));
    Err(Error::refused(text).hint("put both where the same was done to the stream: `hash`, `zstd`, a transfer, `hash`"))
}

async fn hashable_there(host: &dyn Host, input: &StreamKind) -> Result<()> {
    if !input.asked().is_empty() {
        return Err(behind_a_codec(input).into_refusal());
    }
    match host.output(Command::script(PICK).titled("sha256")).await?.exit.success() {
        true => Ok(()),
        false => {
            let error = Error::refused(format!("there is no program on {} that makes a SHA-256", host.name()));
            Err(error.hint(format!("install `sha256sum` on {}, for example: apt-get install coreutils", host.name())))
        }
    }
}

fn behind_a_codec(input: &StreamKind) -> Error {
    let names: Vec<_> = input.asked().iter().map(Encoding::as_str).collect();
    let error = Error::failed(format!("on another machine, `hash` can't stand behind {}", names.join(", ")));
    error.hint(format!("put `hash` in front of {}", names.join(", ")))
}

/// One stream at one stage.
#[derive(Debug, Clone)]
struct Place {
    /// The branch that the stage is in.
    branch: Option<String>,
    /// Position of the stage.
    index: usize,
    dataset: String,
    to_guid: String,
    encodings: Vec<Encoding>,
    /// Its SHA-256, once that is known.
    sha256: Arc<OnceLock<String>>,
}

/// The places of a run, as they were made.
#[derive(Debug, Default)]
struct Places(Mutex<Vec<Place>>);

impl Place {
    /// Whether a later place is one of the same stream, on whose way this one lies.
    fn is_like(&self, other: &Self) -> bool {
        let on_its_way = self.branch.is_none() || self.branch == other.branch;
        on_its_way
            && (&self.dataset, &self.to_guid, &self.encodings) == (&other.dataset, &other.to_guid, &other.encodings)
    }
}

/// Where a hash is taken, and which one it must agree with.
#[derive(Clone)]
struct Point {
    place: Place,
    /// The hash that it must be, once that is known.
    before: Option<Arc<OnceLock<String>>>,
    cx: StageCx,
}

impl std::fmt::Debug for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

impl Point {
    /// A point of this stream, which is compared with the last one of its like.
    fn new(stream: &StreamItem, cx: &StageCx) -> Self {
        if cx.board().get::<Places>().is_none() {
            cx.board().put(Places::default());
        }
        let part = &stream.header.part;
        let place = Place {
            branch: cx.branch().map(str::to_owned),
            index: cx.index,
            dataset: part.dataset.clone(),
            to_guid: part.guid.clone(),
            encodings: stream.header.encodings.clone(),
            sha256: Arc::default(),
        };
        let before = cx.board().get::<Places>().and_then(|places| {
            let mut places = places.0.lock().unwrap_or_else(PoisonError::into_inner);
            let before = places.iter().rev().find(|earlier| earlier.is_like(&place));
            let before = before.map(|earlier| Arc::clone(&earlier.sha256));
            places.push(place.clone());
            before
        });
        Self { place, before, cx: cx.clone() }
    }

    /// What the other machine said, among what other commands of the same job said.
    fn heard(&self, mark: &str, said: &str) -> Result<()> {
        let mut lines = said.lines().filter_map(|line| line.strip_prefix(mark)?.strip_prefix(' '));
        match lines.next_back() {
            Some(sha256) if sha256.len() == 64 => self.judge(sha256.to_owned()),
            _ => Err(Error::failed(format!(
                "the SHA-256 of {} did not come from where it was taken",
                self.place.dataset
            ))),
        }
    }

    fn judge(&self, sha256: String) -> Result<()> {
        let dataset = &self.place.dataset;
        self.note(&sha256);
        let same = match self.before.as_ref().map(|before| before.get()) {
            None => "",
            Some(Some(before)) if *before == sha256 => ", the same as before",
            Some(Some(before)) => {
                let text =
                    format!("the stream of {dataset} changed on its way: its SHA-256 was {before} and is {sha256}");
                return Err(Error::failed(text));
            }
            Some(None) => {
                let text = format!("the stream of {dataset} ended without the SHA-256 that it must have");
                return Err(Error::failed(text));
            }
        };
        self.cx.note(format!("SHA-256 of the stream of {dataset}: {sha256}{same}"));
        Ok(())
    }

    /// Notes the hash in the report, and for whoever must agree with it.
    fn note(&self, sha256: &str) {
        // A stream that several branches encode alike is seen in each.
        let _ = self.place.sha256.set(sha256.to_owned());
        let Place { index, dataset, to_guid, .. } = self.place.clone();
        self.cx.report(|report| report.hashes.push(StreamHash { index, dataset, to_guid, sha256: sha256.to_owned() }));
    }
}

impl Pass for Point {
    fn pass(&self, stream: BoxStream) -> BoxStream {
        Box::new(Hashing { stream, hasher: Sha256::new(), point: self.clone() })
    }
}

struct Hashing {
    stream: BoxStream,
    hasher: Sha256,
    point: Point,
}

#[async_trait]
impl ByteStream for Hashing {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.stream.next().await? {
            Some(bytes) => {
                self.hasher.update(&bytes);
                Ok(Some(bytes))
            }
            None => {
                let digest = std::mem::take(&mut self.hasher).finalize();
                let hex: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                self.point.judge(hex.concat()).map(|()| None)
            }
        }
    }
}
