//! Breaks a stage on purpose.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::guard::Grant;
use reseed_core::host::Host;
use reseed_core::item::{Item, Payload, SnapshotPart, StreamItem};
use reseed_core::leftover::Leftovers;
use reseed_core::stage::{Branch, CheckCx, Claim, Holdings, Stage, StageCx};
use reseed_core::stream::{BoxStream, ByteStream, Deferred};
use reseed_core::{Error, Kind, Mismatch, Result};
use tokio_util::sync::CancellationToken;

/// What goes wrong in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails before it has done anything.
    ErrorBefore,
    /// It is dropped in the midst of its work and fails.
    ErrorDuring(Duration),
    /// It fails when it has done everything.
    ErrorAfter,
    /// It panics in the midst of its work.
    PanicDuring(Duration),
    /// It panics when it has done everything.
    PanicAfter,
    /// The run is cancelled in the midst of its work.
    CancelDuring(Duration),
    /// It hangs when it has done everything, or after this time, which is its limit.
    TimesOut(Duration),
    /// The stream that it gives breaks after this many bytes.
    StreamBreaks(u64),
    /// The stream that it gives stands still after this many bytes.
    StreamStalls(u64),
}

impl Fault {
    /// The exit code that a run with this fault must have.
    pub fn exit_code(self) -> u8 {
        if matches!(self, Fault::CancelDuring(_)) { 130 } else { 1 }
    }
}

/// Something that a test does while a stream flows.
type Act = Box<dyn FnOnce() + Send>;

/// A stage with a fault.
pub struct Faulty {
    inner: Arc<dyn Stage>,
    plan: Plan,
    cancel: CancellationToken,
}

enum Plan {
    Fault(Fault),
    Act(Mutex<Option<Act>>),
}

impl Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Faulty {
    /// Puts a fault into a stage; for [`Trial::wrap`](crate::run::Trial::wrap).
    pub fn wrap(fault: Fault) -> impl FnOnce(Arc<dyn Stage>, CancellationToken) -> Arc<dyn Stage> {
        move |inner, cancel| Arc::new(Self { inner, plan: Plan::Fault(fault), cancel })
    }

    /// Does something, once, when the first bytes of the stage's first stream pass; the stage itself
    /// works as ever.
    pub fn act(
        act: impl FnOnce() + Send + 'static,
    ) -> impl FnOnce(Arc<dyn Stage>, CancellationToken) -> Arc<dyn Stage> {
        let plan = Plan::Act(Mutex::new(Some(Box::new(act))));
        move |inner, cancel| Arc::new(Self { inner, plan, cancel })
    }

    /// Lets the stage work for some time, then drops it. One that is done sooner has done everything.
    async fn for_a_while(&self, input: Item, cx: &StageCx, while_: Duration) -> Result<()> {
        match tokio::time::timeout(while_, self.inner.run(input, cx)).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

impl Faulty {
    async fn cancelled_after(&self, while_: Duration, input: Item, cx: &StageCx) -> Result<Item> {
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(while_).await;
            cancel.cancel();
        });
        self.inner.run(input, cx).await?;
        // One that is done sooner is cancelled in its last moment: after that, the last stage of a run
        // would have made it a success.
        self.cancel.cancelled().await;
        Err(Error::cancelled())
    }
}

fn injected() -> Error {
    Error::failed("injected")
}

