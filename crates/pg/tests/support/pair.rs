//! A primary, a standby, and the pipeline files between them.

use std::time::Duration;

use reseed_lab::{Lab, Major, PrimaryOptions, Server};

use super::{Ran, run};

/// How long a standby may take to replay what was written.
pub const CATCH_UP: Duration = Duration::from_secs(30);

/// A primary, and the place of its standby.
pub struct Pair {
    pub lab: Lab,
    pub primary: Server,
    pub standby: Server,
    /// Keys of the stage pg-configure besides the usual.
    pub configure: String,
    /// Keys of the stage pg-switch or pg-start.
    pub last: String,
    /// How the primary is reached.
    pub conninfo: String,
}

impl Pair {
    pub fn new(major: &Major, options: &PrimaryOptions) -> Self {
        let lab = Lab::new().unwrap();
        let primary = Server::primary(&lab, "primary", major, lab.path("primary/it's data"), options).unwrap();
        let standby = Server::place(&lab, "standby", major, lab.path("standby/my data")).unwrap();
        std::fs::create_dir_all(lab.path("standby")).unwrap();
        primary.fill(1).unwrap();
        let conninfo = primary.conninfo();
        Self { lab, primary, standby, configure: String::new(), last: "timeout = \"60s\"".into(), conninfo }
    }

    fn clusters(&self) -> String {
        let standby = &self.standby;
        format!(
            "name = \"t\"\n[clusters.primary]\nconninfo = \"{}\"\n[clusters.standby]\ndata_directory = \"{}\"\n\
             bin_directory = \"{}\"\nservice = {{ use = \"pg-ctl\" }}\n",
            self.conninfo,
            standby.data,
            standby.programs.display()
        )
    }

    fn stages(&self, copy: &str) -> String {
        let stages = [
            "use = \"pg-quiesce\"\ncluster = \"primary\"".to_owned(),
            format!("use = \"directory-copy\"\ninto = \"{}\"", self.lab.path("copies")),
            "use = \"pg-release\"".to_owned(),
            format!("use = \"directory-take\"\n{copy}"),
            format!(
                "use = \"pg-configure\"\ncluster = \"standby\"\n{}\n[stage.settings]\nport = {}\n\
                 unix_socket_directories = \"{}\"\nlogging_collector = false",
                self.configure, self.standby.port, self.standby.sockets
            ),
        ];
        stages.map(|stage| format!("[[stage]]\n{stage}\n")).concat()
    }

    /// Stop at the end, switch.
    pub fn switching(&self) -> String {
        let switch = format!("[[stage]]\nuse = \"pg-switch\"\ncluster = \"standby\"\n{}\n", self.last);
        self.clusters() + &self.stages("") + &switch
    }

    /// Stop first, received over the live data.
    pub fn in_place(&self) -> String {
        let stop = "[[stage]]\nuse = \"pg-stop\"\ncluster = \"standby\"\n";
        let start = format!("[[stage]]\nuse = \"pg-start\"\ncluster = \"standby\"\n{}\n", self.last);
        self.clusters() + stop + &self.stages("over = true") + &start
    }

    /// A standby that streams, made by the stages themselves.
    pub async fn seed(&self) -> Ran {
        let ran = run(&self.switching()).await.expect(0);
        self.agrees();
        ran
    }

    /// That the standby streams and has the primary's rows.
    #[track_caller]
    pub fn agrees(&self) {
        self.standby.catch_up(&self.primary, CATCH_UP).unwrap();
        assert!(self.standby.streams());
        assert_eq!(self.primary.rows().unwrap(), self.standby.rows().unwrap());
    }

    /// Changes settings of the primary and its `pg_hba.conf`, where the superuser's socket stays open.
    pub fn reconfigure(&self, settings: &[(&str, &str)], hba: &str) {
        for (name, value) in settings {
            self.primary.sql(&format!("alter system set {name} = '{value}'")).unwrap();
        }
        std::fs::write(format!("{}/pg_hba.conf", self.primary.data), format!("local all postgres trust\n{hba}"))
            .unwrap();
        self.primary.reload().unwrap();
    }

    pub fn slots(&self) -> Vec<String> {
        let slots = self.primary.sql("select slot_name from pg_replication_slots where active order by 1").unwrap();
        let all = self.primary.sql("select slot_name from pg_replication_slots order by 1").unwrap();
        assert_eq!(slots, all, "every slot is in use");
        all.lines().map(str::to_owned).collect()
    }

    pub fn conf(&self, name: &str) -> String {
        std::fs::read_to_string(format!("{}/{name}", self.standby.data)).unwrap()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Also after a failed test; a server that is down already is fine.
        drop(self.standby.stop());
        drop(self.primary.stop());
    }
}
