//! The role that docs/tutorial.md makes has what the stages need, in the oldest and the newest version
//! and where names change: the test runs the tutorial's very lines.

mod support;

use reseed_lab::{Major, PrimaryOptions, REPLICATOR, installed_majors, is_root};
use reseed_pg as _;
use support::certificates::put;
use support::pair::Pair;
use support::run;

const TUTORIAL: &str = include_str!("../../../docs/tutorial.md");
const PASSWORD: &str = "change me";

/// The block of the tutorial whose first line is this.
fn block(first: &str) -> &'static str {
    let blocks = TUTORIAL.split("```").skip(1).step_by(2);
    let mut found = blocks.filter_map(|block| block.split_once('\n')).map(|(_, text)| text);
    found.find(|text| text.lines().next() == Some(first)).unwrap_or_else(|| panic!("the tutorial has no `{first}`"))
}

fn sql(major: u32) -> String {
    let backup = if major >= 15 { "-- 15 and later" } else { "-- 10 to 14" };
    format!("{}{}", block("-- every version"), block(backup))
}

/// A pair whose role is the tutorial's.
fn pair(major: &Major) -> Pair {
    let mut pair = Pair::new(major, &PrimaryOptions::default());
    pair.primary.sql(&format!("drop owned by {REPLICATOR}; drop role {REPLICATOR}")).unwrap();
    pair.primary.sql(&sql(major.number)).unwrap();
    pair.reconfigure(&[], &block("# pg_hba.conf").replace("10.0.0.2", "127.0.0.1"));
    let line = format!("127.0.0.1:*:*:{REPLICATOR}:{PASSWORD}\n");
    let file = put(&pair.lab, "pgpass", &line, "postgres", 0o600);
    pair.conninfo += &format!(" passfile={file}");
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_s_role_has_what_is_needed_and_no_more() {
    let majors: Vec<_> =
        installed_majors().into_values().filter(|major| [10, 15, 18].contains(&major.number)).collect();
    if !is_root() || majors.is_empty() {
        return println!("skipped: needs root and PostgreSQL");
    }
    for major in majors {
        println!("PostgreSQL {}", major.number);
        let pair = pair(&major);
        // Backup mode, which asks the most.
        let seeded = pair.seed().await;
        assert!(seeded.said("backup mode") && seeded.said("proven"), "{seeded:#?}");
        run(&pair.in_place()).await.expect(0);
        pair.agrees();

        // Each right that is taken away is asked for in the tutorial's own words, or nearly.
        let start = if major.number >= 15 {
            "pg_backup_start(text, boolean)"
        } else {
            "pg_start_backup(text, boolean, boolean)"
        };
        for (taken, given, reason) in [
            (
                format!("alter role {REPLICATOR} noreplication"),
                format!("alter role {REPLICATOR} replication"),
                "may not replicate",
            ),
            (
                format!("revoke execute on function {start} from {REPLICATOR}"),
                format!("grant execute on function {start} to {REPLICATOR}"),
                "may not begin and end a backup",
            ),
            (
                format!("revoke pg_read_all_settings from {REPLICATOR}"),
                format!("grant pg_read_all_settings to {REPLICATOR}"),
                "may not see where the data directory is",
            ),
            (
                "revoke connect on database postgres from public".to_owned(),
                "grant connect on database postgres to public".to_owned(),
                "permission denied for database",
            ),
        ] {
            pair.primary.sql(&taken).unwrap();
            let refused = run(&pair.switching()).await.expect(3).report;
            let (error, hint) = (refused.error.unwrap(), refused.hint.unwrap().to_lowercase());
            assert!(error.contains(reason), "{taken}: {error}");
            // Up to the role or the function, which the hint may name in full.
            let words = given.split(" public").next().unwrap().replace("function ", "function pg_catalog.");
            assert!(hint.contains(&words), "{words}: {hint}");
            pair.primary.sql(&given).unwrap();
        }
        assert_eq!(run(&pair.switching()).await.expect(0).report.error, None);
    }
}
