use super::*;
use crate::zfs::SNAPSHOTS;

const RUN: &str = "20261125t171234-0a1b2c";

fn verdicts(line: &str) -> [Verdict; 2] {
    let objects = || vec!["data/pgsql".to_owned(), "data/all/".to_owned()];
    let line = line.replace("RUN", RUN);
    let argv: Vec<_> = line.split(' ').collect();
    [SnapshotRule::new(objects()).unwrap().judge(&argv), SendRule::new(objects()).unwrap().judge(&argv)]
}

fn allowed(line: &str) -> [bool; 2] {
    verdicts(line).map(|verdict| verdict == Verdict::Allowed)
}

#[test]
fn each_stage_may_do_its_own_and_no_more() {
    let snapshot = "zfs snapshot -o reseed:run=RUN -o reseed:pipeline=p -o reseed:target=t";
    for line in [
        &format!("{snapshot} data/pgsql@reseed-RUN") as &str,
        &format!("{snapshot} data/pgsql@reseed-RUN data/all/x@reseed-RUN"),
        &format!("{} data/all/x@reseed-RUN", snapshot.replace("snapshot", "snapshot -r")),
        "zfs destroy data/pgsql@reseed-RUN",
        "zfs hold reseed:t data/pgsql@reseed-RUN",
        "zfs release reseed:t data/pgsql@daily",
        "zfs bookmark data/pgsql@reseed-RUN data/pgsql#reseed-RUN.7:tank:x",
        "zfs destroy data/pgsql#reseed-RUN.7:tank:x",
    ] {
        assert_eq!(allowed(line), [true, false], "{line}");
    }
    for line in [
        "zfs send data/pgsql@reseed-RUN",
        "zfs send -L -e -c -i data/pgsql@daily data/pgsql@reseed-RUN",
        "zfs send -n -P -w -i data/pgsql#mark data/pgsql@reseed-RUN",
    ] {
        assert_eq!(allowed(line), [false, true], "{line}");
    }
    for line in [
        "zfs",
        "zfs allow data/pgsql",
        "zfs get -Hp -o value guid data/pgsql@reseed-RUN",
        "zfs get -Hp -o name,property,value,source written@x data/pgsql",
        "zfs get -Hp -d 1 -o name,property,value,source guid,userrefs,reseed:target data/pgsql",
        "zfs get -Hp -d 1 -o name,property,value,source guid,userrefs,reseed:target data/pgsql data/all/wal",
        "zfs list -H -o name,origin,mountpoint,canmount,mounted -t filesystem,volume -r data",
    ] {
        assert_eq!(allowed(line), [true, true], "{line}");
    }
}

