//! What a stranger with a bound key may ask for.

use reseed_transport_ssh::guard::{asked_for, decide};

/// What the guard of a usual key is told.
const GRANTS: &[&str] = &[
    "zfs-snapshot=data/pgsql",
    "zfs-send=data/pgsql",
    "btrfs-snapshot=/top/pg:/top/.reseed/pg",
    "btrfs-send=/top/.reseed/pg",
    "ssh-transfer",
    "zstd",
    "hash",
];

/// Any text: what is let in is, put together again, the text of these very commands.
pub(crate) fn line(data: &[u8]) -> bool {
    let Some(Ok(argvs)) = std::str::from_utf8(data).ok().map(|text| decide(GRANTS, text)) else { return false };
    harmless(&argvs);
    assert!(!data.contains(&0), "a zero byte gets no further");
    true
}

/// Any commands, as the host would ask for them: words end with a zero byte, commands with two.
pub(crate) fn job(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let commands = text.split("\0\0").map(|command| command.split('\0').map(str::to_owned).collect::<Vec<_>>());
    let argvs: Vec<_> = commands.collect();
    let Ok(let_in) = decide(GRANTS, &asked_for(&argvs)) else { return false };
    assert_eq!(let_in, argvs, "what runs is what was asked for");
    harmless(&let_in);
    true
}

/// What holds of everything that is let in, in words that need no rule.
fn harmless(argvs: &[Vec<String>]) {
    const PROGRAMS: &[&str] = &["zfs", "btrfs", "sh", "id", "uname", "sudo", "doas", "reseed", "zstd", "cat", "test"];
    for argv in argvs {
        assert!(PROGRAMS.contains(&argv[0].as_str()), "{argv:?}");
        let words: Vec<_> = argv.iter().map(String::as_str).collect();
        if let Some(at) = words.iter().position(|word| *word == "zfs") {
            let verb = words.get(at + 1).copied().unwrap_or("list");
            let harmless = ["list", "get", "allow", "snapshot", "destroy", "hold", "release", "send"];
            assert!(harmless.contains(&verb) || words[0] != "zfs", "{argv:?}");
            if words[0] == "zfs" && verb == "destroy" {
                assert!(words.len() == 3 && words[2].starts_with("data/pgsql@reseed-"), "{argv:?}");
            }
            if words[0] == "zfs" && verb == "send" {
                assert!(words.last().is_some_and(|last| last.starts_with("data/pgsql@reseed-")), "{argv:?}");
            }
        }
    }
}

fn usual() -> Vec<Vec<Vec<String>>> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let snapshot = "data/pgsql@reseed-20261125t171234-0a1b2c";
    vec![
        vec![words("id -un")],
        vec![words(&format!("zfs send -L -c -i data/pgsql@x {snapshot}")), words("zstd -q -c -T0 -3")],
        vec![words(&format!("sudo -n -- zfs destroy {snapshot}"))],
        vec![words(&format!(
            "zfs snapshot -o reseed:run=20261125t171234-0a1b2c -o reseed:pipeline=p -o reseed:target=t {snapshot}"
        ))],
        vec![words(&format!("reseed wire send --encode zstd:3 -- 3 zfs send {snapshot}"))],
        vec![vec!["it's".to_owned(), "a\nb".to_owned(), String::new()]],
    ]
}

pub(crate) fn lines() -> Vec<Vec<u8>> {
    usual().iter().map(|argvs| asked_for(argvs).into_bytes()).collect()
}

pub(crate) fn jobs() -> Vec<Vec<u8>> {
    let job = |argvs: &Vec<Vec<String>>| {
        argvs.iter().map(|argv| argv.join("\0")).collect::<Vec<_>>().join("\0\0").into_bytes()
    };
    usual().iter().map(job).collect()
}
