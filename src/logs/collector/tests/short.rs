//! The log of a run that ends within one interval: one object instead of a chunk and its compaction.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_log_of_a_short_run_of_a_new_job_is_written_once() {
    let fixture = Fixture::new(settings());
    let summary = fixture.whole(source("j", true), frames(3)).await;
    assert_eq!(fixture.store.asked(Op::Put), summary.log_keys);
    assert_eq!(fixture.store.asked(Op::Delete), Vec::<String>::new());
    assert_eq!(fixture.log("j").await, numbers(0..3));
}

#[tokio::test(start_paused = true)]
async fn a_short_run_of_a_job_that_has_a_log_is_appended_to_it() {
    let fixture = Fixture::new(settings());
    fixture.whole(source("j", true), frames(2)).await;
    let again = LogSource { run: "r2".parse().unwrap(), ..source("j", true) };
    let summary = fixture.whole(again, frames(1)).await;
    assert_eq!(summary.degraded, None);
    assert_eq!(fixture.log("j").await, ["0", "1", "0"]);
    assert_eq!(fixture.store.keys(".log"), summary.log_keys);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_died_after_writing_a_short_runs_log_leaves_no_line_to_be_repeated() {
    let fixture = Fixture::new(settings());
    fixture.whole(source("j", true), frames(2)).await;
    let adopted = LogSource { resume: true, ..source("j", true) };
    fixture.whole(adopted, frames(2)).await;
    assert_eq!(fixture.log("j").await, numbers(0..2));
    assert_eq!(fixture.store.keys(".log").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_short_runs_log_that_could_not_be_written_at_once_goes_the_usual_way() {
    let fixture = Fixture::new(settings());
    let mut tries = 0;
    fixture.store.fail_where(move |op, key| {
        tries += u32::from(op == Op::Put && key.ends_with(".log"));
        op == Op::Put && tries == 1
    });
    let summary = fixture.whole(source("j", true), frames(2)).await;
    assert_eq!((summary.dropped, summary.degraded), (0, None));
    assert_eq!(fixture.log("j").await, numbers(0..2));
}
