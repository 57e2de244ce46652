//! Surveys and checks, and what they refuse.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::Forked;
use super::drive::panicked;
use crate::event::Event;
use crate::guard::Grant;
use crate::leftover::Scan;
use crate::stage::{CheckCx, Run, Stage};
use crate::{Class, Error, Result};

/// Refusals by the position of their seat.
type Found = Vec<(usize, Error)>;

/// One stage, where it stands: in the run itself, or in one of its branches.
struct Seat {
    run: Arc<Run>,
    index: usize,
}

impl Seat {
    fn cx(&self) -> CheckCx {
        CheckCx { run: Arc::clone(&self.run), index: self.index }
    }

    fn stage(&self) -> &Arc<dyn Stage> {
        &self.run.stages[self.index]
    }

    /// Begins its check; `turn` is that of its machine, where stages wait for each other.
    fn begin_check(&self, turn: Option<Arc<Mutex<()>>>) -> AbortOnDropHandle<Result<()>> {
        let (stage, cx) = (Arc::clone(self.stage()), self.cx());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let _turn = match &turn {
                Some(turn) => Some(turn.lock().await),
                None => None,
            };
            stage.check(&cx).await
        }))
    }

    /// Tells the refusal, and gives it with the name of its stage in front.
    fn refusal(&self, error: Error) -> Error {
        let (error, stage) = (error.into_refusal(), self.stage().name().to_owned());
        let (text, hint) = (error.chain(), error.hint_text().map(str::to_owned));
        let refusal = self.placed(error);
        self.run.observer.on(&Event::Refused { index: self.index, stage, error: text, hint });
        refusal
    }

    fn placed(&self, error: Error) -> Error {
        let error = error.context(format!("stage {}", self.stage().name()));
        match &self.run.branch {
            Some(branch) => error.context(format!("branch {branch}")),
            None => error,
        }
    }
}

