//! Two virtual machines with today's OpenZFS; see `tests/lab/openzfs/lab`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use reseed_lab::{Lab, Tool};

/// The script that makes them.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/lab/openzfs/lab");
/// A user of the machines who may do nothing but what a test allows.
pub const SENDER: &str = "zfssync";
/// How long a run may take before it counts as hanging: the machines are emulated, and the slower the more
/// the machine under them has to do.
pub const PATIENCE: Duration = Duration::from_secs(900);
/// A user of the machines with `sudo`.
pub const DBA: &str = "dba";

/// A pair of machines, each with an empty pool `tank`; gone when it is dropped.
#[derive(Debug)]
pub struct Vms {
    directory: String,
    ports: BTreeMap<String, u16>,
    lab: Lab,
}

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vm {
    /// Sends.
    Primary,
    /// Receives.
    Standby,
}

impl Vm {
    /// Its name, on the command line and as its own.
    pub fn name(self) -> &'static str {
        match self {
            Vm::Primary => "primary",
            Vm::Standby => "standby",
        }
    }
}

impl Vms {
    /// Restores both from their saved states.
    pub fn start() -> Self {
        let lab = Lab::new().unwrap();
        let directory = lab.path("vms");
        lab.guard().add(&format!("'{SCRIPT}' down '{directory}'")).unwrap();
        Tool::new(SCRIPT).args(["up", &directory]).run().unwrap();
        let told = std::fs::read_to_string(format!("{directory}/lab.env")).unwrap();
        let ports = told.lines().filter_map(|line| line.split_once('='));
        let ports = ports.map(|(name, port)| (name.to_owned(), port.parse().unwrap())).collect();
        Self { directory, ports, lab }
    }

    /// Runs a script of `sh` on a machine and gives what it printed, without the last line end.
    #[track_caller]
    pub fn sh(&self, vm: Vm, user: &str, script: &str) -> String {
        self.try_sh(vm, user, script).unwrap_or_else(|said| panic!("{script}\n{said}"))
    }

    /// As [`sh`](Self::sh); what a script said that failed is the error.
    pub fn try_sh(&self, vm: Vm, user: &str, script: &str) -> Result<String, String> {
        let ran = Tool::new(SCRIPT).args(["ssh", &self.directory, vm.name(), user, script]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        if ran.status.success() { Ok(text(&ran.stdout)) } else { Err(text(&ran.stderr)) }
    }

    /// As [`sh`](Self::sh), by root.
    #[track_caller]
    pub fn root(&self, vm: Vm, script: &str) -> String {
        self.sh(vm, "root", script)
    }

    /// Feeds what root's script prints on one machine to root's script on the other.
    #[track_caller]
    pub fn pipe(&self, (from, prints): (Vm, &str), (to, reads): (Vm, &str)) {
        let both = r#"set -o pipefail; "$0" ssh "$1" "$2" root "$3" | "$0" ssh "$1" "$4" root "$5""#;
        let all = [SCRIPT, &self.directory, from.name(), prints, to.name(), reads];
        Tool::new("bash").args(["-c", both]).args(all).run().unwrap();
    }

    /// The port of 127.0.0.1 that leads to a machine's PostgreSQL.
    pub fn postgres(&self, vm: Vm) -> u16 {
        self.ports[&format!("{}_pg", vm.name())]
    }

    /// A path on this machine that goes with the pair.
    pub fn path(&self, name: &str) -> String {
        self.lab.path(name)
    }

    /// `[hosts.…]` for both: the primary by `sender`, the standby by the DBA with `sudo`.
    pub fn hosts(&self, sender: &str) -> String {
        let mut text = String::new();
        for (vm, user, more) in [(Vm::Primary, sender, ""), (Vm::Standby, DBA, "become = \"sudo\"\n")] {
            let (name, directory) = (vm.name(), &self.directory);
            let port = self.ports[&format!("{name}_ssh")];
            let _ = write!(
                text,
                "[hosts.{name}]\nuse = \"ssh\"\naddress = \"{user}@127.0.0.1\"\nport = {port}\n\
                 identity_file = \"{directory}/client_key\"\nknown_hosts = \"{directory}/known_hosts\"\n{more}\n"
            );
        }
        text
    }
}
