//! `reseed guard`: the forced command of a key, and the line that binds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reseed_core::Error;
use reseed_core::config::Loaded;
use reseed_core::engine::Engine;
use reseed_core::guard::Grant;
use reseed_core::host::shell_quote;
use reseed_transport_ssh::guard::{self, Settings};

use super::on_runtime;
use crate::args::{FileArgs, GuardArgs};
use crate::{exit, file, out};

/// What sshd tells a forced command of what was asked for.
const ASKED: &str = "SSH_ORIGINAL_COMMAND";

pub(crate) fn run(args: GuardArgs) -> u8 {
    match &args.print {
        Some(file) => print(file, &args),
        None => guard::main(&Settings { grants: args.allow, log: args.log }, std::env::var_os(ASKED)),
    }
}

fn print(file: &Path, args: &GuardArgs) -> u8 {
    let file = FileArgs { file: file.to_owned(), set: args.set.clone() };
    let key = match args.key.as_deref().map(read_key).unwrap_or_else(|| Ok("ssh-ed25519 AAAA…".to_owned())) {
        Ok(key) => key,
        Err(error) => {
            out::error(&error, Some("name the file that ends with `.pub`"));
            return exit::WRONG;
        }
    };
    match file::load(&file, false) {
        Ok(loaded) => on_runtime(tell(loaded, args, &key)),
        Err(code) => code,
    }
}

/// One line with a public key, without what a private one would give away.
fn read_key(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("can't read {}: {error}", file.display()))?;
    let key = text.trim();
    let public = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| key.starts_with(kind)) && !key.contains('\n');
    if public { Ok(key.to_owned()) } else { Err(format!("{} holds no public key", file.display())) }
}

async fn tell(loaded: Loaded, args: &GuardArgs, key: &str) -> u8 {
    let grants = match Engine::new(loaded.pipeline).grants().await {
        Ok(grants) => grants,
        Err(refusals) => {
            refusals.iter().for_each(complain);
            return exit::REFUSED;
        }
    };
    let (grants, without): (Vec<_>, Vec<_>) = grants.into_iter().partition(Result::is_ok);
    without.iter().filter_map(|error| error.as_ref().err()).for_each(complain);
    let lines = lines(grants.into_iter().flatten().collect(), args, key);
    if lines.is_empty() && without.is_empty() {
        out::talk("this pipeline runs nothing on other machines: no key needs a guard");
    }
    for (host, line) in &lines {
        out::data(&format!("# {host}\n{line}\n"));
    }
    // A machine on which there is something without a rule must not look as if its line were enough.
    if without.is_empty() { exit::DONE } else { exit::REFUSED }
}

fn complain(error: &Error) {
    out::error(&error.chain(), error.hint_text());
}

/// For each host the line that binds its key.
fn lines(grants: BTreeSet<Grant>, args: &GuardArgs, key: &str) -> BTreeMap<String, String> {
    let mut words: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for grant in grants {
        let allow = format!("--allow {}", shell_quote(&grant.to_string()));
        words.entry(grant.host).or_default().push(allow);
    }
    let log = args.log.as_deref().map(|file| format!(" --log {}", shell_quote(&file.display().to_string())));
    let log = log.unwrap_or_default();
    let line = |(host, words): (String, Vec<String>)| {
        let command = format!("exec {} guard {}{log}", shell_quote(&args.program), words.join(" "));
        // The one thing that sshd unescapes.
        (host, format!("restrict,command=\"{}\" {key}", command.replace('"', "\\\"")))
    };
    words.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn args(words: &[&str]) -> GuardArgs {
        match Args::try_parse_from([&["reseed", "guard"], words].concat()).unwrap().command {
            Command::Guard(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_binds_a_key_to_all_of_a_hosts_grants() {
        let grants = [
            Grant::on("primary", "pg-quiesce", "/srv/it's \"here\""),
            Grant::on("primary", "zfs-send", "data/pgsql"),
            Grant::plain("other", "zstd"),
        ];
        let lines = lines(grants.into_iter().collect(), &args(&["--print", "x.toml"]), "ssh-ed25519 KEY me");
        assert_eq!(
            lines["other"],
            r#"restrict,command="exec /usr/local/bin/reseed guard --allow zstd" ssh-ed25519 KEY me"#
        );
        assert_eq!(
            lines["primary"],
            concat!(
                r#"restrict,command="exec /usr/local/bin/reseed guard --allow 'pg-quiesce=/srv/it'\''s \"here\"' "#,
                r#"--allow zfs-send=data/pgsql" ssh-ed25519 KEY me"#
            )
        );
    }

    #[test]
    fn a_guard_is_told_what_it_allows_or_prints_it() {
        assert_eq!(args(&["--allow", "zstd", "--allow", "zfs-send=a/b"]).allow, ["zstd", "zfs-send=a/b"]);
        let both = ["reseed", "guard", "--allow", "zstd", "--print", "x"];
        assert!(Args::try_parse_from(both).is_err());
    }

    #[test]
    fn a_private_key_is_not_printed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").unwrap();
        assert!(read_key(&file).unwrap_err().ends_with("holds no public key"));
        std::fs::write(&file, "ssh-ed25519 AAAA me\n").unwrap();
        assert_eq!(read_key(&file).unwrap(), "ssh-ed25519 AAAA me");
    }
}