/// Surveys every stage, those of branches too, then checks those whose survey went well, and collects
/// what is refused.
pub(super) async fn check(run: &Arc<Run>) -> Result<(), Vec<Error>> {
    make_ready(run);
    let seats = seats(run);
    let mut found = Found::new();
    let done = match survey_all(run, &seats, &mut found).await {
        Ok(()) => check_all(run, &seats, &mut found).await,
        cancelled => cancelled,
    };
    done.map_err(|cancelled| vec![cancelled])?;
    let refusals: Vec<_> = causes(found).into_iter().map(|(at, error)| seats[at].refusal(error)).collect();
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// Surveys every stage, and asks each what it needs to be granted, or why that can't be told.
pub(super) async fn grants(run: &Arc<Run>) -> Result<Vec<Result<Grant>>, Vec<Error>> {
    make_ready(run);
    let seats = seats(run);
    let mut found = Found::new();
    survey_all(run, &seats, &mut found).await.map_err(|cancelled| vec![cancelled])?;
    if !found.is_empty() {
        return Err(causes(found).into_iter().map(|(at, error)| seats[at].refusal(error)).collect());
    }
    let mut all = Vec::new();
    for seat in &seats {
        match seat.stage().grants(&seat.cx()).await {
            Ok(grants) => all.extend(grants.into_iter().map(Ok)),
            Err(error) => all.push(Err(error)),
        }
    }
    Ok(all)
}

/// Surveys every stage, then asks each what was left, the last stage first.
pub(super) async fn leftovers(run: &Arc<Run>, scan: &mut Scan) -> Result<()> {
    make_ready(run);
    let seats = seats(run);
    survey_all(run, &seats, &mut Found::new()).await?;
    for seat in seats.iter().rev() {
        match unless_cancelled(run, seat.stage().leftovers(&seat.cx())).await {
            Ok(told) => scan.add(told),
            Err(error) if error.class() == Class::Cancelled => return Err(error),
            Err(error) => scan.unseen.push(seat.placed(error)),
        }
    }
    Ok(())
}

/// Every stage in order; those of a branch come right after the stage that parts.
fn seats(run: &Arc<Run>) -> Vec<Seat> {
    let mut seats = Vec::new();
    for (index, stage) in run.stages.iter().enumerate() {
        let seat = Seat { run: Arc::clone(run), index };
        let forked = Forked::of(&seat.cx(), stage.branches());
        seats.push(seat);
        seats.extend(forked.iter().flat_map(Forked::stages).map(|(run, index)| Seat { run, index }));
    }
    seats
}

/// Makes every machine ready that a stage works on; each only once, however often it is called.
pub(super) fn make_ready(run: &Arc<Run>) {
    let mut called = Vec::new();
    for host in seats(run).iter().filter_map(|seat| seat.stage().host()) {
        if !called.iter().any(|name| name == host.name()) {
            called.push(host.name().to_owned());
            // It is left to itself: the first command on that machine waits for it.
            drop(tokio::spawn(async move { host.make_ready().await }));
        }
    }
}

/// Sends every stage's scout, side by side: one for each seat.
fn scouts(seats: &[Seat]) -> Vec<AbortOnDropHandle<()>> {
    let scout = |seat: &Seat| {
        let (stage, cx) = (Arc::clone(seat.stage()), seat.cx());
        AbortOnDropHandle::new(tokio::spawn(async move { stage.scout(&cx).await }))
    };
    seats.iter().map(scout).collect()
}

/// Surveys in order, each when its scout is back. Fails only when it is cancelled.
async fn survey_all(run: &Run, seats: &[Seat], found: &mut Found) -> Result<()> {
    for ((at, seat), scout) in seats.iter().enumerate().zip(scouts(seats)) {
        let survey = async {
            // Whatever became of the scout, the survey finds out itself what is not known.
            let _ = scout.await;
            seat.stage().survey(&seat.cx()).await
        };
        let surveyed = unless_cancelled(run, survey).await;
        note(surveyed, at, seat, found)?;
    }
    Ok(())
}

/// Checks side by side; what asks the same far machine one after the other, since a connection carries only so
/// much at once. Fails only when it is cancelled.
async fn check_all(run: &Run, seats: &[Seat], found: &mut Found) -> Result<()> {
    let blind: Vec<_> = found.iter().map(|(at, _)| *at).collect();
    let seeing = seats.iter().enumerate().filter(|(at, _)| !blind.contains(at));
    let mut turns: BTreeMap<String, Arc<Mutex<()>>> = BTreeMap::new();
    let mut turn = |seat: &Seat| {
        let host = seat.stage().host().filter(|host| !host.is_local())?;
        Some(Arc::clone(turns.entry(host.name().to_owned()).or_default()))
    };
    let begun: Vec<_> = seeing.map(|(at, seat)| (at, seat, seat.begin_check(turn(seat)))).collect();
    for (at, seat, check) in begun {
        let checked = async { check.await.unwrap_or_else(|gone| Err(Error::failed(panicked(gone)))) };
        note(unless_cancelled(run, checked).await, at, seat, found)?;
    }
    Ok(())
}

async fn unless_cancelled<T>(run: &Run, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = run.cancel.cancelled() => Err(Error::cancelled()),
        done = work => done,
    }
}

/// Keeps a refusal; gives a cancel back.
fn note(done: Result<()>, at: usize, seat: &Seat, found: &mut Found) -> Result<()> {
    match done {
        Err(error) if error.class() == Class::Cancelled => Err(seat.placed(error)),
        Err(error) => {
            found.push((at, error));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// What is told of it, in the order of the stages: no follow-ups where there is a cause, and what
/// several stages say alike only once.
fn causes(mut found: Found) -> Found {
    if found.iter().any(|(_, error)| !error.is_follow_up()) {
        found.retain(|(_, error)| !error.is_follow_up());
    }
    found.sort_by_key(|(at, _)| *at);
    let mut told: Vec<String> = Vec::new();
    found.retain(|(_, error)| {
        let text = error.chain();
        let new = !told.contains(&text);
        told.push(text);
        new
    });
    found
}

/// One error that names all refusals; class and hint are those of the first.
pub(super) fn merge(mut refusals: Vec<Error>) -> Error {
    let first = refusals.remove(0);
    if refusals.is_empty() {
        return first;
    }
    let rest: Vec<_> = refusals.iter().map(Error::chain).collect();
    let hint = first.hint_text().map(str::to_owned);
    let text = format!("{}; and {}", first.chain(), rest.join("; and "));
    let merged = if first.class() == Class::Cancelled { Error::cancelled() } else { Error::refused(text) };
    match hint {
        Some(hint) => merged.hint(hint),
        None => merged,
    }
}
