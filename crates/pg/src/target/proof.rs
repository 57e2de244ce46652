//! The proof that a server is a good standby: neither a start's exit code nor an answered query is one.

use std::time::{Duration, Instant};

use reseed_core::stage::{Board, StageCx};
use reseed_core::{Error, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::configure::Configured;
use super::log::{Mark, cause};
use super::postmaster::Status;
use super::power::{READ_LOG, Up};
use super::staged::primary;
use crate::facts::{Backup, Mode, Source};
use crate::lsn::Lsn;
use crate::service::Server;
use crate::session::{Column, Conninfo, Session};

/// How often the standby is asked.
const ASK: Duration = Duration::from_millis(20);

/// One row about a standby. `to_jsonb` keeps it the same where versions have other columns.
pub(crate) const QUESTION: &str = "SELECT json_build_object(\
    'in_recovery', pg_is_in_recovery(), \
    'system_identifier', (SELECT system_identifier FROM pg_control_system())::text, \
    'receiver', (SELECT to_jsonb(r) - 'conninfo' FROM pg_stat_wal_receiver r), \
    'replayed', pg_last_wal_replay_lsn()::text, \
    'received', pg_last_wal_receive_lsn()::text, \
    'delay', coalesce(current_setting('recovery_min_apply_delay', true), '0'))";

/// What a standby must show before its start counts as good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Goal {
    /// It streams from its primary, and has replayed past the end of the backup.
    #[default]
    Streaming,
    /// It has reached a consistent state and answers queries. Nobody need be there for it to follow.
    Consistent,
}

impl Goal {
    /// The goal of the stage that starts the standby.
    pub(crate) fn of(board: &Board) -> Self {
        board.get::<Self>().map(|goal| *goal).unwrap_or_default()
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Answer {
    in_recovery: bool,
    system_identifier: String,
    receiver: Option<Receiver>,
    replayed: Option<String>,
    received: Option<String>,
    delay: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Receiver {
    status: Option<String>,
    slot_name: Option<String>,
    sender_host: Option<String>,
    sender_port: Option<i32>,
}

/// What a standby must show.
#[derive(Debug, Clone, Default)]
struct Wanted {
    goal: Goal,
    system_identifier: Option<u64>,
    /// The position that it must have replayed.
    past: Option<Lsn>,
    slot: Option<String>,
    upstream: Option<Conninfo>,
}

/// What is still missing, in words, and whether waiting may bring it.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    NotYet(String),
    Never(String),
}

/// Waits until the server is proven to follow its upstream past the end of the backup.
///
/// # Errors
/// At the end of the time, or as soon as it is clear that it never will; named by its cause.
pub(crate) async fn prove(
    server: &Server,
    up: &Up,
    backup: Option<&Backup>,
    mark: &Mark,
    until: Instant,
    cx: &StageCx,
) -> Result<()> {
    let wanted = wanted(backup, cx)?;
    let proof = Proof { server, up, wanted, mark, until, cx };
    match up.postmaster.status {
        Status::Standby => proof.by_the_primary().await,
        _ => proof.by_the_standby().await,
    }
}

fn wanted(backup: Option<&Backup>, cx: &StageCx) -> Result<Wanted> {
    let configured = cx.board().get::<Configured>();
    let goal = Goal::of(cx.board());
    // What an atomic snapshot holds ends somewhere before the position that was asked for after it.
    let past = backup.filter(|backup| goal == Goal::Streaming || backup.mode == Mode::Backup);
    let past = past.and_then(|backup| backup.proof_lsn.as_deref()).map(str::parse).transpose()?;
    Ok(Wanted {
        goal,
        system_identifier: cx.board().get::<Source>().map(|source| source.system_identifier),
        past,
        slot: configured.as_ref().and_then(|configured| configured.slot.clone()),
        upstream: configured.and_then(|configured| Conninfo::parse(&configured.upstream).ok()),
    })
}

struct Proof<'a> {
    server: &'a Server,
    up: &'a Up,
    wanted: Wanted,
    mark: &'a Mark,
    until: Instant,
    cx: &'a StageCx,
}

impl Proof<'_> {
    async fn by_the_standby(&self) -> Result<()> {
        let mut log_read = Instant::now();
        let mut first = self.up.answer.clone();
        loop {
            self.cx.go_on()?;
            let answer = match first.take() {
                Some(answer) => Ok(answer),
                None => self.server.ask_one(&self.up.postmaster, QUESTION).await,
            };
            let missing = match answer {
                Ok(answer) => match self.wanted.missing(&answer) {
                    None => {
                        self.tell(&answer);
                        return Ok(());
                    }
                    Some(missing) => missing,
                },
                Err(error) => Missing::NotYet(error.to_string()),
            };
            self.give_up_on(missing, &mut log_read).await?;
            tokio::time::sleep(ASK).await;
        }
    }

