//! What is kept of an interrupted transfer is decided by what is there.

use std::sync::{Arc, Mutex};

use reseed_core::host::{Command, Host, Job, LocalConfig, LocalHost, Process};

use super::*;

/// A machine whose `zfs` gives recorded answers; what it has no answer for is not there.
#[derive(Debug)]
struct Recorded {
    answers: Vec<(String, String)>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Host for Recorded {
    fn name(&self) -> &str {
        "recorded"
    }

    fn is_local(&self) -> bool {
        false
    }

    async fn spawn(&self, job: &Job) -> Result<Process> {
        let line = job.steps()[0].argv("op", None).join(" ");
        let answer = self.answers.iter().find(|(command, _)| *command == line).map(|(_, answer)| answer.as_str());
        let is_zfs = line.starts_with("zfs ");
        self.asked.lock().unwrap().push(line);
        let command = match answer {
            Some(answer) => Command::script("printf %s \"$1\"").arg(answer),
            None if is_zfs => Command::script("echo \"cannot open 'it': dataset does not exist\" >&2; exit 1"),
            // Whether a receive is at work: none is.
            None => Command::script("cat >/dev/null; exit 1"),
        };
        LocalHost::new("recorded", &LocalConfig::default()).spawn(&Job::from(command)).await
    }
}

impl Recorded {
    /// What was told, apart from questions.
    fn acts(&self) -> Vec<String> {
        let asks = |line: &String| {
            !line.starts_with("zfs ") || ["get", "list", "send"].contains(&line[4..].split(' ').next().unwrap())
        };
        self.asked.lock().unwrap().iter().filter(|line| !asks(line)).cloned().collect()
    }
}

const TOKEN: &str = "1-a-b-c";
const GUIDS: &str = "zfs get -Hp -d 1 -o name,property,value,source guid,userrefs,reseed:target";

fn recorded(answers: &[(&str, &str)]) -> (Zfs, Arc<Recorded>) {
    let answers = answers.iter().map(|(command, answer)| ((*command).to_owned(), (*answer).to_owned())).collect();
    let recorded = Arc::new(Recorded { answers, asked: Mutex::default() });
    (Zfs::on(&(Arc::clone(&recorded) as Arc<dyn Host>)), recorded)
}

/// A copy at the snapshot 1, with a part of the snapshot of this GUID in hex.
fn copy_with_part_of(guid: &str) -> (Zfs, Arc<Recorded>) {
    recorded(&[
        ("zfs get -Hp -o value receive_resume_token tb/a", TOKEN),
        (&format!("zfs send -nvP -t {TOKEN}"), &format!("\tbytes = 0x10\n\ttoguid = 0x{guid}\n\ttoname = ta/a@2\n")),
        (&format!("{GUIDS} tb/a"), "tb/a@reseed-1\tguid\t1\t-\ntb/a@reseed-1\tuserrefs\t0\t-\n"),
        ("zfs get -Hp -r -t filesystem,volume -o name,value receive_resume_token tb/a", &format!("tb/a\t{TOKEN}\n")),
        ("zfs receive -A tb/a", ""),
        ("zfs rollback -r tb/a@reseed-1", ""),
        ("zfs destroy -r tb/a", ""),
    ])
}

const RECEIVED: &str = "0000000000000002";

fn roll_back(zfs: Zfs, may: bool) -> RollBack {
    let (dataset, base, base_name) = ("tb/a".to_owned(), "0000000000000001".to_owned(), "reseed-1".to_owned());
    let (received, between, kept) = (RECEIVED.to_owned(), vec![], Kept::part_of(RECEIVED, may));
    RollBack { zfs, dataset, base, base_name, received, between, target: "t".to_owned(), kept }
}

#[tokio::test]
async fn a_part_of_what_was_received_stays_and_of_nothing_else() {
    let (zfs, told) = copy_with_part_of("2");
    let undo = roll_back(zfs, true);
    undo.undo().await.unwrap();
    assert_eq!(told.acts(), [""; 0]);
    assert!(undo.describe().contains("the next run goes on there"), "{}", undo.describe());
    let (zfs, told) = copy_with_part_of("3");
    roll_back(zfs, true).undo().await.unwrap();
    assert_eq!(told.acts(), ["zfs receive -A tb/a", "zfs rollback -r tb/a@reseed-1"]);
    let (zfs, told) = copy_with_part_of("2");
    roll_back(zfs, false).undo().await.unwrap();
    assert_eq!(told.acts(), ["zfs rollback -r tb/a@reseed-1"]);
}

#[tokio::test]
async fn what_came_whole_stays_in_front_of_a_part_and_goes_without_one() {
    let three = "0000000000000003".to_owned();
    // The copy has come to 3 of a stream that brings 3, 4 and 2.
    let copy = |part: Option<&str>| {
        let told = format!("\tbytes = 0x10\n\ttoguid = 0x{}\n\ttoname = ta/a@2\n", part.unwrap_or_default());
        let token = if part.is_some() { TOKEN } else { "-" };
        let snapshots = "tb/a@reseed-1\tguid\t1\t-\ntb/a@reseed-1\tuserrefs\t0\t-\ntb/a@daily\tguid\t3\t-\n";
        recorded(&[
            ("zfs get -Hp -o value receive_resume_token tb/a", token),
            (&format!("zfs send -nvP -t {TOKEN}"), &told),
            (&format!("{GUIDS} tb/a"), snapshots),
            ("zfs receive -A tb/a", ""),
            ("zfs set reseed:cut=0000000000000003 tb/a", ""),
        ])
    };
    let undo = |zfs, between: &[String], may| RollBack { between: between.to_vec(), ..roll_back(zfs, may) };
    let between = [three, "0000000000000004".to_owned()];
    for part in ["4", "2"] {
        let (zfs, told) = copy(Some(part));
        undo(zfs, &between, true).undo().await.unwrap();
        assert_eq!(told.acts(), ["zfs set reseed:cut=0000000000000003 tb/a"]);
    }
    let rolls_back = "zfs rollback -r tb/a@reseed-1";
    for (part, may, acts) in [
        (Some("5"), true, &["zfs receive -A tb/a", rolls_back] as &[_]),
        (Some("4"), false, &[rolls_back]),
        (None, true, &[rolls_back]),
    ] {
        let (zfs, told) = copy(part);
        // Nothing tells here that it has been rolled back.
        undo(zfs, &between, may).undo().await.unwrap_err();
        assert_eq!(told.acts(), acts);
    }
    // Snapshots that no stream of this run has brought are nobody's to destroy.
    let (zfs, told) = copy(None);
    let error = undo(zfs, &between[1..], true).undo().await.unwrap_err();
    assert!(error.to_string().contains("this run did not make"), "{error}");
    assert_eq!(told.acts(), [""; 0]);
}

#[tokio::test]
async fn a_new_dataset_stays_for_what_is_kept_in_it_or_below_it() {
    for (part, acts) in [("2", &[] as &[&str]), ("3", &["zfs receive -A tb/a", "zfs destroy -r tb/a"])] {
        let (zfs, told) = copy_with_part_of(part);
        DestroyDataset::new(&zfs, "tb/a").unless(Kept::part_of(RECEIVED, true)).undo().await.unwrap();
        assert_eq!(told.acts(), acts);
    }
    let list = "zfs get -Hp -r -t filesystem,volume -o name,value receive_resume_token tb";
    let (zfs, told) = recorded(&[(list, "tb\t-\ntb/a\t1-a-b-c\n"), ("zfs destroy -r tb", "")]);
    DestroyDataset::new(&zfs, "tb").unless(Kept::part_of("9", true)).undo().await.unwrap();
    assert_eq!(told.acts(), [""; 0]);
    DestroyDataset::new(&zfs, "tb").undo().await.unwrap();
    assert_eq!(told.acts(), ["zfs destroy -r tb"]);
}

#[tokio::test]
async fn the_source_keeps_what_the_target_needs() {
    let hold = "zfs hold reseed:t ta/a@reseed-2";
    // A part of it has come; of another one; all of it has come, and stays for what is below.
    for (guid, part, act) in [(2, "2", hold), (2, "3", "zfs destroy ta/a@reseed-2"), (1, "3", hold)] {
        let (target, at_target) = copy_with_part_of(part);
        let (zfs, told) = recorded(&[
            ("zfs get -Hp -o value guid ta/a@reseed-2", &guid.to_string()),
            (hold, ""),
            ("zfs destroy ta/a@reseed-2", ""),
        ]);
        let datasets = vec![("ta/a".to_owned(), "tb/a".to_owned())];
        let receiver = Some(Receiver { zfs: target, datasets, tag: "reseed:t".to_owned() });
        let (dataset, short, kept) = ("ta/a".to_owned(), "reseed-2".to_owned(), Kept::default());
        let undo = DestroySnapshot { zfs, dataset, short, tree: false, receiver, kept };
        undo.undo().await.unwrap();
        assert_eq!(told.acts(), [act]);
        assert_eq!(at_target.acts(), [""; 0]);
    }
}
