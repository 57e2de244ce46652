//! What a process that died has still at work is awaited before anything is taken back.

use schemars::JsonSchema;

use super::*;
use crate::config::BuildCx;
use crate::event::Event;
use crate::host::{Bygone, Command, Host, Job, LocalConfig, LocalHost, Process};
use crate::register_resource;
use crate::registry::{HostResource, ResourceConfig};

/// A machine that notes what it is told.
#[derive(Debug, Deserialize, JsonSchema)]
struct Noting {
    test: String,
}

impl Noting {
    fn note(&self, what: String) {
        DONE.lock().unwrap().push((self.test.clone(), what));
    }
}

#[async_trait]
impl Host for Noting {
    fn name(&self) -> &str {
        "noting"
    }

    fn is_local(&self) -> bool {
        false
    }

    fn settle(&self, bygone: &Bygone) {
        self.note(format!("settle {}", bygone.mark()));
    }

    async fn spawn(&self, job: &Job) -> Result<Process> {
        self.note(job.to_string().split(" ").next().unwrap_or_default().to_owned());
        LocalHost::new("noting", &LocalConfig::default()).spawn(job).await
    }
}

impl ResourceConfig for Noting {
    const TABLE: &'static str = "hosts";
    const USE: Option<&'static str> = Some("journal-test-noting");
    type Resource = HostResource;

    fn build(self, _name: &str, _cx: &mut BuildCx<'_>) -> Option<HostResource> {
        Some(HostResource(Arc::new(self)))
    }
}

register_resource!(Noting);

/// Notes whether a file is there.
#[derive(Debug, Serialize, Deserialize)]
struct Look {
    test: String,
    path: String,
}

register_undo!("journal-test-look", Look);

#[async_trait]
impl Undo for Look {
    fn describe(&self) -> String {
        "look".to_owned()
    }

    fn by_hand(&self) -> String {
        format!("ls {}", self.path)
    }

    async fn undo(&self) -> Result<()> {
        let found = if Path::new(&self.path).exists() { "it is done" } else { "it is not done" };
        DONE.lock().unwrap().push((self.test.clone(), found.to_owned()));
        Ok(())
    }
}

/// A process that is not this one.
fn another(mark: &str) -> Owner {
    Owner { mark: mark.to_owned(), pid: u32::MAX, ..Owner::this() }
}

/// Writes these entries as a run of this process on the machine that notes, and which dies then.
fn died(directory: &Path, test: &str, owner: Owner, entries: &[Entry]) -> StateDirectory {
    let file = format!("name = \"t\"\n[hosts.far]\nuse = \"journal-test-noting\"\ntest = \"{test}\"\n");
    let written = Written { file, set: BTreeMap::new(), ..written(directory) };
    drop(written.begin("r1", "t").unwrap());
    let path = written.state.path().join("runs/r1.jsonl");
    let mut begin = Story::read(&std::fs::read(&path).unwrap(), &path).unwrap().begin;
    begin.owner = owner;
    std::fs::remove_file(&path).unwrap();
    let journal = FileJournal::create(&path, &Entry::Begin(Box::new(begin))).unwrap();
    entries.iter().for_each(|entry| journal.write(entry).unwrap());
    written.state
}

#[tokio::test]
async fn hosts_settle_before_the_first_command_there() {
    let (test, directory) = ("settles", tempfile::tempdir().unwrap());
    let name = format!("/test/settles/{}", std::process::id());
    let locked = Entry::Locked(Target { host: "far".into(), what: "directory".into(), name });
    let owner = another("00000000000000aa");
    let state = died(directory.path(), test, owner, &[locked, armed(test, 1, None, None, "a")]);
    // One that began to take it back, and was killed too.
    let run = state.dead_run("r1").unwrap();
    run.journal.write(&Entry::Recovering { owner: another("00000000000000bb") }).unwrap();
    drop(run);
    recovered(&state).await;
    assert_eq!(done(test), ["settle 00000000000000aa", "settle 00000000000000bb", "lock", "a"]);
    let story = state.found().unwrap().remove(0).story.unwrap();
    assert_eq!(story.owners.len(), 3);
    assert_eq!(story.owners[2], Owner::this());
}

#[tokio::test]
async fn a_process_never_waits_for_itself_nor_for_one_without_a_mark() {
    for owner in [Owner::this(), another("")] {
        let (test, directory) = (format!("settles not {}", owner.mark), tempfile::tempdir().unwrap());
        let state = died(directory.path(), &test, owner, &[armed(&test, 1, None, None, "a")]);
        recovered(&state).await;
        assert_eq!(done(&test), ["a"]);
    }
}

#[tokio::test]
async fn a_short_act_on_this_machine_is_awaited() {
    let (test, directory) = ("settles here", tempfile::tempdir().unwrap());
    let path = directory.path().join("done").to_str().unwrap().to_owned();
    let begun = directory.path().join("begun").to_str().unwrap().to_owned();
    let host = LocalHost::new("local", &LocalConfig::default());
    let script = r#"touch "$1"; sleep 0.5; touch "$2""#;
    let env = Command::new("env").args(["RESEED_PROCESS=00000000000000cc", "sh", "-c", script, "sh", &begun, &path]);
    let _act = host.spawn(&env.to_its_end().into()).await.unwrap();
    while !Path::new(&begun).exists() {
        tokio::task::yield_now().await;
    }
    let look = Look { test: test.to_owned(), path };
    let armed = Entry::Armed { id: 1, stack: None, branch: None, undo: Record::of(&look).unwrap() };
    // One that ran elsewhere, or before a reboot, is not looked for.
    let elsewhere = Owner { boot: "another".into(), ..another("00000000000000cc") };
    for (owner, found) in [(elsewhere, "it is not done"), (another("00000000000000cc"), "it is done")] {
        let directory = tempfile::tempdir_in(directory.path()).unwrap();
        let state = died(directory.path(), test, owner, std::slice::from_ref(&armed));
        recovered(&state).await;
        assert_eq!(done(test).last().map(String::as_str), Some(found));
    }
}

/// Keeps warnings.
#[derive(Debug, Default)]
struct Warned(Mutex<Vec<String>>);

impl Observer for Warned {
    fn on(&self, event: &Event) {
        if let Event::Warning { text, .. } = event {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_is_told_and_not_awaited_for_ever() {
    let (test, directory) = ("settles never", tempfile::tempdir().unwrap());
    let host = LocalHost::new("local", &LocalConfig::default());
    let script = r#"echo up; exec sleep 600.5"#;
    let env = Command::new("env").args(["RESEED_PROCESS=00000000000000dd", "sh", "-c", script]);
    let mut act = host.spawn(&env.into()).await.unwrap();
    let mut line = [0; 8];
    tokio::io::AsyncReadExt::read(act.stdout.as_mut().unwrap(), &mut line).await.unwrap();
    let state = died(directory.path(), test, another("00000000000000dd"), &[armed(test, 1, None, None, "a")]);
    let warned = Arc::new(Warned::default());
    let observer: Arc<dyn Observer> = Arc::clone(&warned) as _;
    state.recover(|_| true, &observer, &CancellationToken::new()).await.unwrap();
    assert_eq!(*warned.0.lock().unwrap(), ["the run that died has still at work on this machine: `sleep 600.5`"]);
    assert_eq!(done(test).last().map(String::as_str), Some("a"));
}
