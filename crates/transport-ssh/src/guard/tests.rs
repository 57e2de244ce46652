use proptest::prelude::*;

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

const GRANTS: &[&str] = &["zstd", "hash", "ssh-transfer"];

fn id() -> Vec<Vec<String>> {
    vec![words(&["id", "-un"])]
}

#[test]
fn what_the_host_asks_for_runs_as_it_was_asked_for() {
    for argvs in [
        id(),
        vec![words(&["sudo", "-n", "--", "id", "-u"])],
        vec![words(&["id", "-u"]), words(&["zstd", "-q", "-c", "-T0", "-3"])],
        vec![words(&["reseed", "wire", "send", "--encode", "zstd:3", "--", "2", "id", "-u"])],
    ] {
        assert_eq!(decide(GRANTS, &asked_for(&argvs)), Ok(argvs));
    }
}

#[test]
fn what_looks_after_a_dropped_job_is_the_hosts_own() {
    let gone = crate::host::remote::gone(reseed_core::host::OnDrop::End, 20).argv("", None);
    assert!(decide(&[], &asked_for(std::slice::from_ref(&gone))).is_ok());
    let settled = crate::host::remote::settled(250, 3).argv("", None);
    assert!(decide(&[], &asked_for(&[settled])).is_ok());
    let mut more = gone;
    more.push("x".to_owned());
    assert!(decide(&[], &asked_for(&[more])).is_err());
}

/// Everything that an attacker can put in the place of a job. Each is refused for its own reason.
#[test]
fn a_text_that_the_host_did_not_make_is_refused() {
    let good = asked_for(&id());
    let (head, tail) = good.split_once("sh reseed-").unwrap();
    let hostile = [
        String::new(),
        "id".to_owned(),
        "/bin/sh".to_owned(),
        "internal-sftp".to_owned(),
        "scp -t /etc".to_owned(),
        "exec sh -c id sh".to_owned(),
        "exec sh -c 'rm -rf /' sh reseed-00000000000000000000000000000000 id".to_owned(),
        format!("{good}; id"),
        format!("{good} ; id"),
        format!("{good}\nid"),
        format!("{good} && id"),
        format!("{good} | sh"),
        format!("{good} > /etc/passwd"),
        format!("{good} $(id)"),
        format!("{good} `id`"),
        format!("{good} extra"),
        format!(" {good}"),
        format!("{good} "),
        format!("env A=b {good}"),
        good.replace("exec sh", "exec  sh"),
        good.replace("exec sh", "exec bash"),
        good.replace("LC_ALL=C", "LD_PRELOAD=/tmp/x.so"),
        good.replace("$PATH:", "/tmp:$PATH:"),
        good.replace("id -un", "id '-un'"),
        good.replace("id -un", "\"id\" -un"),
        good.replace("id -un", "i\\d -un"),
        good.replace("${2}", "${3}"),
        good.replace("${2}", "$(id)"),
        format!("{head}sh reseed-$(id){}", &tail[5..]),
        format!("{head}sh reseed-{}", tail.to_uppercase()),
        format!("{head}sh x{tail}"),
        format!("exec sh -c 'eval \"$(printf %b \"$1\")\"' sh '{good}'"),
        "exec sh -c 'eval \"$(printf %b \"$1\")\"' sh '\\0'".to_owned(),
        "exec sh -c 'eval \"$(printf %b \"$1\")\"' sh '\\0777\\0777'".to_owned(),
        "'".to_owned(),
        "\\".to_owned(),
    ];
    for text in hostile {
        let why = decide(GRANTS, &text).expect_err(&text);
        assert!(why.starts_with("this is no command of reseed"), "{text}: {why}");
        assert!(!why.contains('\n'), "{why}");
    }
    let nothing = judge(&Guard::new([]).unwrap(), None).unwrap_err();
    assert_eq!(nothing.why, "this key is for reseed alone: it opens no shell");
}

#[test]
fn a_command_of_the_hosts_form_is_refused_by_name() {
    for (argv, why) in [
        (&["rm", "-rf", "/"][..], "`rm -rf /` is refused"),
        (&["sh", "-c", "id", "sh"], "`sh -c id sh` is refused"),
        (&["id", "-u; id"], "`id '-u; id'` is refused"),
        (&["a\nb"], "`'a\\nb'` is refused"),
    ] {
        let told = decide(GRANTS, &asked_for(&[words(argv)])).unwrap_err();
        assert!(told.starts_with(why), "{told}");
    }
    let second = vec![words(&["id", "-u"]), words(&["tee", "/etc/passwd"])];
    assert!(decide(GRANTS, &asked_for(&second)).unwrap_err().contains("tee /etc/passwd"));
    let wired = vec![words(&["reseed", "wire", "send", "--", "1", "reboot"])];
    assert!(decide(GRANTS, &asked_for(&wired)).unwrap_err().contains("`reboot` is refused"));
}

#[test]
fn without_a_grant_only_questions_are_allowed() {
    assert!(decide(&[], &asked_for(&id())).is_ok());
    assert!(decide(&[], &asked_for(&[words(&["zstd", "-q", "-d", "-c"])])).is_err());
    assert!(decide(&["no-such-rule"], &asked_for(&id())).unwrap_err().contains("there is no rule"));
}

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z@/:._-]{0,12}",
        "[ -~]{0,12}",
        proptest::collection::vec(any::<char>(), 0..8)
            .prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').collect()),
    ]
}

fn any_job() -> impl Strategy<Value = Vec<Vec<String>>> {
    proptest::collection::vec(proptest::collection::vec(any_word(), 1..6), 1..4)
}

proptest! {
    #[test]
    fn every_job_comes_back_as_it_was(argvs in any_job()) {
        let nonce = Nonce::new();
        let text = command(&nonce, &argvs);
        let call = Call::parse(&text).expect(&text);
        prop_assert_eq!(call.nonce, nonce);
        prop_assert_eq!(call.argvs, argvs);
    }

    /// Whatever is done to a text, it is refused, or it is what the host makes of what would run.
    #[test]
    fn a_changed_text_means_what_it_says_or_nothing(
        argvs in any_job(), at in any::<prop::sample::Index>(), cut in 0usize..4, put in any_word(),
    ) {
        let text = command(&Nonce::new(), &argvs);
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        let changed: String =
            chars[..at].iter().chain(&put.chars().collect::<Vec<_>>()).chain(chars.iter().skip(at + cut)).collect();
        if let Some(call) = Call::parse(&changed) {
            prop_assert_eq!(command(&call.nonce, &call.argvs), changed);
        }
    }

    #[test]
    fn any_text_is_judged_without_a_panic(text in ".{0,200}") {
        prop_assert!(decide(GRANTS, &text).is_err());
    }
}

/// The refusal as a client of reseed reads it: statuses for every command, and the reason.
#[test]
fn a_client_hears_why() {
    let job = vec![words(&["reboot"]), words(&["id", "-u"])];
    let refusal = judge(&Guard::new([]).unwrap(), Some(asked_for(&job).into())).unwrap_err();
    let call = refusal.call.clone().unwrap();
    let mut said = crate::host::marker::Said::new(&call.nonce, 2);
    said.push(told(&refusal).as_bytes());
    assert!(said.begun && said.complete());
    assert_eq!(said.statuses, [Some(126), Some(126)]);
    assert!(said.text().contains("`reboot` is refused"), "{}", said.text());
}