#[test]
fn everything_else_is_refused() {
    let snapshot = "zfs snapshot -o reseed:run=RUN -o reseed:pipeline=p -o reseed:target=t";
    for line in [
        "zfs destroy data/pgsql",
        "zfs destroy -r data/pgsql@reseed-RUN",
        "zfs destroy data/pgsql@daily",
        "zfs destroy data/pgsql#daily",
        "zfs destroy data/pgsql#daily.7:tank:x",
        "zfs destroy data/pgsql#reseed-RUN",
        "zfs destroy data/other#reseed-RUN.7:tank:x",
        "zfs destroy -r data/pgsql#reseed-RUN.7:tank:x",
        "zfs bookmark data/pgsql@daily data/pgsql#reseed-RUN.t",
        "zfs bookmark data/pgsql@reseed-RUN data/pgsql#mine",
        "zfs bookmark data/pgsql@reseed-RUN data/pgsql#reseed-RUN.",
        "zfs bookmark data/pgsql@reseed-RUN data/other#reseed-RUN.t",
        "zfs bookmark data/pgsql@reseed-RUN data/pgsql#reseed-20261125t171234-ffffff.t",
        "zfs destroy data/pgsql@reseed-daily",
        "zfs destroy data/pgsql@reseed-RUN,reseed-RUN",
        "zfs destroy data/pgsql@%",
        "zfs destroy data/other@reseed-RUN",
        "zfs destroy data/pgsql/below@reseed-RUN",
        "zfs destroy data/pgsqlx@reseed-RUN",
        "zfs destroy data/../data/pgsql@reseed-RUN",
        "zfs rollback -r data/pgsql@reseed-RUN",
        "zfs rollback data/pgsql@reseed-RUN",
        "zfs promote data/pgsql",
        "zfs receive -F data/pgsql",
        "zfs receive data/pgsql/new",
        "zfs set mountpoint=/ data/pgsql",
        "zfs set reseed:target=x data/pgsql@reseed-RUN",
        "zfs inherit mountpoint data/pgsql",
        "zfs rename data/pgsql data/x",
        "zfs clone data/pgsql@reseed-RUN data/x",
        "zfs create data/x",
        "zfs mount data/pgsql",
        "zfs unmount data/pgsql",
        "zfs allow -u x send data/pgsql",
        "zfs unallow data/pgsql",
        "zfs hold keep data/pgsql@reseed-RUN",
        "zfs hold reseed:t data/pgsql@daily",
        "zfs hold -r reseed:t data/pgsql@reseed-RUN",
        "zfs release keep data/pgsql@reseed-RUN",
        "zfs send data/other@reseed-RUN",
        "zfs send data/pgsql@daily",
        "zfs send -R data/pgsql@reseed-RUN",
        "zfs send -i data/other@x data/pgsql@reseed-RUN",
        "zfs send -I data/pgsql@x data/pgsql@reseed-RUN",
        "zfs send -t token",
        "zfs send",
        "zfs get all data/pgsql",
        "zfs get -Hp -o value guid data/other",
        "zfs get -Hp -o name,property,value,source -r data/pgsql",
        "zfs get -Hp -d 1 -o name,property,value,source guid",
        "zfs get -Hp -d 1 -o name,property,value,source guid data/pgsql data/other",
        "zfs get -Hp -d 1 -o name,property,value,source guid data/pgsql -r",
        // Of what is above a granted dataset nobody learns which snapshots there are.
        "zfs get -Hp -d 1 -o name,property,value,source guid data",
        "zfs get -Hp -o value guid data@daily",
        "zfs get -Hp -o name,property,value,source guid data#daily",
        "zfs list",
        "zpool destroy data",
        "zfs snapshot data/pgsql@reseed-RUN",
        "zfs snapshot -o mountpoint=/ -o reseed:pipeline=p -o reseed:target=t data/pgsql@reseed-RUN",
        &format!("{snapshot} -o canmount=on data/pgsql@reseed-RUN") as &str,
        &format!("{snapshot} data/pgsql@mine"),
        &format!("{snapshot} data/pgsql@reseed-20261125t171234-ffffff"),
        &format!("{snapshot} data/pgsql@reseed-RUN data/other@reseed-RUN"),
        &format!("{} data/pgsql@reseed-RUN", snapshot.replace("snapshot", "snapshot -r")),
        &format!("{} data@reseed-RUN", snapshot.replace("snapshot", "snapshot -r")),
        snapshot,
    ] {
        assert_eq!(allowed(line), [false, false], "{line}");
    }
}

/// As `zfs receive` gives it, of a snapshot of this name.
fn token(name: &str) -> String {
    let token = Token {
        from_guid: None,
        to_guid: 7,
        name: name.replace("RUN", RUN),
        object: 2,
        offset: 1 << 20,
        bytes: 1 << 20,
        large_blocks: true,
        embedded: true,
        compressed: true,
        raw: false,
    };
    token.to_string()
}

#[test]
fn a_token_is_judged_by_what_it_names() {
    for form in ["zfs send -t", "zfs send -n -P -t", "zfs send -nvP -t"] {
        for good in ["data/pgsql@reseed-RUN", "data/all/x@reseed-RUN"] {
            assert_eq!(allowed(&format!("{form} {}", token(good))), [false, true], "{form} {good}");
        }
        for bad in ["data/other@reseed-RUN", "data/pgsql@daily", "data/pgsql", "data/pgsql/below@reseed-RUN", "-x@y"] {
            assert_eq!(allowed(&format!("{form} {}", token(bad))), [false, false], "{form} {bad}");
        }
    }
    let good = token("data/pgsql@reseed-RUN");
    for bad in [
        "1-0-0-".to_owned(),
        good.replacen('1', "2", 1),
        good[..good.len() - 2].to_owned(),
        format!("{good}-"),
        format!("{good} data/other@x"),
        format!("-S {good}"),
    ] {
        assert_eq!(allowed(&format!("zfs send -t {bad}")), [false, false], "{bad}");
    }
    assert_eq!(allowed(&format!("zfs receive -t {good}")), [false, false]);
    assert_eq!(allowed(&format!("zfs send -w -t {good}")), [false, false]);
}

