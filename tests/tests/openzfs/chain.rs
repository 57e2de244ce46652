//! A dataset with files on the primary and its copy on the standby, without a server.

use std::sync::Arc;

use reseed_tests::fault::{Fault, Faulty};
use reseed_tests::run::{Ended, Trial};
use reseed_tests::vms::{PATIENCE, SENDER, Vm, Vms};

/// The dataset on the primary.
pub const SOURCE: &str = "tank/data";
/// Its copy on the standby.
pub const COPY: &str = "tank/reseed/data";
/// Rights of the primary's user, as the hint of `check` names them.
const RIGHTS: &str = "snapshot,send,hold,release,bookmark,destroy,mount,userprop";
/// The position of `ssh-transfer` among the stages.
const TRANSFER: usize = 3;
/// What `zfs-receive` is told where nothing else is wanted.
const INTO: &str = "into = \"tank/reseed\"";

pub struct Chain {
    pub vms: Arc<Vms>,
}

impl Chain {
    /// A dataset with these further properties, and 8 MiB in it.
    pub fn new(properties: &str) -> Self {
        let vms = Arc::new(Vms::start());
        vms.root(
            Vm::Primary,
            &format!(
                "head -c 32 /dev/urandom >/root/key
                 zfs create -o mountpoint=/tank/data {properties} {SOURCE} && zfs allow -u {SENDER} {RIGHTS} {SOURCE}"
            ),
        );
        let chain = Self { vms };
        chain.write("first", 8);
        chain
    }

    /// Writes a file that does not compress.
    pub fn write(&self, name: &str, mib: u32) {
        let script = format!("dd if=/dev/urandom of=/tank/data/{name} bs=1M count={mib} status=none && zpool sync");
        self.vms.root(Vm::Primary, &script);
    }

    /// The pipeline file, with further lines for `zfs-snapshot` and `zfs-send`, and those for `zfs-receive`.
    pub fn file(&self, snapshot: &str, send: &str, receive: &str) -> String {
        format!(
            "name = \"chain\"\n{}\n\
             [[stage]]\nuse = \"bare-source\"\non = \"primary\"\ndirectory = \"/tank/data\"\n\
             [[stage]]\nuse = \"zfs-snapshot\"\non = \"primary\"\n{snapshot}\n\
             [[stage]]\nuse = \"zfs-send\"\n{send}\n\
             [[stage]]\nuse = \"ssh-transfer\"\n\
             [[stage]]\nuse = \"zfs-receive\"\non = \"standby\"\n{receive}\n\
             [[stage]]\nuse = \"bare-end\"\n",
            self.vms.hosts(SENDER)
        )
    }

    /// A run, with further lines for `zfs-snapshot` and `zfs-send`.
    pub async fn run(&self, snapshot: &str, send: &str) -> Ended {
        Trial::of(&self.file(snapshot, send, INTO)).patience(PATIENCE).run().await
    }

    /// A run that receives in another way.
    pub async fn receive(&self, receive: &str) -> Ended {
        Trial::of(&self.file("", "", receive)).patience(PATIENCE).run().await
    }

    /// A run that receives in another way, and what happens when the first bytes of its stream pass.
    pub async fn meanwhile(&self, receive: &str, vm: Vm, script: &str) -> Ended {
        let (vms, script) = (Arc::clone(&self.vms), script.to_owned());
        let act = move || drop(vms.root(vm, &script));
        let trial = Trial::of(&self.file("", "", receive)).patience(PATIENCE);
        trial.wrap(TRANSFER, Faulty::act(act)).run().await
    }

    /// A run that must do what it is for.
    pub async fn succeed(&self) -> Ended {
        let ended = self.run("", "").await;
        ended.must_be_done();
        println!("{}", ended.summary());
        ended
    }

    /// A run whose stream breaks after so many bytes.
    pub async fn cut(&self, after: u64) -> Ended {
        self.cut_sending("", after).await
    }

    /// The same, with further lines for `zfs-send`.
    pub async fn cut_sending(&self, send: &str, after: u64) -> Ended {
        let trial = Trial::of(&self.file("", send, INTO)).patience(PATIENCE);
        let trial = trial.wrap(TRANSFER, Faulty::wrap(Fault::StreamBreaks(after)));
        let ended = trial.run().await;
        assert_eq!(ended.report.exit_code(), 1, "{}", ended.story());
        ended
    }

    /// What the copy keeps of a transfer that was cut off, in bytes.
    pub fn kept(&self) -> Option<u64> {
        let token = format!("$(zfs get -H -o value receive_resume_token {COPY})");
        let told = self.vms.root(Vm::Standby, &format!("zfs send -nvt {token} 2>&1 || true"));
        let bytes = told.lines().find_map(|line| line.trim().strip_prefix("bytes = 0x"))?;
        u64::from_str_radix(bytes, 16).ok()
    }

    /// Names of the snapshots of a dataset, the oldest first, and the holds on each.
    pub fn snapshots(&self, vm: Vm, dataset: &str) -> Vec<(String, String)> {
        let told = self.vms.root(vm, &format!("zfs list -H -t snapshot -s createtxg -o name,userrefs {dataset}"));
        told.lines().filter_map(|line| line.split_once('\t')).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    /// Name of the newest snapshot of a dataset.
    #[track_caller]
    pub fn newest(&self, vm: Vm, dataset: &str) -> String {
        self.snapshots(vm, dataset).last().cloned().unwrap().0
    }

    /// Destroys a dataset of the standby, whatever reseed holds of it.
    pub fn drop_copy(&self, copy: &str) {
        let script = format!(
            "for s in $(zfs list -H -o name -t snapshot -r {copy}); do \
               for t in $(zfs holds -H $s | cut -f2); do zfs release $t $s; done; done; zfs destroy -r {copy}"
        );
        self.vms.root(Vm::Standby, &script);
    }

    /// The copy's newest snapshot holds what the source's newest does.
    #[track_caller]
    pub fn agrees(&self) {
        self.agrees_at(COPY);
    }

    /// As [`agrees`](Self::agrees), of another copy.
    #[track_caller]
    pub fn agrees_at(&self, copy: &str) {
        let sums = |vm: Vm, dataset: &str| {
            let (snapshot, at) = (self.newest(vm, dataset), "/tmp/look");
            let script = format!(
                "mkdir -p {at} && mount -t zfs -o ro {snapshot} {at} && cd {at} && sha256sum * && cd / && umount {at}"
            );
            self.vms.root(vm, &script)
        };
        assert_eq!(sums(Vm::Primary, SOURCE), sums(Vm::Standby, copy));
    }
}