    fn tell(&self, answer: &Answer) {
        let replayed = answer.replayed.as_deref().unwrap_or("nothing");
        let past = self.wanted.past.map(|past| format!(", past {past}")).unwrap_or_default();
        let does = match self.wanted.goal {
            Goal::Streaming => "in recovery, streaming",
            Goal::Consistent => "in recovery, consistent; serving, not streaming",
        };
        self.cx.note(format!("proven: {does}, replayed up to {replayed}{past}"));
    }

    /// Fails if what is missing never comes, if the server has died, or at the end of the time.
    async fn give_up_on(&self, missing: Missing, log_read: &mut Instant) -> Result<()> {
        let text = match missing {
            Missing::Never(text) => return Err(self.failed(text).await),
            Missing::NotYet(text) => text,
        };
        if Instant::now() >= self.until {
            return Err(self.failed(format!("{text}, and the time is over")).await);
        }
        if log_read.elapsed() < READ_LOG {
            return Ok(());
        }
        *log_read = Instant::now();
        if self.server.look().await?.is_none() {
            return Err(self.failed("the server has ended".into()).await);
        }
        let log = self.mark.since(self.server).await?;
        match cause(&log).filter(|cause| cause.lasting) {
            Some(_) => Err(self.failed(text).await),
            None => Ok(()),
        }
    }

    async fn failed(&self, text: String) -> Error {
        let place = format!("{} on {}", self.server.data_directory, self.server.host.name());
        let error = Error::failed(format!("the server in {place} is no good standby: {text}"));
        self.server.explained(error, self.mark).await
    }

    /// With `hot_standby = off` the standby answers nothing; its primary knows how far it is.
    async fn by_the_primary(&self) -> Result<()> {
        if self.wanted.goal == Goal::Consistent {
            let error = "with hot_standby = off the standby answers no query, so nothing shows that it is consistent";
            return Err(Error::failed(error).hint("set `hot_standby = \"on\"` in `settings`"));
        }
        let (Some(primary), Some(slot)) = (primary(self.cx.board()), &self.wanted.slot) else {
            let error = "with hot_standby = off only a primary and a slot could prove the standby";
            return Err(Error::failed(error).hint("set `hot_standby = \"on\"` in `settings`"));
        };
        self.cx.note("hot_standby is off: the proof comes from the primary's pg_stat_replication");
        let session = Session::connect(&primary, "reseed proof").await?;
        let proven = self.by_session(&session, slot).await;
        session.close().await;
        proven
    }

    async fn by_session(&self, session: &Session, slot: &str) -> Result<()> {
        let sql = "SELECT r.state, r.replay_lsn::text FROM pg_stat_replication r \
                   JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name::text = $1";
        let mut log_read = Instant::now();
        loop {
            self.cx.go_on()?;
            let rows = session.rows(sql, &[&slot]).await?;
            let (state, replayed) = match rows.first() {
                Some(row) => (row.column::<Option<String>>(0)?, row.column::<Option<String>>(1)?),
                None => (None, None),
            };
            let missing = match state.as_deref() {
                Some("streaming") => self.wanted.not_past(replayed.as_deref()),
                Some(state) => Some(Missing::NotYet(format!("its WAL sender is in state {state}"))),
                None => Some(Missing::NotYet(format!("nobody streams from the slot {slot}"))),
            };
            let Some(missing) = missing else { return Ok(()) };
            self.give_up_on(missing, &mut log_read).await?;
            tokio::time::sleep(ASK).await;
        }
    }
}

impl Wanted {
    /// The first thing that a standby does not show.
    fn missing(&self, answer: &Answer) -> Option<Missing> {
        if !answer.in_recovery {
            return Some(Missing::Never("it is a primary, not in recovery".into()));
        }
        let is = answer.system_identifier.parse::<u64>().ok();
        if self.system_identifier.is_some() && is != self.system_identifier {
            return Some(Missing::Never(format!("its system identifier is {}", answer.system_identifier)));
        }
        match self.goal {
            Goal::Streaming => self.not_streaming(answer),
            Goal::Consistent => self.not_past(answer.replayed.as_deref()),
        }
    }

    fn not_streaming(&self, answer: &Answer) -> Option<Missing> {
        let receiver = answer.receiver.clone().unwrap_or_default();
        if receiver.status.as_deref() != Some("streaming") {
            let status =
                receiver.status.map_or("it has no WAL receiver".into(), |is| format!("its WAL receiver is {is}"));
            return Some(Missing::NotYet(format!("it does not stream ({status})")));
        }
        if let Some(slot) = self.slot.as_ref().filter(|slot| receiver.slot_name.as_ref() != Some(slot)) {
            let is = receiver.slot_name.unwrap_or_default();
            return Some(Missing::Never(format!("it streams by the slot `{is}` and not by `{slot}`")));
        }
        if let Some(sender) = self.another_sender(&receiver) {
            return Some(Missing::Never(format!("it streams from {sender}")));
        }
        // Commits are held back on purpose; that the WAL is there must do.
        let held_back = answer.delay.trim_start_matches('0').starts_with(|c: char| c.is_ascii_digit());
        self.not_past(if held_back { answer.received.as_deref() } else { answer.replayed.as_deref() })
    }

