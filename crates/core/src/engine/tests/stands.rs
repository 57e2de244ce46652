//! A run that fails after others may rely on its work.

use super::*;

async fn fails_with(stands: Stands) -> (RunReport, Vec<String>) {
    let log = Log::default();
    let report = engine(&[Act::Work, Act::FailWith(stands)], &log).run().await;
    (report, said(&log))
}

#[tokio::test]
async fn a_run_whose_work_stands_is_done() {
    let (report, said) = fails_with(Stands::Yes).await;
    assert_eq!((report.outcome, report.exit_code(), report.error), (Outcome::Done, 0, None));
    assert_eq!(said, ["run a", "run b", "chore a", "chore b"]);
    let (report, said) = fails_with(Stands::No).await;
    assert_eq!((report.outcome, said.last().map(String::as_str)), (Outcome::Undone, Some("undo a")));
}

#[tokio::test]
async fn nothing_is_taken_back_where_it_can_not_be_told() {
    let (report, said) = fails_with(Stands::Unknown).await;
    assert_eq!((report.outcome, report.exit_code()), (Outcome::Stuck, 4));
    assert_eq!(report.by_hand, ["rm b", "rm a"]);
    assert_eq!(said, ["run a", "run b"]);
}