#[test]
fn an_object_is_a_dataset() {
    for bad in ["", "/", "data/pgsql@x", "-r", "data//x", "data/$(id)"] {
        assert!(Datasets::new(vec![bad.to_owned()]).is_err(), "{bad}");
    }
    assert!(Datasets::new(vec![]).is_err());
}

/// What the stages really make, by the same functions that make it.
#[test]
fn what_the_crate_makes_is_what_the_rule_takes() {
    let name = format!("data/pgsql@{}", name::snapshot(RUN));
    let command = crate::zfs::Zfs::command(&["get", "-Hp", "-o", "value", "guid"], &[&name]).unwrap();
    let argv = command.argv("op", None);
    let argv: Vec<_> = argv.iter().map(String::as_str).collect();
    let datasets = Datasets::new(vec!["data/pgsql".to_owned(), "data/wal".to_owned()]).unwrap();
    assert_eq!(datasets.questions(&argv), Verdict::Allowed);
    let command = crate::zfs::Zfs::command(SNAPSHOTS, &["data/pgsql", "data/wal"]).unwrap();
    let argv = command.argv("op", None);
    let argv: Vec<_> = argv.iter().map(String::as_str).collect();
    assert_eq!(datasets.questions(&argv), Verdict::Allowed);
    assert_eq!(run_of(&name::snapshot(&reseed_core::run_id())).map(str::len), Some(RUN.len()));
    assert_eq!(tagged(&prune::tag("standby:tank/x"), || Verdict::Allowed), Verdict::Allowed);
    let mark = format!("{}{}", name.replacen('@', "#", 1), prune::bookmark_end("standby:tank/x"));
    assert_eq!(allowed(&format!("zfs bookmark {name} {mark}")), [true, false]);
    assert_eq!(allowed(&format!("zfs destroy {mark}")), [true, false]);
}

#[test]
fn what_is_between_is_sent_only_where_that_is_granted() {
    let rule = IntermediaryRule::new(vec!["data/pgsql".to_owned()]).unwrap();
    let allowed_between = |line: &str| rule.judge(&line.replace("RUN", RUN).split(' ').collect::<Vec<_>>());
    for line in [
        "zfs send -I data/pgsql@daily data/pgsql@reseed-RUN",
        "zfs send -n -P -I data/pgsql@daily data/pgsql@weekly",
        "zfs send -n -P -L -w -I data/pgsql@daily data/pgsql@reseed-RUN",
        &format!("zfs send -t {}", token("data/pgsql@daily")),
    ] {
        assert_eq!(allowed_between(line), Verdict::Allowed, "{line}");
        assert_eq!(allowed(line), [false, false], "{line}");
    }
    for line in ["zfs send data/pgsql@reseed-RUN", "zfs send -i data/pgsql@daily data/pgsql@reseed-RUN", "zfs"] {
        assert_eq!(allowed_between(line), Verdict::Allowed, "{line}");
    }
    for line in [
        "zfs send -I data/pgsql@daily data/other@weekly",
        "zfs send -I data/pgsql#daily -R",
        "zfs send -I data/other@daily data/pgsql@reseed-RUN",
        "zfs send -R -I data/pgsql@daily data/pgsql@reseed-RUN",
        "zfs send data/pgsql@daily",
        "zfs destroy data/pgsql@reseed-RUN",
        &format!("zfs send -t {}", token("data/other@daily")),
        &format!("zfs send -t {}", token("data/pgsql")),
        &format!("zfs send -t {}", token("data/pgsql@$(id)")),
    ] {
        assert_ne!(allowed_between(line), Verdict::Allowed, "{line}");
    }
}