    fn not_past(&self, at: Option<&str>) -> Option<Missing> {
        let past = self.past?;
        match at.map(str::parse::<Lsn>) {
            Some(Ok(at)) if at >= past => None,
            Some(Ok(at)) => Some(Missing::NotYet(format!("it has replayed up to {at}, but not to {past}"))),
            _ => Some(Missing::NotYet(format!("it has replayed nothing yet, but must up to {past}"))),
        }
    }

    /// Whom it streams from, if that is none of the hosts it was told. Known from version 11 on.
    fn another_sender(&self, receiver: &Receiver) -> Option<String> {
        let upstream = self.upstream.as_ref()?;
        let (host, port) = (receiver.sender_host.as_deref()?, receiver.sender_port?.to_string());
        let listed =
            |key: &str, value: &str| upstream.get(key).is_none_or(|list| list.split(',').any(|one| one == value));
        let known = listed("host", host) || (upstream.get("hostaddr").is_some() && listed("hostaddr", host));
        (!known || !listed("port", &port)).then(|| format!("{host}:{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Answer {
        Answer {
            in_recovery: true,
            system_identifier: "42".into(),
            receiver: Some(Receiver {
                status: Some("streaming".into()),
                slot_name: Some("reseed_1".into()),
                sender_host: Some("10.0.0.1".into()),
                sender_port: Some(5432),
            }),
            replayed: Some("0/5000000".into()),
            received: Some("0/6000000".into()),
            delay: "0".into(),
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            goal: Goal::Streaming,
            system_identifier: Some(42),
            past: Some("0/4FFFFFF".parse().unwrap()),
            slot: Some("reseed_1".into()),
            upstream: Conninfo::parse("host=10.0.0.2,10.0.0.1 port=5432").ok(),
        }
    }

    fn said(change: impl Fn(&mut Answer)) -> String {
        let mut answer = good();
        change(&mut answer);
        match wanted().missing(&answer) {
            None => "proven".into(),
            Some(Missing::NotYet(text)) => format!("wait: {text}"),
            Some(Missing::Never(text)) => format!("never: {text}"),
        }
    }

    #[test]
    fn nothing_less_than_all_is_a_proof() {
        assert_eq!(said(|_| ()), "proven");
        assert_eq!(said(|a| a.in_recovery = false), "never: it is a primary, not in recovery");
        assert_eq!(said(|a| a.system_identifier = "7".into()), "never: its system identifier is 7");
        assert_eq!(said(|a| a.receiver = None), "wait: it does not stream (it has no WAL receiver)");
        assert_eq!(
            said(|a| a.replayed = Some("0/4000000".into())),
            "wait: it has replayed up to 0/4000000, but not to 0/4FFFFFF"
        );
        assert!(said(|a| a.replayed = None).starts_with("wait: it has replayed nothing yet"));
        let receiver = |change: fn(&mut Receiver)| said(move |a| a.receiver.iter_mut().for_each(change));
        assert_eq!(
            receiver(|r| r.status = Some("waiting".into())),
            "wait: it does not stream (its WAL receiver is waiting)"
        );
        assert_eq!(receiver(|r| r.slot_name = None), "never: it streams by the slot `` and not by `reseed_1`");
        assert_eq!(receiver(|r| r.sender_host = Some("10.0.0.3".into())), "never: it streams from 10.0.0.3:5432");
        assert_eq!(receiver(|r| r.sender_port = Some(5433)), "never: it streams from 10.0.0.1:5433");
        assert_eq!(receiver(|r| r.sender_host = None), "proven", "version 10 does not tell");
    }

    #[test]
    fn a_standby_that_must_only_serve_needs_nobody_to_stream_from() {
        let wanted = Wanted { goal: Goal::Consistent, past: Some(Lsn(0x100)), ..Wanted::default() };
        let answer = |replayed: &str| Answer {
            in_recovery: true,
            replayed: Some(replayed.to_owned()),
            delay: "0".to_owned(),
            ..Answer::default()
        };
        assert_eq!(wanted.missing(&answer("0/100")), None);
        assert!(matches!(wanted.missing(&answer("0/FF")), Some(Missing::NotYet(_))));
        let primary = Answer { in_recovery: false, ..answer("0/100") };
        assert!(matches!(wanted.missing(&primary), Some(Missing::Never(_))));
    }

    #[test]
    fn a_delayed_standby_is_proven_by_what_it_received() {
        let delayed = |a: &mut Answer| {
            a.delay = "1h".into();
            a.replayed = Some("0/1".into());
        };
        assert_eq!(said(delayed), "proven");
    }

    #[test]
    fn the_answer_of_a_server_is_read() {
        let json = r#"{"in_recovery" : true, "system_identifier" : "7711481021269320723", "receiver" : {"pid": 12,
            "status": "streaming", "slot_name": "s", "sender_host": "/tmp", "sender_port": 5433, "latest_end_lsn": "0/3"},
            "replayed" : "0/3000148", "received" : null, "delay" : "0"}"#;
        let answer: Answer = serde_json::from_str(json).unwrap();
        assert_eq!(answer.receiver.unwrap().sender_port, Some(5433));
    }
}
