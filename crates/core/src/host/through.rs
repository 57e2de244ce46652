//! A stream through a job.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::drain::{DYING, Fed, feed};
use super::process::READ;
use super::{Host, Inlet, Job, Outlet, Process};
use crate::stream::{BoxStream, ByteStream};
use crate::{Error, Result};

/// The output of a job that is fed with a stream. Nothing starts before it is pulled.
///
/// Its clean end means that the stream ended cleanly, that the job took all of it, and that every
/// command exited 0. When the stream fails, the job is ended without ever seeing an end of its input.
pub fn through(host: Arc<dyn Host>, job: Job, stream: BoxStream) -> BoxStream {
    Box::new(Through(State::Waiting(Some((host, job, stream)))))
}

struct Through(State);

enum State {
    Waiting(Option<(Arc<dyn Host>, Job, BoxStream)>),
    Running(Running),
}

struct Running {
    /// Stands before its input, so that a dropped job is ended before its input ends.
    process: Process,
    stdout: Option<Box<dyn Outlet>>,
    feeding: Feeding,
    fed: Option<Fed>,
    buffer: BytesMut,
}

/// Gives the input back where it must stay open.
type Feeding = Pin<Box<dyn Future<Output = (Fed, Option<Box<dyn Inlet>>)> + Send>>;

async fn feeding(mut stream: BoxStream, mut stdin: Box<dyn Inlet>) -> (Fed, Option<Box<dyn Inlet>>) {
    match feed(stream.as_mut(), stdin.as_mut(), &Arc::default()).await {
        Fed::Cut(error) => (Fed::Cut(error), Some(stdin)),
        fed => {
            stdin.shutdown().await.ok();
            (fed, None)
        }
    }
}

impl Running {
    async fn start(host: &dyn Host, job: &Job, stream: BoxStream) -> Result<Self> {
        let mut process = host.start(job).await?;
        let stdin = process.stdin.take().ok_or_else(|| Error::failed("the process has no standard input"))?;
        let stdout = process.stdout.take();
        Ok(Self { process, stdout, feeding: Box::pin(feeding(stream, stdin)), fed: None, buffer: BytesMut::new() })
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(stdout) = self.stdout.as_mut() {
            if !self.buffer.try_reclaim(READ) {
                self.buffer = BytesMut::with_capacity(READ);
            }
            tokio::select! {
                fed = &mut self.feeding, if self.fed.is_none() => self.was_fed(fed).await?,
                read = stdout.read_buf(&mut self.buffer) => match read {
                    Ok(0) => self.stdout = None,
                    Ok(_) => return Ok(Some(self.buffer.split().freeze())),
                    Err(error) => return Err(Error::failed(format!("reading from {}", self.process.host)).because(error)),
                },
            }
        }
        self.ended().await.map(|()| None)
    }

    /// The input is still open here, so that what is ended now does not see its end.
    async fn was_fed(&mut self, (fed, _open): (Fed, Option<Box<dyn Inlet>>)) -> Result<()> {
        if let Fed::Cut(error) = fed {
            self.process.handle.kill();
            let _ = tokio::time::timeout(DYING, self.process.handle.wait()).await;
            return Err(error);
        }
        self.fed = Some(fed);
        Ok(())
    }

    /// There is no more output. What failed by itself is the cause; else everything must have been
    /// taken.
    async fn ended(&mut self) -> Result<()> {
        while self.fed.is_none() {
            tokio::select! {
                fed = &mut self.feeding => self.was_fed(fed).await?,
                exit = self.process.handle.wait() => {
                    exit?.success_on(&self.process.host)?;
                    let fed = (&mut self.feeding).await;
                    self.was_fed(fed).await?;
                }
            }
        }
        self.process.handle.wait().await?.success_on(&self.process.host)?;
        match &self.fed {
            Some(Fed::Refused(error)) => {
                let text = format!("{} stopped reading its input before the end", self.process.host);
                Err(Error::failed(text).because(std::io::Error::new(error.kind(), error.to_string())))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ByteStream for Through {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if let State::Waiting(waiting) = &mut self.0 {
            let (host, job, stream) = waiting.take().ok_or_else(|| Error::failed("the job was not started"))?;
            self.0 = State::Running(Running::start(host.as_ref(), &job, stream).await?);
        }
        match &mut self.0 {
            State::Running(running) => running.next().await,
            State::Waiting(_) => Err(Error::failed("the job was not started")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Command, LocalConfig, LocalHost};
    use crate::stream::{Chunks, collect};

    fn by(script: &'static str, stream: Chunks) -> BoxStream {
        let host = Arc::new(LocalHost::new("local", &LocalConfig::default()));
        through(host, Command::script(script).into(), Box::new(stream))
    }

    fn sample() -> Chunks {
        Chunks::new(vec![vec![b'a'; 3 << 20].into(); 3])
    }

    #[tokio::test]
    async fn the_output_is_the_jobs() {
        assert_eq!(collect(by("wc -c", sample()), 100).await.unwrap().trim_ascii(), b"9437184");
        assert_eq!(collect(by("cat", sample()), usize::MAX).await.unwrap().len(), 9 << 20);
    }

    #[tokio::test]
    async fn one_that_fails_after_it_closed_its_output_fails_the_stream() {
        let error = collect(by("cat; exec >&-; echo 'bad key' >&2; exit 3", sample()), usize::MAX).await.unwrap_err();
        assert!(error.chain().contains("exited 3: bad key"), "{}", error.chain());
    }

    #[tokio::test]
    async fn one_whose_input_broke_never_sees_its_clean_end() {
        let failing = Chunks::failing(vec!["abc".into()], Error::failed("the sender died"));
        let error = collect(by("cat; echo whole", failing), 100).await.unwrap_err();
        assert_eq!(error.chain(), "the sender died");
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("clean");
        let host = Arc::new(LocalHost::new("local", &LocalConfig::default()));
        let job = Command::script(r#"cat; touch "$1""#).arg(marker.to_str().unwrap());
        let failing = Chunks::failing(vec!["abc".into()], Error::failed("the sender died"));
        collect(through(host, job.into(), Box::new(failing)), 100).await.unwrap_err();
        assert!(!marker.exists());
    }

    #[tokio::test]
    async fn one_that_stops_early_is_an_error_unless_it_had_everything() {
        let error = collect(by("head -c 5", sample()), 100).await.unwrap_err();
        assert!(error.chain().contains("stopped reading its input before the end"), "{}", error.chain());
        let few = Chunks::new(vec!["abc".into()]);
        assert_eq!(collect(by("head -c 3", few), 100).await.unwrap(), b"abc");
    }
}
