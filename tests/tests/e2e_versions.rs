//! What differs between major versions of PostgreSQL: a seeding and a reset by clone, and one in
//! place, with each.

use reseed_lab::{Recipe, Switch};
use reseed_tests::scene::Scene;
use reseed_tests::version;

async fn seed_reset_and_in_place(number: u32) {
    let Some(major) = version(number) else { return };
    let mut scene = Scene::of(major);
    scene.succeed(&Recipe::default()).await;
    let reset = scene.succeed(&Recipe::default()).await.report;
    assert!(!reset.full, "{reset:?}");
    scene.succeed(&Recipe { switch: Switch::InPlace, ..Recipe::default() }).await;
}

macro_rules! versions {
    ($($name:ident: $number:expr),*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            seed_reset_and_in_place($number).await;
        }
    )*};
}

versions!(postgres_10: 10, postgres_12: 12, postgres_14: 14, postgres_17: 17, postgres_18: 18);
