//! A network between reseed and the primary that is slow, stands still, or breaks: the run survives it or is
//! taken back, over a new connection.

use std::time::Duration;

use reseed_lab::{Storage, Switch};
use reseed_tests::proxy::Proxy;
use reseed_tests::ready_for;
use reseed_tests::run::{Ended, Trial};
use reseed_tests::scene::Scene;
use reseed_tests::state::State;

/// Bytes of the stream after which something happens.
const MIDST: u64 = 4 << 20;

/// The pipeline with everything for the primary going through the proxy.
fn through(scene: &Scene, text: &str, proxy: &Proxy, host: &str) -> String {
    let sshd = scene.sshd.as_ref().unwrap();
    let known = std::fs::read_to_string(&sshd.known_hosts).unwrap();
    let (real, own) = (format!("]:{} ", sshd.port), format!("]:{} ", proxy.port));
    assert!(known.contains(&real), "{known}");
    let file = scene.lab.path("known_through_proxy");
    std::fs::write(&file, known.replace(&real, &own)).unwrap();
    let text = text.replace(&format!("port = {}\n", sshd.port), &format!("port = {}\n{host}\n", proxy.port));
    text.replace(&sshd.known_hosts, &file)
}

/// Runs it, and does something to the wire in its midst.
async fn with(text: &str, proxy: &Proxy, act: impl Future<Output = ()>) -> Ended {
    let acting = async {
        proxy.carried(MIDST).await;
        act.await;
    };
    let ended = tokio::join!(Trial::of(text).run(), acting).0;
    println!("{}", ended.summary());
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wire_that_is_slow_stands_still_or_breaks() {
    if !ready_for(Storage::Btrfs) {
        return;
    }
    let (mut scene, recipe) = Scene::with_much_to_send(Storage::Btrfs, Switch::Clone).await;
    let proxy = Proxy::to(scene.sshd.as_ref().unwrap().port).await;
    // A connection that stands still is given up after three seconds without an answer.
    let text = through(&scene, &scene.pipeline(&recipe), &proxy, "keep_alive = \"1s\"");

    let before = State::of(&scene);
    let broken = with(&text, &proxy, async { proxy.cut() }).await;
    scene.must_be_undone(&before, &broken);

    let stands = with(&text, &proxy, async { proxy.stand_still() }).await;
    scene.must_be_undone(&before, &stands);
    let stalls = through(&scene, &scene.pipeline(&recipe), &proxy, "keep_alive = \"2s\"");
    let stalls = with(&format!("stall = \"3s\"\n{stalls}"), &proxy, async { proxy.stand_still() }).await;
    scene.must_be_undone(&before, &stalls);
    assert!(stalls.report.error.as_ref().unwrap().contains("no byte has moved for 3s"), "{}", stalls.story());

    proxy.limit(16 << 20);
    let slow = with(&text, &proxy, async {
        proxy.stand_still();
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.go_on();
    });
    slow.await.must_be_done();
    scene.judge();
}
