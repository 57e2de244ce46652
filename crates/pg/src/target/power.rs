//! Stopping a server until it is down, and starting one until it answers.

use std::pin::Pin;
use std::time::{Duration, Instant};

use reseed_core::{Error, Result};

use super::log::{Mark, cause};
use super::postmaster::{NotUp, Postmaster, Status};
use super::proof::{Answer, QUESTION};
use crate::service::{Server, StopMode};

/// How long a service program may go on after the server itself is where it should be.
const LINGER: Duration = Duration::from_secs(10);
/// How long a server that is up may refuse to answer: for example while it has too many clients.
const ANSWER: Duration = Duration::from_secs(5);
/// How often that is tried.
const RETRY: Duration = Duration::from_millis(50);
/// How often a log is read, for causes that no waiting can mend.
pub(crate) const READ_LOG: Duration = Duration::from_secs(2);

/// A server that has come up, while the program that started it may not have ended yet.
pub(crate) struct Raised<'a> {
    /// It.
    pub(crate) up: Up,
    /// Resolves when that program has ended, or was waited for long enough.
    pub(crate) settled: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

/// A server that has come up.
#[derive(Debug, Clone)]
pub(crate) struct Up {
    /// It.
    pub(crate) postmaster: Postmaster,
    /// When it answered its first query, or, with `hot_standby = off`, when it was seen to run.
    pub(crate) at: Instant,
    /// What it answered, where it was asked.
    pub(crate) answer: Option<Answer>,
}

impl Server {
    /// The living server, if there is one.
    ///
    /// # Errors
    /// When nobody can tell.
    pub(crate) async fn look(&self) -> Result<Option<Postmaster>> {
        Postmaster::look(self.host.as_ref(), &self.data_directory).await
    }

    /// Stops a running server and waits until it is down.
    ///
    /// # Errors
    /// When it is still there at the end of the time.
    pub(crate) async fn halt(&self, running: &Postmaster, mode: StopMode, within: Duration) -> Result<()> {
        let stop = self.stop(mode);
        let gone = running.gone(self.host.as_ref(), &self.data_directory, within);
        tokio::pin!(stop, gone);
        let gone = tokio::select! {
            gone = &mut gone => {
                // What is to be seen is seen; the program that was asked ends by itself.
                let _ = tokio::time::timeout(LINGER, &mut stop).await;
                gone?
            }
            stopped = &mut stop => match stopped {
                Ok(()) => gone.await?,
                Err(error) => return if self.look().await?.is_some() { Err(error) } else { Ok(()) },
            },
        };

        if gone {
            return Ok(());
        }
        let error = format!("the server on {} is still up after {} s", self.host.name(), within.as_secs());
        Err(Error::failed(error).hint("raise the stage's `timeout`, or stop it with `mode = \"immediate\"`"))
    }

    /// Starts the server and waits until it answers a query.
    ///
    /// # Errors
    /// When it does not; named by its cause where its log tells it.
    pub(crate) async fn raise(&self, mark: &Mark, within: Duration) -> Result<Raised<'_>> {
        let up = tokio::select! {
            up = self.started(within) => up,
            doomed = self.doomed(mark) => Err(doomed),
        };
        match up {
            Ok(up) => Ok(up),
            Err(error) => Err(self.explained(error, mark).await),
        }
    }

    /// Starts the server and waits until it answers, or until its service has failed.
    async fn started(&self, within: Duration) -> Result<Raised<'_>> {
        let mut start = Box::pin(self.start(within));
        let up = self.answering(within);
        tokio::pin!(up);
        tokio::select! {
            up = &mut up => Ok(Raised {
                up: up?,
                // What is to be seen is seen; the program ends by itself.
                settled: Box::pin(async { drop(tokio::time::timeout(LINGER, start).await) }),
            }),
            started = &mut start => match started {
                Err(error) if self.look().await?.is_none() => Err(error),
                _ => Ok(Raised { up: up.await?, settled: Box::pin(std::future::ready(())) }),
            },
        }
    }

    /// Resolves when the server's log tells a cause that no waiting can mend. A standby that can't
    /// stream may well go on trying for ever, before it has ever answered.
    async fn doomed(&self, mark: &Mark) -> Error {
        loop {
            tokio::time::sleep(READ_LOG).await;
            let log = mark.since(self).await.unwrap_or_default();
            if cause(&log).is_some_and(|cause| cause.lasting) {
                return Error::failed(format!("the server on {} will not become a standby", self.host.name()));
            }
        }
    }

    /// Waits until a server that is being started answers.
    pub(crate) async fn answering(&self, within: Duration) -> Result<Up> {
        let name = self.host.name();
        let up = Postmaster::up(self.host.as_ref(), &self.data_directory, within).await?;

        let postmaster = match up {
            Ok(postmaster) => postmaster,
            Err(NotUp::Died) => return Err(Error::failed(format!("the server on {name} ended right after its start"))),
            Err(NotUp::TooLate) => {
                let error = format!("the server on {name} does not answer within {} s", within.as_secs());
                return Err(Error::failed(error).hint("raise the stage's `timeout` if it still recovers"));
            }
        };
        let answer = match postmaster.status {
            Status::Ready => Some(self.first_answer(&postmaster).await?),
            _ => None,
        };
        Ok(Up { postmaster, at: Instant::now(), answer })
    }

    async fn first_answer(&self, postmaster: &Postmaster) -> Result<Answer> {
        let until = Instant::now() + ANSWER;
        loop {
            match self.ask_one(postmaster, QUESTION).await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// The error with its cause from the server's log, where that names one.
    pub(crate) async fn explained(&self, error: Error, mark: &Mark) -> Error {
        let log = mark.since(self).await.unwrap_or_default();
        let Some(cause) = cause(&log) else { return error };
        let hint = cause.hint.map(str::to_owned).or_else(|| error.hint_text().map(str::to_owned));
        let explained = Error::failed(error.to_string()).because(Error::from(cause));
        match hint {
            Some(hint) => explained.hint(hint),
            None => explained,
        }
    }
}
