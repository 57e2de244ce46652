//! The demo's acts by way of a repository: put and get apart, and at last a standby without a primary.

use reseed_lab::{Aim, Pair, Repository, Server, Switch};
use tokio::task::block_in_place;

use super::play::{RATE, Stop, compare, pool_bytes, run, settled, write_on};
use super::tell::{self, Findings};
use super::{Cancel, DemoArgs, Via};

/// The pipeline files between which a repository stands, and what they work on.
pub(super) struct Staging {
    repository: Repository,
    /// A standby that never sees the primary.
    pub(super) alone: Server,
    put: String,
    get: String,
    get_alone: String,
}

impl Staging {
    /// Makes the repository and the place of a second standby.
    pub(super) fn set_up(args: &DemoArgs, pair: &Pair) -> Result<Self, Stop> {
        let repository = match args.via {
            Via::S3 => Repository::in_bucket(&pair.lab)?,
            Via::File | Via::Direct => Repository::in_directory(&pair.lab)?,
        };
        let third = pair.storage.pool(&pair.lab, "c", pool_bytes(args))?;
        let alone = Server::place(&pair.lab, "alone", &pair.primary.major, third.path("pgsql/data"))?;
        let put = pair.put_pipeline(&repository.table);
        let put = put.ok_or_else(|| Stop::Disagree("this storage sends no snapshots".to_owned()))?;
        let aim = Aim { pool: &pair.b, standby: &pair.standby, switch: Switch::Clone, follows: true };
        let get = pair.get_pipeline(&repository.table, aim);
        let aim = Aim { pool: &third, standby: &alone, follows: false, ..aim };
        let get_alone = pair.get_pipeline(&repository.table, aim).replacen("seed-from-offsite", "seed-alone", 1);
        Ok(Self { repository, alone, put, get, get_alone })
    }

    /// The pipeline files by their names.
    pub(super) fn files(&self) -> Vec<(&'static str, &str)> {
        vec![("put.toml", &self.put), ("get.toml", &self.get), ("alone.toml", &self.get_alone)]
    }

    /// Leaves what is behind the repository running.
    pub(super) fn keep(self) {
        self.repository.keep();
    }

    /// Plays all acts.
    pub(super) async fn play(&self, pair: &Pair, findings: &mut Findings, cancel: &Cancel) -> Result<(), Stop> {
        let load = pair.primary.load(RATE)?;
        tell::act("1: the whole primary is put into the repository, while it is written to");
        self.put(findings, cancel).await?;
        tell::act("2: a standby is seeded from the repository, and then follows the primary");
        findings.seed = Some(run(&self.get, cancel).await?);
        settled(findings.seed.as_ref())?;
        block_in_place(|| write_on(&pair.primary, cancel))?;
        tell::act("3: what has changed since is put: an increment");
        self.put(findings, cancel).await?;
        tell::act("4: the standby is reset from the repository, which sends only what it lacks");
        findings.reset = Some(run(&self.get, cancel).await?);
        settled(findings.reset.as_ref())?;
        block_in_place(|| compare(pair, load, findings))?;
        self.without_primary(pair, findings, cancel).await
    }

    async fn without_primary(&self, pair: &Pair, findings: &mut Findings, cancel: &Cancel) -> Result<(), Stop> {
        tell::act("5: the last increment, and then the primary is stopped");
        self.put(findings, cancel).await?;
        block_in_place(|| pair.primary.stop())?;
        tell::act("6: another standby is seeded from the repository alone");
        findings.alone.seed = Some(run(&self.get_alone, cancel).await?);
        settled(findings.alone.seed.as_ref())?;
        block_in_place(|| self.answers(findings))
    }

    async fn put(&self, findings: &mut Findings, cancel: &Cancel) -> Result<(), Stop> {
        let report = run(&self.put, cancel).await?;
        findings.puts.push(report.clone());
        settled(Some(&report))
    }

    /// The standby without a primary answers, takes no writes and has every row.
    fn answers(&self, findings: &mut Findings) -> Result<(), Stop> {
        let rows = self.alone.rows()?;
        let alone = &mut findings.alone;
        alone.rows = Some(rows);
        alone.serving = self.alone.sql("select pg_is_in_recovery()")? == "t";
        if !alone.serving || Some(rows) != findings.rows_primary {
            let state = if alone.serving { "serves" } else { "is no standby" };
            let wanted = findings.rows_primary.unwrap_or_default();
            return Err(Stop::Disagree(format!("the copy without a primary {state} and has {rows} rows of {wanted}")));
        }
        Ok(())
    }
}
