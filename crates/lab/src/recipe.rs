//! Pipeline files for a [`Pair`].

use std::fmt::Write;

use crate::{Pair, Pool, Server, Spread, Storage};

/// How the copy takes the place of what was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Switch {
    /// Received beside the live data and cloned: down for a moment.
    #[default]
    Clone,
    /// Stopped first, received over the live data: the classic order. ZFS alone can do it.
    InPlace,
}

/// Where reseed runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seat {
    /// On the standby.
    #[default]
    Standby,
    /// On the primary.
    Primary,
    /// On a third machine.
    Third,
}

/// What a pipeline file for a pair shall be.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// The pipeline's name.
    pub name: String,
    /// How the copy takes its place.
    pub switch: Switch,
    /// Where it runs.
    pub seat: Seat,
    /// Whether the stream is compressed on the wire.
    pub compress: bool,
    /// Further lines for a stage, by its name: `("pg-quiesce", "mode = \"backup\"")`.
    pub extra: Vec<(&'static str, String)>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            name: "reset-standby".to_owned(),
            switch: Switch::Clone,
            seat: Seat::Standby,
            compress: true,
            extra: vec![],
        }
    }
}

impl Recipe {
    /// The same with one more line for a stage.
    pub fn with(mut self, stage: &'static str, line: impl Into<String>) -> Self {
        self.extra.push((stage, line.into()));
        self
    }

    fn hosts(&self) -> (bool, bool) {
        (self.seat != Seat::Primary, self.seat != Seat::Standby)
    }
}

impl Pair {
    /// The pipeline file that brings this pair's standby to a fresh snapshot of its primary.
    pub fn pipeline(&self, recipe: &Recipe) -> String {
        let mut text = format!("name = \"{}\"\n\n", recipe.name);
        let (far_primary, far_standby) = if self.sshd.is_some() { recipe.hosts() } else { (false, false) };
        for (name, far) in [("primary", far_primary), ("standby", far_standby)] {
            text.push_str(&if far { self.far_host(name) } else { String::new() });
        }
        text.push_str(&cluster("primary", far_primary, &format!("conninfo = \"{}\"\n", self.primary.conninfo())));
        text.push_str(&cluster("standby", far_standby, &place(&self.standby)));
        for (stage, lines) in self.stages(recipe, far_primary, far_standby) {
            let extra = recipe.extra.iter().filter(|(name, _)| *name == stage).map(|(_, line)| format!("{line}\n"));
            let _ = write!(text, "[[stage]]\nuse = \"{stage}\"\n{lines}{}\n", extra.collect::<String>());
        }
        text
    }

    fn far_host(&self, name: &str) -> String {
        let Some(sshd) = &self.sshd else { return String::new() };
        format!(
            "[hosts.{name}]\nuse = \"ssh\"\naddress = \"root@127.0.0.1\"\nport = {}\nidentity_file = \"{}\"\n\
             known_hosts = \"{}\"\n\n",
            sshd.port, sshd.identity_file, sshd.known_hosts
        )
    }

    fn stages(&self, recipe: &Recipe, far_primary: bool, far_standby: bool) -> Vec<(&'static str, String)> {
        let on = |name: &str, far: bool| if far { format!("on = \"{name}\"\n") } else { String::new() };
        let cluster = |name: &str| format!("cluster = \"{name}\"\n");
        let settings = format!(
            "{}settings = {{ port = {}, unix_socket_directories = \"{}\" }}\n{}",
            cluster("standby"),
            self.standby.port,
            self.standby.sockets,
            self.places(&self.b)
        );
        let mut stages = match self.sending() {
            Some((snapshot, send)) => vec![
                ("pg-quiesce", cluster("primary")),
                (snapshot, on("primary", far_primary)),
                ("pg-release", String::new()),
                (send, String::new()),
            ],
            None => vec![("pg-basebackup", format!("{}standby = \"standby\"\n", cluster("primary")))],
        };
        if self.sshd.is_some() {
            stages.extend(recipe.compress.then(|| ("zstd", "level = 3\n".to_owned())));
            stages.push(("ssh-transfer", String::new()));
        }
        stages.extend(self.receiving(&self.b, recipe.switch, &on("standby", far_standby)));
        stages.push(("pg-configure", settings));
        if recipe.switch == Switch::InPlace {
            stages.insert(0, ("pg-stop", cluster("standby")));
            stages.push(("pg-start", cluster("standby")));
        } else {
            stages.push(("pg-switch", cluster("standby")));
        }
        stages
    }

    /// Names of the stages that take and send snapshots, where the storage has any.
    pub(crate) fn sending(&self) -> Option<(&'static str, &'static str)> {
        match self.storage {
            Storage::Zfs => Some(("zfs-snapshot", "zfs-send")),
            Storage::Btrfs => Some(("btrfs-snapshot", "btrfs-send")),
            Storage::Directories => None,
        }
    }

    /// The stages from the received stream to what can be configured.
    pub(crate) fn receiving(&self, pool: &Pool, switch: Switch, on: &str) -> Vec<(&'static str, String)> {
        let (into, live) = (pool.dataset("reseed"), pool.dataset("pgsql"));
        match (self.storage, switch) {
            (Storage::Zfs, Switch::Clone) => vec![
                ("zfs-receive", format!("{on}into = \"{into}\"\n")),
                ("zfs-clone", format!("as = \"{live}\"\n{}", self.names(pool))),
            ],
            (Storage::Zfs, Switch::InPlace) => {
                vec![("zfs-receive", format!("{on}over = \"{live}\"\nrollback = true\n{}", self.names(pool)))]
            }
            (Storage::Btrfs, _) => {
                vec![("btrfs-receive", format!("{on}into = \"{into}\"\n")), ("btrfs-clone", String::new())]
            }
            (Storage::Directories, _) => {
                let store = format!("{}.reseed", self.standby.data);
                vec![("dir-receive", format!("cluster = \"standby\"\ninto = \"{store}\"\n"))]
            }
        }
    }
}

impl Pair {
    /// Names on the standby of datasets that are apart.
    fn names(&self, pool: &Pool) -> String {
        if self.spread == Spread::One {
            return String::new();
        }
        let pair = |name: &str| format!("\"{}\" = \"{}\"", self.a.dataset(name), pool.dataset(name));
        format!("map = {{ {}, {} }}\n", pair("wal"), pair("space"))
    }

    /// Where what is apart goes on the standby.
    pub(crate) fn places(&self, pool: &Pool) -> String {
        if self.spread == Spread::One {
            return String::new();
        }
        let (wal, from, to) = (pool.path("wal/pg_wal"), self.a.path("space/files"), pool.path("space/files"));
        format!("wal_directory = \"{wal}\"\ntablespace_mapping = {{ \"{from}\" = \"{to}\" }}\n")
    }
}

fn cluster(name: &str, far: bool, lines: &str) -> String {
    let host = if far { format!("host = \"{name}\"\n") } else { String::new() };
    format!("[clusters.{name}]\n{host}{lines}\n")
}

pub(crate) fn place(standby: &Server) -> String {
    format!("data_directory = \"{}\"\nbin_directory = \"{}\"\n", standby.data, standby.programs.display())
}
