//! Breaks a stage on purpose.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use reseed_core::item::Item;
use reseed_core::stage::{Around, AroundStage, Stage, StageCx};
use reseed_core::testkit::{Harm, harmed};
use reseed_core::{Error, Result};
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
        move |inner, cancel| Arc::new(AroundStage(Self { inner, plan: Plan::Fault(fault), cancel }))
    }

    /// Does something, once, when the first bytes of the stage's first stream pass; the stage itself
    /// works as ever.
    pub fn act(
        act: impl FnOnce() + Send + 'static,
    ) -> impl FnOnce(Arc<dyn Stage>, CancellationToken) -> Arc<dyn Stage> {
        let plan = Plan::Act(Mutex::new(Some(Box::new(act))));
        move |inner, cancel| Arc::new(AroundStage(Self { inner, plan, cancel }))
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
impl Around for Faulty {
    fn inner(&self) -> &dyn Stage {
        self.inner.as_ref()
    }

    fn limit(&self) -> Option<Duration> {
        match self.plan {
            Plan::Fault(Fault::TimesOut(limit)) => Some(limit),
            _ => self.inner.limit(),
        }
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let fault = match &self.plan {
            Plan::Fault(fault) => *fault,
            Plan::Act(act) => {
                let act = act.lock().unwrap().take();
                let item = self.inner.run(input, cx).await?;
                return Ok(match act {
                    Some(act) => harmed(item, 0, Harm::Acts(act)),
                    None => item,
                });
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
            Fault::StreamBreaks(after) => self.inner.run(input, cx).await.map(|item| harmed(item, after, Harm::Breaks)),
            Fault::StreamStalls(after) => {
                let stalls = Harm::Hangs(Box::new(|| ()));
                self.inner.run(input, cx).await.map(|item| harmed(item, after, stalls))
            }
        }
    }
}
