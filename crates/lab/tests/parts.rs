//! The lab's parts are real and leave nothing behind.

use std::time::Duration;

use reseed_lab::{FarPath, Lab, Major, PrimaryOptions, Server, Sshd, Storage, Tool, User, Zfs, missing_parts};

fn ready(storage: Storage) -> bool {
    let missing = missing_parts(storage);
    if missing.is_empty() {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "missing in CI: {missing:?}");
    println!("skipped: {missing:?} are missing");
    false
}

#[test]
fn a_primary_under_load_on_a_pool_and_an_sshd_leave_nothing_behind() {
    if !ready(Storage::Zfs) {
        return;
    }
    let lab = Lab::new().unwrap();
    let pool = Zfs::in_lab(&lab).unwrap().pool(&lab, "a", 1 << 30).unwrap();
    pool.create("pgsql", &[]).unwrap();
    let data = format!("{}/pgsql/data", pool.mountpoint);
    let server = Server::primary(&lab, "primary", &Major::newest().unwrap(), data, &PrimaryOptions::default()).unwrap();
    server.fill(1).unwrap();
    let mut load = server.load(200).unwrap();
    let before = server.rows().unwrap();
    let begun = std::time::Instant::now();
    while server.rows().unwrap() <= before {
        assert!(begun.elapsed() < Duration::from_secs(20), "the load writes nothing");
    }
    assert!(load.runs());
    load.stop();

    let sshd = Sshd::in_lab(&lab, &FarPath::Without(vec!["zstd".into()])).unwrap();
    let ssh = Tool::new("ssh").args(["-F", "none", "-i", &sshd.identity_file, "-p", &sshd.port.to_string()]);
    let ssh = ssh.arg("-o").arg(format!("UserKnownHostsFile={}", sshd.known_hosts)).arg("root@127.0.0.1");
    let said = ssh.arg("command -v zstd || command -v cat").run().unwrap();
    assert!(said.trim().ends_with("/cat"), "{said}");

    let user = User::named("postgres").unwrap();
    let theirs = Sshd::of_user(&lab, &user).unwrap();
    let ssh = Tool::new("ssh").args(["-F", "none", "-i", &theirs.identity_file, "-p", &theirs.port.to_string()]);
    let ssh = ssh.arg("-o").arg(format!("UserKnownHostsFile={}", theirs.known_hosts)).arg("postgres@127.0.0.1");
    assert_eq!(ssh.arg("id -un").run().unwrap().trim(), "postgres");

    let (directory, name, port) = (lab.directory().to_owned(), pool.name, server.port);
    drop(lab);
    assert!(!directory.exists());
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(std::net::TcpStream::connect(("127.0.0.1", sshd.port)).is_err());
    assert!(Tool::new("zpool").args(["list", &name]).run().is_err());
}

#[test]
fn a_btrfs_leaves_nothing_behind_also_when_it_is_in_use() {
    if !ready(Storage::Btrfs) {
        return;
    }
    let lab = Lab::new().unwrap();
    let pool = Storage::Btrfs.pool(&lab, "a", 512 << 20).unwrap();
    pool.create("pgsql", &[]).unwrap();
    let inventory = pool.inventory().unwrap();
    assert_eq!(inventory, [format!("{}/pgsql\twritable", pool.mountpoint)]);
    let data = format!("{}/pgsql/data", pool.mountpoint);
    let server = Server::primary(&lab, "primary", &Major::newest().unwrap(), data, &PrimaryOptions::default()).unwrap();
    server.fill(1).unwrap();
    let (directory, mountpoint) = (lab.directory().to_owned(), pool.mountpoint);
    drop(lab);
    assert!(!directory.exists());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&mountpoint), "{mounts}");
    let devices = Tool::new("losetup").arg("-a").run().unwrap();
    assert!(!devices.contains(&*directory.to_string_lossy()), "{devices}");
}
