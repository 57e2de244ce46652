//! A primary under load and the place of its standby, in plain directories.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use reseed_core::host::Host;
use reseed_core::item::{Body, Item, Payload, StreamItem};
use reseed_core::stage::{CheckCx, Claim, Stage, StageCx};
use reseed_core::stream::{BoxStream, ByteStream};
use reseed_core::{Kind, Mismatch, Result};
use reseed_lab::{FarPath, Lab, Load, Major, PrimaryOptions, Server, Sshd, Tool, User, installed_majors, is_root};
use reseed_tests::run::{Ended, Trial};
use tokio_util::sync::CancellationToken;

/// How long a standby may take to replay what was written.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Transactions a second on the primary.
const LOAD: u32 = 100;

/// Whether real servers can be run here.
fn can_run() -> bool {
    let able = is_root() && Major::newest().is_ok();
    assert!(able || std::env::var_os("CI").is_none(), "nothing may be skipped in CI");
    if !able {
        println!("skipped: needs root and PostgreSQL");
    }
    able
}

/// Every version that is installed.
pub fn majors() -> Vec<Major> {
    if can_run() { installed_majors().into_values().collect() } else { vec![] }
}

/// One version, if it is installed.
pub fn major(number: u32) -> Option<Major> {
    let found = can_run().then(|| installed_majors().remove(&number)).flatten();
    if found.is_none() {
        println!("skipped: needs PostgreSQL {number}");
    }
    found
}

/// The two servers and the pipeline file between them.
pub struct Scene {
    pub primary: Server,
    pub standby: Server,
    load: Option<Load>,
    /// Keys of the stage dir-receive besides the usual.
    pub receive: String,
    /// Keys of the stage pg-configure.
    configure: String,
    /// Keys of the stage pg-switch.
    pub last: String,
    /// What is to be replaced in the pipeline file, and by what.
    pub edit: Vec<(String, String)>,
    /// The way to this machine as if it were another.
    sshd: Option<Sshd>,
    pub lab: Lab,
}

impl Scene {
    pub fn of(major: Major) -> Self {
        let lab = Lab::new().unwrap();
        let settings = if major.number >= 17 { vec!["summarize_wal = on".to_owned()] } else { vec![] };
        let options = PrimaryOptions { settings, ..PrimaryOptions::default() };
        let primary = Server::primary(&lab, "primary", &major, lab.path("primary/it's data"), &options).unwrap();
        let standby = Server::place(&lab, "standby", &major, lab.path("standby/data")).unwrap();
        std::fs::create_dir_all(lab.path("standby")).unwrap();
        User::named("postgres").unwrap().own(Path::new(&lab.path("standby"))).unwrap();
        primary.fill(2).unwrap();
        primary.sql("create extension if not exists amcheck").unwrap();
        let load = Some(primary.load(LOAD).unwrap());
        Self {
            primary,
            standby,
            load,
            receive: String::new(),
            configure: String::new(),
            last: "timeout = \"60s\"".into(),
            edit: vec![],
            sshd: None,
            lab,
        }
    }

    /// The store of reseed.
    pub fn store_path(&self) -> String {
        format!("{}.reseed", self.standby.data)
    }

    pub fn pipeline(&self) -> String {
        self.edit.iter().fold(self.usual(), |text, (from, to)| text.replacen(from, to, 1))
    }

