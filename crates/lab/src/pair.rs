//! A primary on one pool and the place of its standby on another, with SSH between them.

use std::path::Path;

use crate::process::User;
use crate::{FarPath, Lab, Major, Pool, PrimaryOptions, Result, Server, Sshd, Storage};

/// How the cluster is spread over datasets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spread {
    /// Everything on one dataset.
    #[default]
    One,
    /// `pg_wal` and a tablespace on datasets of their own.
    Apart,
}

/// What a pair is made of.
#[derive(Debug, Clone)]
pub struct PairOptions {
    /// What both sides lie on.
    pub storage: Storage,
    /// PostgreSQL's major version.
    pub major: Major,
    /// Scale of pgbench's tables: about 15 MB each.
    pub scale: u32,
    /// Upper limit of each pool in bytes.
    pub pool_bytes: u64,
    /// How the cluster is spread.
    pub spread: Spread,
    /// Lines of `postgresql.conf` of the primary.
    pub settings: Vec<String>,
    /// What the far side of SSH finds in its PATH.
    pub far_path: FarPath,
}

impl PairOptions {
    /// A small pair.
    pub fn small(major: Major) -> Self {
        Self {
            storage: Storage::default(),
            major,
            scale: 2,
            pool_bytes: 3 << 30,
            spread: Spread::One,
            settings: vec![],
            far_path: FarPath::Usual,
        }
    }
}

/// A running primary and the place where its standby will be.
#[derive(Debug)]
pub struct Pair {
    /// What both sides lie on.
    pub storage: Storage,
    /// How the cluster is spread.
    pub spread: Spread,
    /// The primary, on pool `a`.
    pub primary: Server,
    /// Where the standby is to be: on pool `b`.
    pub standby: Server,
    /// The primary's pool.
    pub a: Pool,
    /// The standby's pool.
    pub b: Pool,
    /// The way from one to the other, for storages whose snapshots are sent.
    pub sshd: Option<Sshd>,
    /// What all of it lies in; goes last.
    pub lab: Lab,
}

impl Pair {
    /// Makes pools, primary, its data and the way to it.
    ///
    /// # Errors
    /// When any part can't be made.
    pub fn new(options: &PairOptions) -> Result<Self> {
        let lab = Lab::new()?;
        let pool = |letter| options.storage.pool(&lab, letter, options.pool_bytes);
        let (a, b) = (pool("a")?, pool("b")?);
        let (primary, standby) = Self::servers(&lab, options, &a, &b)?;
        let sshd = match options.storage {
            Storage::Directories => None,
            Storage::Zfs | Storage::Btrfs => Some(Sshd::in_lab(&lab, &options.far_path)?),
        };
        Ok(Self { storage: options.storage, spread: options.spread, primary, standby, a, b, sshd, lab })
    }

    fn servers(lab: &Lab, options: &PairOptions, a: &Pool, b: &Pool) -> Result<(Server, Server)> {
        let apart = options.spread == Spread::Apart;
        let names = if apart { &["pgsql", "wal", "space"][..] } else { &["pgsql"] };
        for name in names {
            a.create(name, &["recordsize=16k"])?;
            User::of_servers()?.own(Path::new(&a.path(name)))?;
        }
        if options.storage == Storage::Directories {
            b.create("pgsql", &[])?;
            User::of_servers()?.own(Path::new(&b.path("pgsql")))?;
        }
        let primary = PrimaryOptions {
            wal_directory: apart.then(|| a.path("wal/pg_wal")),
            settings: options.settings.clone(),
            ..PrimaryOptions::default()
        };
        let primary = Server::primary(lab, "primary", &options.major, a.path("pgsql/data"), &primary)?;
        primary.fill(options.scale)?;
        if apart {
            primary.tablespace("apart", &a.path("space/files"))?;
            primary.sql("alter table pgbench_accounts set tablespace apart")?;
        }
        let standby = Server::place(lab, "standby", &options.major, b.path("pgsql/data"))?;
        Ok((primary, standby))
    }
}
