//! Transfers that were cut off go on where they stopped.

use reseed_core::event::Event;
use reseed_tests::run::Ended;
use reseed_tests::vms::Vm;

use crate::chain::{COPY, Chain, SOURCE};

/// Bytes that may be sent twice for each cut: what was on its way, in the buffers of SSH and of the receiver,
/// or had arrived and was not on the disk yet.
const TWICE: u64 = 4 << 20;
const MIB: u64 = 1 << 20;

/// How many cuts there are: by default, and where `RESEED_FAULTS=all` (`make test-faults`).
fn cuts_wanted() -> u32 {
    if std::env::var("RESEED_FAULTS").is_ok_and(|faults| faults == "all") { 20 } else { 5 }
}

/// Numbers that come again where `RESEED_TEST_SEED` says so.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let seed = std::env::var("RESEED_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
        println!("RESEED_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

pub fn goes_on(ended: &Ended) -> bool {
    let told = |event: &Event| matches!(event, Event::Note { text, .. } if text.contains("the rest of it first"));
    ended.events.iter().any(told)
}

/// One snapshot on its way, as far as it has come.
struct Transfer<'a> {
    chain: &'a Chain,
    /// Bytes of files that are new in it: a little less than the stream.
    content: u64,
    /// Bytes that the copy has of it.
    kept: u64,
    cuts: u64,
    sent: u64,
}

impl Transfer<'_> {
    /// Cuts it somewhere in what is missing.
    async fn cut(&mut self, random: &mut Random) {
        let left = self.content - self.kept;
        let after = TWICE + random.below(left - TWICE);
        let ended = self.chain.cut(after).await;
        assert_eq!(goes_on(&ended), self.kept > 0, "{}", ended.story());
        let sent = ended.report.stream_bytes;
        // What has left the source is more: it reads ahead.
        assert!(sent >= after && sent <= left + TWICE, "{sent} bytes, cut behind {after}\n{}", ended.story());
        let now = self.chain.kept().unwrap_or_default();
        println!("cut {after} bytes behind {} of {}: {now} are kept", self.kept, self.content);
        assert!(now > self.kept && now + TWICE >= self.kept + after, "too little is kept\n{}", ended.story());
        (self.kept, self.cuts, self.sent) = (now, self.cuts + 1, self.sent + sent);
        let held = self.chain.snapshots(Vm::Primary, SOURCE);
        assert_eq!(held.last().map(|(_, holds)| holds.as_str()), Some("1"), "what is needed is held: {held:?}");
    }

    /// Lets it come to its end.
    async fn end(self) {
        let ended = self.chain.succeed().await;
        assert!(goes_on(&ended), "{}", ended.story());
        let rest = ended.report.stream_bytes;
        let (all, Self { content, kept, cuts, .. }) = (self.sent + rest, &self);
        println!("{rest} bytes were missing of {content}; {all} left the source, cut {cuts} times");
        assert!(rest < *content, "it was begun anew\n{}", ended.story());
        assert!(rest <= content - kept + TWICE, "{}", ended.story());
        self.chain.agrees();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_at_random_points_is_never_begun_anew() {
    let (chain, mut random) = (Chain::new(""), Random::seeded());
    let (mut cuts, mut content) = (0, 8 * MIB);
    // The whole first, then increments.
    while cuts < cuts_wanted() {
        chain.write("more", 24);
        content += 24 * MIB;
        let mut transfer = Transfer { chain: &chain, content, kept: 0, cuts: 0, sent: 0 };
        loop {
            transfer.cut(&mut random).await;
            cuts += 1;
            if cuts == cuts_wanted() || content - transfer.kept < 2 * TWICE || random.below(2) == 0 {
                break;
            }
        }
        transfer.end().await;
        content = 0;
    }
    // What was gone on with is an anchor like any other, and goes in its turn.
    chain.succeed().await;
    chain.succeed().await;
    assert_eq!(chain.snapshots(Vm::Primary, SOURCE).len(), 2);
    assert_eq!(chain.snapshots(Vm::Standby, COPY).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_that_was_cut_goes_on_and_what_was_committed_is_the_anchor() {
    let chain = Chain::new("");
    let whole = chain.succeed().await.report;
    chain.write("second", 16);
    let cut = chain.cut(9 << 20).await;
    let kept = chain.kept().expect("something is kept");
    assert_eq!(cut.report.outcome, reseed_core::report::Outcome::Undone);
    let said = |event: &Event| matches!(event, Event::Undone { undo } if undo.contains("the next run goes on"));
    assert_eq!(cut.events.iter().filter(|event| said(event)).count(), 2, "{}", cut.story());
    let planned = chain.newest(Vm::Primary, SOURCE);
    chain.write("third", 1);
    let ended = chain.succeed().await;
    assert!(goes_on(&ended), "{}", ended.story());
    let bytes = ended.report.stream_bytes;
    assert!(bytes <= (17 << 20) - kept + TWICE, "{bytes} bytes were sent where {kept} were kept");
    // The run's first stream starts from the whole; the increment on top, from the snapshot that was cut.
    assert_eq!(ended.report.from_guid, whole.to_guid, "{}", ended.story());
    let (_, short) = planned.split_once('@').unwrap();
    let guid = |vm: Vm, name: &str| chain.vms.root(vm, &format!("zfs get -Hp -o value guid {name}"));
    assert_eq!(guid(Vm::Standby, &format!("{COPY}@{short}")), guid(Vm::Primary, &planned));
    assert_ne!(chain.newest(Vm::Standby, COPY), format!("{COPY}@{short}"), "an increment followed");
    chain.agrees();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_gone_on_with_is_given_up_and_said() {
    let chain = Chain::new("");
    chain.write("second", 16);
    chain.cut(9 << 20).await;
    assert!(chain.kept().is_some());
    // The snapshot is made anew under its old name: a token goes by the GUID.
    let name = chain.newest(Vm::Primary, SOURCE);
    let again =
        format!("for t in $(zfs holds -H {name} | cut -f2); do zfs release $t {name}; done; zfs destroy {name}");
    chain.vms.root(Vm::Primary, &format!("{again}; zfs snapshot {name}"));
    let ended = chain.succeed().await;
    assert!(ended.report.full && !goes_on(&ended), "{}", ended.story());
    let told = |event: &Event| matches!(event, Event::Note { text, .. } if text.contains("gave up"));
    assert!(ended.events.iter().any(told), "{}", ended.story());
    chain.agrees();
}