#[async_trait]
impl Stage for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        self.inner.flow(input)
    }

    fn limit(&self) -> Option<Duration> {
        match self.plan {
            Plan::Fault(Fault::TimesOut(limit)) => Some(limit),
            _ => self.inner.limit(),
        }
    }

    fn approaches(&self) -> bool {
        self.inner.approaches()
    }

    fn claims(&self) -> Vec<Claim> {
        self.inner.claims()
    }

    fn locks(&self) -> Vec<Claim> {
        self.inner.locks()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.inner.host()
    }

    fn carries(&self) -> bool {
        self.inner.carries()
    }

    fn branches(&self) -> &[Branch] {
        self.inner.branches()
    }

    async fn scout(&self, cx: &CheckCx) {
        self.inner.scout(cx).await;
    }

    async fn grants(&self, cx: &CheckCx) -> Result<Vec<Grant>> {
        self.inner.grants(cx).await
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        self.inner.survey(cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.inner.check(cx).await
    }

    async fn holds(&self, wanted: &[SnapshotPart], cx: &CheckCx) -> Result<Option<Holdings>> {
        self.inner.holds(wanted, cx).await
    }

    async fn unfinished(&self, datasets: &[&str], cx: &CheckCx) -> Result<Option<Vec<SnapshotPart>>> {
        self.inner.unfinished(datasets, cx).await
    }

    async fn targets(&self) -> Result<Vec<String>> {
        self.inner.targets().await
    }

    async fn forget(&self, target: &str) -> Result<Vec<String>> {
        self.inner.forget(target).await
    }

    async fn leftovers(&self, cx: &CheckCx) -> Result<Leftovers> {
        self.inner.leftovers(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let fault = match &self.plan {
            Plan::Fault(fault) => *fault,
            Plan::Act(act) => {
                let act = act.lock().unwrap().take();
                return self.inner.run(input, cx).await.map(|item| tampered(item, 1, Then::Acts(act)));
            }
        };
        match fault {
            Fault::ErrorBefore => Err(injected()),
            Fault::ErrorAfter => self.inner.run(input, cx).await.and(Err(injected())),
            Fault::PanicAfter => {
                let _done = self.inner.run(input, cx).await?;
                panic!("injected")
            }
            Fault::ErrorDuring(while_) => self.for_a_while(input, cx, while_).await.and(Err(injected())),
            Fault::PanicDuring(while_) => {
                self.for_a_while(input, cx, while_).await?;
                panic!("injected")
            }
            Fault::CancelDuring(while_) => self.cancelled_after(while_, input, cx).await,
            Fault::TimesOut(_) => {
                let _done = self.inner.run(input, cx).await?;
                std::future::pending().await
            }
            Fault::StreamBreaks(after) => {
                self.inner.run(input, cx).await.map(|item| tampered(item, after, Then::Breaks))
            }
            Fault::StreamStalls(after) => {
                self.inner.run(input, cx).await.map(|item| tampered(item, after, Then::Stalls))
            }
        }
    }
}

/// What happens to a stream.
enum Then {
    Breaks,
    Stalls,
    Acts(Option<Act>),
}

/// The item with its first stream changed: after so many bytes it breaks or stands still, or something is
/// done and it goes on. The stream is opened when it is first pulled.
fn tampered(item: Item, after: u64, then: Then) -> Item {
    let Item { payload: Payload::Streams(mut streams), facts } = item else { return item };
    if !streams.is_empty() {
        let stream = streams.remove(0);
        let (header, wrap) = (stream.header.clone(), stream.wrap.clone());
        let body = Tampered { inner: Deferred::boxed(stream.open(None)), left: after, then };
        streams.insert(0, StreamItem { wrap, ..StreamItem::here(header, Box::new(body)) });
    }
    Item { payload: Payload::Streams(streams), facts }
}

struct Tampered {
    inner: BoxStream,
    left: u64,
    then: Then,
}

#[async_trait]
impl ByteStream for Tampered {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(mut bytes) = self.inner.next().await? else { return Ok(None) };
        match &mut self.then {
            Then::Acts(act) => {
                if let Some(act) = act.take() {
                    act();
                }
                return Ok(Some(bytes));
            }
            Then::Breaks if self.left == 0 => return Err(injected()),
            Then::Stalls if self.left == 0 => std::future::pending().await,
            Then::Breaks | Then::Stalls => {}
        }
        bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= bytes.len() as u64;
        Ok(Some(bytes))
    }
}
