//! A PostgreSQL standby between the machines: seeded, reset, reset again, and in place; by a user
//! without rights of root on the primary and by `sudo` on the standby.

use reseed_tests::run::{Ended, Trial};
use reseed_tests::vms::{PATIENCE, SENDER, Vm, Vms};

/// Where Debian has the server's programs.
const PROGRAMS: &str = "/usr/lib/postgresql/17/bin";
/// Rights of the primary's user, as the hint of `check` names them.
const RIGHTS: &str = "snapshot,send,hold,release,bookmark,destroy,mount,userprop";

/// Makes a primary with a table, and the role that a standby follows by.
const PRIMARY: &str = r#"cd /
PATH=$PATH:/usr/lib/postgresql/17/bin
initdb -g -A trust -U postgres --no-locale -E UTF8 -N -D /tank/pg/data >/dev/null
cat >>/tank/pg/data/postgresql.conf <<'CONF'
listen_addresses = '*'
shared_buffers = 32MB
max_connections = 40
log_min_messages = info
CONF
echo 'host all,replication replicator 10.0.0.0/8 trust' >>/tank/pg/data/pg_hba.conf
pg_ctl start -w -s -l /tmp/primary.log -D /tank/pg/data
psql -X -q -U postgres -v ON_ERROR_STOP=1 postgres <<'SQL'
create role replicator login replication;
grant pg_monitor, pg_checkpoint to replicator;
grant execute on function pg_backup_start(text, boolean), pg_backup_stop(boolean) to replicator;
create table rows (id bigint primary key, text text);
SQL
"#;

struct Scene {
    vms: Vms,
    rows: u32,
}

impl Scene {
    fn new() -> Self {
        let vms = Vms::start();
        vms.root(
            Vm::Primary,
            &format!(
                "zfs create -o mountpoint=/tank/pg -o recordsize=16k tank/pg && chown postgres: /tank/pg \
                 && zfs allow -u {SENDER} {RIGHTS} tank/pg && usermod -aG postgres {SENDER}"
            ),
        );
        vms.sh(Vm::Primary, "postgres", PRIMARY);
        Self { vms, rows: 0 }
    }

    fn sql(&self, vm: Vm, sql: &str) -> String {
        self.vms.sh(
            vm,
            "postgres",
            &format!("cd / && psql -X -At -q -U postgres -h /var/run/postgresql -c \"{sql}\" postgres"),
        )
    }

    fn write(&mut self) {
        let from = self.rows + 1;
        self.rows += 20_000;
        let sql = format!("insert into rows select n, md5(n::text) from generate_series({from}, {}) n", self.rows);
        self.sql(Vm::Primary, &sql);
    }

    fn file(&self, in_place: bool) -> String {
        let (stop, receive, start) = match in_place {
            false => (
                "",
                "into = \"tank/reseed\"\n[[stage]]\nuse = \"zfs-clone\"\nas = \"tank/pg\"\n",
                "[[stage]]\nuse = \"pg-switch\"\ncluster = \"standby\"\nkeep_old = \"0s\"\n",
            ),
            true => (
                "[[stage]]\nuse = \"pg-stop\"\ncluster = \"standby\"\n",
                "over = \"tank/pg\"\nrollback = true\n",
                "[[stage]]\nuse = \"pg-start\"\ncluster = \"standby\"\n",
            ),
        };
        let (hosts, port) = (self.vms.hosts(SENDER), self.vms.postgres(Vm::Primary));
        format!(
            "name = \"reset-standby\"\n{hosts}\n\
             [clusters.primary]\nhost = \"primary\"\n\
             conninfo = \"host=127.0.0.1 port={port} user=replicator dbname=postgres\"\n\
             [clusters.standby]\nhost = \"standby\"\ndata_directory = \"/tank/pg/data\"\nbin_directory = \"{PROGRAMS}\"\n\
             {stop}\
             [[stage]]\nuse = \"pg-quiesce\"\ncluster = \"primary\"\n\
             [[stage]]\nuse = \"zfs-snapshot\"\non = \"primary\"\n\
             [[stage]]\nuse = \"pg-release\"\n\
             [[stage]]\nuse = \"zfs-send\"\n\
             [[stage]]\nuse = \"zstd\"\nlevel = 1\n\
             [[stage]]\nuse = \"ssh-transfer\"\n\
             [[stage]]\nuse = \"zfs-receive\"\non = \"standby\"\n{receive}\
             [[stage]]\nuse = \"pg-configure\"\ncluster = \"standby\"\n\
             primary_conninfo = \"host=10.77.0.1 user=replicator dbname=postgres\"\n\
             {start}"
        )
    }

    async fn succeed(&mut self, in_place: bool) -> Ended {
        self.write();
        let ended = Trial::of(&self.file(in_place)).patience(PATIENCE).run().await;
        ended.must_be_done();
        println!("{}", ended.summary());
        self.write();
        self.judge();
        ended
    }

    /// The standby streams, and soon has every row.
    #[track_caller]
    fn judge(&self) {
        let sums = "select count(*), md5(string_agg(text, '' order by id)) from rows";
        let lsn = self.sql(Vm::Primary, "select pg_current_wal_lsn()");
        let there = format!(
            "select pg_is_in_recovery() and pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn \
                             and exists (select from pg_stat_wal_receiver where status = 'streaming')"
        );
        let waited = std::time::Instant::now();
        while self.sql(Vm::Standby, &there) != "t" {
            assert!(waited.elapsed() < PATIENCE, "the standby does not follow");
        }
        assert_eq!(self.sql(Vm::Standby, sums), self.sql(Vm::Primary, sums));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_seeded_and_reset_and_reset_again_and_then_in_place() {
    let mut scene = Scene::new();
    let seed = scene.succeed(false).await.report;
    assert!(seed.full && seed.from_guid.is_none() && seed.downtime_seconds.is_none());
    assert!(seed.wire_bytes > 0, "{seed:?}");
    let mut before = seed;
    for _ in 0..2 {
        let reset = scene.succeed(false).await.report;
        assert!(!reset.full, "{reset:?}");
        assert_eq!(reset.from_guid, before.to_guid, "an increment starts where the last run arrived");
        before = reset;
    }
    // Nothing that was received can be mounted over something or run setuid.
    let told = scene.vms.root(Vm::Standby, "zfs get -H -o value readonly,canmount,setuid,mounted tank/reseed/pg");
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), ["on", "noauto", "off", "no"]);
    let told = scene.vms.root(Vm::Standby, "zfs get -H -o value,source mountpoint tank/reseed/pg");
    assert_eq!(told, "none\tinherited from tank/reseed");
    // In place begins a chain of its own: what is live now is a clone, and holds the same snapshots.
    let over = scene.succeed(true).await.report;
    let again = scene.succeed(true).await.report;
    assert!(!again.full, "{again:?}");
    assert_eq!(again.from_guid, over.to_guid);
}