    /// Lets nobody in by TCP without a password, and gives one to the standby that will be.
    pub fn ask_for_a_password(&mut self) {
        self.primary.sql(r"alter role replicator password 'it''s: a\secret'").unwrap();
        let hba = format!("{}/pg_hba.conf", self.primary.data);
        let own = std::fs::read_to_string(&hba).unwrap();
        std::fs::write(&hba, format!("host all,replication replicator 127.0.0.1/32 scram-sha-256\n{own}")).unwrap();
        self.primary.reload().unwrap();
        // A file of the servers' user: a password is never written to the standby's configuration.
        let passfile = self.lab.path("standby/pgpass");
        std::fs::write(&passfile, "*:*:*:*:it's\\: a\\\\secret\n").unwrap();
        std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(0o600)).unwrap();
        User::named("postgres").unwrap().own(Path::new(&passfile)).unwrap();
        let conninfo = format!("{} passfile={passfile}", self.primary.conninfo());
        self.configure = format!("primary_conninfo = \"{conninfo}\"");
    }

    /// What makes the standby's machine one that is reached by SSH.
    pub fn far_standby(&mut self) -> (String, String) {
        let sshd = Sshd::in_lab(&self.lab, &FarPath::Usual).unwrap();
        let host = format!(
            "[hosts.far]\nuse = \"ssh\"\naddress = \"root@127.0.0.1\"\nport = {}\nidentity_file = \"{}\"\n\
             known_hosts = \"{}\"\n[clusters.standby]\nhost = \"far\"\n",
            sshd.port, sshd.identity_file, sshd.known_hosts
        );
        self.sshd = Some(sshd);
        ("[clusters.standby]\n".to_owned(), host)
    }

    fn usual(&self) -> String {
        let (primary, standby) = (&self.primary, &self.standby);
        format!(
            "name = \"base\"\n[clusters.primary]\nconninfo = \"{}\"\n[clusters.standby]\ndata_directory = \"{}\"\n\
             bin_directory = \"{}\"\n[[stage]]\nuse = \"pg-basebackup\"\ncluster = \"primary\"\nstandby = \"standby\"\n\
             [[stage]]\nuse = \"dir-receive\"\ncluster = \"standby\"\ninto = \"{}\"\n{}\n\
             [[stage]]\nuse = \"pg-configure\"\ncluster = \"standby\"\n\
             settings = {{ port = {}, unix_socket_directories = \"{}\" }}\n{}\n\
             [[stage]]\nuse = \"pg-switch\"\ncluster = \"standby\"\n{}\n",
            primary.conninfo(),
            standby.data,
            standby.programs.display(),
            self.store_path(),
            self.receive,
            standby.port,
            standby.sockets,
            self.configure,
            self.last
        )
    }

    /// Runs it; the standby must be good afterwards.
    pub async fn succeed(&mut self) -> Ended {
        let before = self.primary.rows().unwrap();
        let begun = Instant::now();
        while self.primary.rows().unwrap() < before + 50 {
            assert!(begun.elapsed() < CATCH_UP, "the load writes nothing");
        }
        let ended = Trial::of(&self.pipeline()).run().await;
        ended.must_be_done();
        println!("{}", ended.summary());
        self.load = None;
        self.agrees();
        self.load = Some(self.primary.load(LOAD).unwrap());
        ended
    }

    /// The standby streams, has the primary's rows, and every index agrees with its table.
    #[track_caller]
    pub fn agrees(&self) {
        self.streams();
        self.standby.catch_up(&self.primary, CATCH_UP).unwrap();
        if self.load.is_none() {
            assert_eq!(self.primary.rows().unwrap(), self.standby.rows().unwrap());
        }
        if self.standby.major.number >= 14 {
            self.standby.client("pg_amcheck").args(["--heapallindexed", "postgres"]).run().unwrap();
        }
        let slots = self.slots();
        assert_eq!(slots.len(), 1, "one slot, of the standby: {slots:?}");
    }

    #[track_caller]
    fn streams(&self) {
        let begun = Instant::now();
        while !self.standby.streams() {
            assert!(begun.elapsed() < CATCH_UP, "the standby does not stream");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn slots(&self) -> Vec<String> {
        let slots = self.primary.sql("select slot_name from pg_replication_slots order by 1").unwrap();
        slots.lines().map(str::to_owned).collect()
    }

    /// Names in the store.
    pub fn store(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.store_path()).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    pub fn is_there(&self, name: &str) -> bool {
        Path::new(&self.lab.path(&format!("standby/{name}"))).exists()
    }

    /// The run is refused for this reason, with this hint, and nothing is touched.
    pub async fn refused(&self, text: &str, reason: &str, hint: &str) {
        let (before, served) = (State::of(self), self.standby.answers());
        let ended = Trial::of(text).run().await;
        assert_eq!(ended.report.exit_code(), 3, "{reason}\n{}", ended.story());
        let (error, told) = (ended.report.error.clone().unwrap(), ended.report.hint.clone().unwrap_or_default());
        assert!(error.contains(reason), "not about `{reason}`: {error}");
        assert!(told.contains(hint), "no `{hint}`: {told}");
        println!("{error}\n  hint: {told}");
        assert_eq!(State::of(self), before, "something was touched");
        assert_eq!(self.standby.answers(), served);
    }

    /// After a run that failed.
    #[track_caller]
    pub fn is_as_it_was(&self, before: &State, ended: &Ended) {
        self.streams();
        assert_eq!(State::of(self), *before, "{}", ended.story());
        self.agrees();
    }

    /// As if they had been removed for their age, those of the last backup first.
    pub fn remove_wal_summaries(&self) {
        self.primary.sql("checkpoint").unwrap();
        // What the server has yet to summarize would show no gap.
        let all = "select coalesce(max(end_lsn) >= (select redo_lsn from pg_control_checkpoint()), false) \
                   from pg_available_wal_summaries()";
        let begun = Instant::now();
        while self.primary.sql(all).unwrap() != "t" {
            assert!(begun.elapsed() < CATCH_UP, "the server does not summarize what it wrote");
        }
        for entry in std::fs::read_dir(format!("{}/pg_wal/summaries", self.primary.data)).unwrap().flatten() {
            if entry.path().is_file() {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        // A later one shows the gap.
        let later = "select count(*) from pg_available_wal_summaries()";
        let begun = Instant::now();
        while self.primary.sql(later).unwrap() == "0" {
            assert!(begun.elapsed() < CATCH_UP, "the server summarizes nothing");
            self.primary.sql("checkpoint").unwrap();
        }
    }

    /// Runs the program as the user that runs the servers; gives its last line.
    pub fn as_plain_user(&self) -> serde_json::Value {
        let (program, file) = (self.lab.path("reseed"), self.lab.path("base.toml"));
        std::fs::copy(reseed_tests::binary(), &program).unwrap();
        std::fs::write(&file, self.pipeline()).unwrap();
        let tool = Tool::new(program).as_user(&User::named("postgres").unwrap());
        let state = self.lab.path("state");
        Tool::new("install").args(["-d", "-m", "700", "-o", "postgres", &state]).run().unwrap();
        let tool = tool.args(["run", "--json", &file]).env("RESEED_STATE_DIR", &state);
        let output = tool.env("HOME", "/nowhere").env("USER", "postgres").output().unwrap();
        let (out, talk) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{talk}");
        serde_json::from_str(out.lines().last().unwrap()).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.load = None;
        // Also after a failed test; a server that is down already is fine.
        drop(self.standby.stop());
        drop(self.primary.stop());
    }
}

/// What a run that failed must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    slots: Vec<String>,
    sessions: String,
    names: BTreeSet<String>,
    store: Vec<String>,
    live: Option<u64>,
}

impl State {
    pub fn of(scene: &Scene) -> Self {
        let sessions = "select string_agg(application_name, ' ') from pg_stat_activity \
                        where application_name ~ '^reseed' and backend_type <> 'walreceiver'";
        let entries = std::fs::read_dir(scene.lab.path("standby")).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        Self {
            slots: scene.slots(),
            sessions: scene.primary.sql(sessions).unwrap(),
            names: names.filter(|name| !name.ends_with(".log")).collect(),
            store: scene.store(),
            live: std::fs::metadata(&scene.standby.data).ok().map(|found| found.ino()),
        }
    }
}

/// Kills the pg_basebackup that works on the server at this port.
pub fn kill_pg_basebackup(port: u16) {
    let mine = |cmdline: &str| cmdline.contains("pg_basebackup\0") && cmdline.contains(&format!("port={port}"));
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter(|process| {
        std::fs::read(process.path().join("cmdline")).is_ok_and(|cmdline| mine(&String::from_utf8_lossy(&cmdline)))
    });
    let pids: Vec<_> = pids.map(|process| process.file_name().to_string_lossy().into_owned()).collect();
    assert!(!pids.is_empty(), "no pg_basebackup runs");
    Tool::new("kill").arg("-KILL").args(pids).output().unwrap();
}

/// Changes one byte of the stream.
#[derive(Debug)]
pub struct Damaged(Arc<dyn Stage>);

impl Damaged {
    pub fn wrap(inner: Arc<dyn Stage>, _: CancellationToken) -> Arc<dyn Stage> {
        Arc::new(Self(inner))
    }
}

/// Changes one byte well inside the first big file.
struct Flip {
    inner: BoxStream,
    at: usize,
}

#[async_trait]
impl ByteStream for Flip {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(bytes) = self.inner.next().await? else { return Ok(None) };
        let mut bytes = bytes.to_vec();
        if let Some(byte) = bytes.get_mut(self.at) {
            *byte ^= 1;
        }
        self.at = self.at.wrapping_sub(bytes.len());
        Ok(Some(bytes.into()))
    }
}

#[async_trait]
impl Stage for Damaged {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn flow(&self, input: &Kind) -> Result<Kind, Box<Mismatch>> {
        self.0.flow(input)
    }

    fn claims(&self) -> Vec<Claim> {
        self.0.claims()
    }

    fn host(&self) -> Option<Arc<dyn Host>> {
        self.0.host()
    }

    async fn survey(&self, cx: &CheckCx) -> Result<()> {
        self.0.survey(cx).await
    }

    async fn check(&self, cx: &CheckCx) -> Result<()> {
        self.0.check(cx).await
    }

    async fn run(&self, input: Item, cx: &StageCx) -> Result<Item> {
        let mut item = self.0.run(input, cx).await?;
        if let Payload::Streams(streams) = &mut item.payload {
            let damaged = std::mem::take(streams).into_iter().map(|stream| {
                let StreamItem { header, body, pending, wrap, resume } = stream;
                let body = match body {
                    Body::Here(inner) => Body::Here(Box::new(Flip { inner, at: 5 << 20 })),
                    other => other,
                };
                StreamItem { header, body, pending, wrap, resume }
            });
            *streams = damaged.collect();
        }
        Ok(item)
    }
}
