use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::attempts::{MAX_RESTART_PAUSE, REPLACE_PAUSE};
use super::*;
use crate::job::{
    Bounds, ExecutionResult, FollowUp, Job, ResultStatus, RunId, Verdict, parse_executable,
};
use crate::storage::{JobRecord, RecordState, StoredMessage, Tombstone};

#[test]
fn a_run_is_answered_to_the_message_that_started_it_alone() {
    assert!(is_same_start(Some("a"), "a"));
    assert!(!is_same_start(Some("b"), "a"));
    assert!(is_same_start(None, "a"));
}

#[test]
fn an_expired_start_is_cancelled_and_an_undeliverable_one_is_unavailable() {
    let (verdict, why) = undelivered(Some("expired"));
    assert_eq!(verdict, Verdict::Cancelled);
    assert!(why.contains("time to live"), "{why}");
    assert_eq!(undelivered(Some("delivery_limit")).0, Verdict::Unavailable);
    let (verdict, why) = undelivered(Some("rejected"));
    assert_eq!(verdict, Verdict::Unavailable);
    assert!(why.contains("rejected"), "{why}");
    assert_eq!(undelivered(None).0, Verdict::Unavailable);
}

fn run(id: &str) -> RunId {
    id.parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(in crate::worker) fn record(run_id: &str, segment: u32, state: RecordState) -> JobRecord {
    JobRecord {
        id: "job".parse().unwrap(),
        run_id: run(run_id),
        message_id: None,
        claim: uuid::Uuid::nil(),
        segment,
        epoch: 1,
        place: None,
        state,
        attempt: 1,
        first_try: 1,
        claimed_at: at(0),
        finished_at: None,
        message: StoredMessage {
            body: String::new(),
            correlation_id: None,
            reply_to: None,
            body_sha256: None,
            published_at: None,
            traceparent: None,
        },
        result: None,
    }
}

fn incoming(run_id: &str, published_at: Option<i64>) -> Incoming {
    Incoming { run_id: run(run_id), published_at: published_at.map(at) }
}

#[test]
fn a_job_without_a_record_is_taken() {
    use ClaimDecision::{Duplicate, Republish, Take};
    use RecordState::{Active, Finished, Waiting};
    use Standing::{Orphaned, Theirs};
    let start = incoming("r1", None);
    let cases = [
        ("r1", Finished, Theirs, Republish),
        ("r0", Finished, Theirs, Take),
        ("r1", Active, Theirs, Duplicate),
        ("r1", Active, Orphaned, Take),
        ("r0", Active, Orphaned, Take),
        ("r1", Waiting, Theirs, Take),
        ("r0", Waiting, Theirs, Duplicate),
        ("r0", Waiting, Orphaned, Take),
    ];
    for (run, state, standing, expected) in cases {
        let decided = claim(&record(run, 1, state), &start, standing);
        assert_eq!(decided, expected, "{run} {state:?} {standing:?}");
    }
}

#[test]
fn a_record_is_orphaned_where_a_later_owner_could_not_see_it() {
    let mut old = record("r1", 4, RecordState::Active);
    old.epoch = 3;
    for (owner_epoch, is_indexed, expected) in [
        (Some(3), false, Standing::Theirs),
        (Some(3), true, Standing::Theirs),
        (Some(4), true, Standing::Theirs),
        (Some(4), false, Standing::Orphaned),
        (None, false, Standing::Theirs),
    ] {
        assert_eq!(standing(&old, owner_epoch, is_indexed), expected, "{owner_epoch:?}");
    }
}

/// A stop that was sent at this second, of a run if it names one.
fn stop(run_id: Option<&str>, second: i64) -> Tombstone {
    Tombstone {
        id: "job".parse().unwrap(),
        run_id: run_id.map(run),
        reason: None,
        at: at(second),
        is_spent: false,
    }
}

#[test]
fn a_stop_cancels_what_was_published_before_it() {
    let cases = [
        (stop(None, 1000), incoming("r1", Some(999)), true),
        (stop(None, 1000), incoming("r1", Some(1000)), true),
        (stop(None, 1000), incoming("r1", Some(1001)), false),
        (stop(Some("r1"), 1000), incoming("r1", Some(2000)), true),
        (stop(Some("r2"), 1000), incoming("r1", Some(1)), false),
    ];
    for (tombstone, start, expected) in cases {
        assert_eq!(cancels(&tombstone, &start, at(1005)), expected, "{tombstone:?} {start:?}");
    }
}

#[test]
fn a_late_stop_is_not_for_a_run_that_was_published_after_it() {
    for (named, is_late, published_at, expected) in [
        (None, true, Some(999), true),
        (None, true, Some(1000), true),
        (None, true, Some(1001), false),
        (None, true, None, true),
        // The clocks of two publishers may differ.
        (None, false, Some(1001), true),
        (Some("r1"), true, Some(2000), true),
        (Some("r2"), false, Some(1), false),
    ] {
        let said = reaches(&stop(named, 1000), is_late, &run("r1"), published_at.map(at));
        assert_eq!(said, expected, "{named:?} {is_late} {published_at:?}");
    }
}

#[test]
fn a_cancelled_start_learns_which_stop_cancelled_it_and_why() {
    let reason = Some("enough".to_owned());
    let mut stop = Tombstone { reason, ..stop(None, 1_795_867_200) };
    assert_eq!(
        why_cancelled(&stop, &incoming("r1", None)),
        "cancelled before it ran by a stop of 2026-11-28T12:00:00Z (enough), which counts because \
         the start has no AMQP timestamp: a stop then holds for 60 s"
    );
    assert_eq!(
        why_cancelled(&stop, &incoming("r1", Some(1_795_867_195))),
        "cancelled before it ran by a stop of 2026-11-28T12:00:00Z (enough), which came after the \
         start was published, at 2026-11-28T11:59:55Z"
    );
    stop.reason = None;
    stop.run_id = Some(run("r1"));
    assert_eq!(
        why_cancelled(&stop, &incoming("r1", None)),
        "cancelled before it ran by a stop of 2026-11-28T12:00:00Z, which names this run"
    );
}

#[test]
fn a_run_is_stopping_where_the_stop_is_meant_for_it() {
    let mut active = record("r1", 1, RecordState::Active);
    active.claimed_at = at(100);
    assert!(is_stopping(&stop(None, 100), &active));
    assert!(!is_stopping(&stop(None, 99), &active), "an older stop was for an older run");
    assert!(is_stopping(&stop(Some("r1"), 1), &active));
    assert!(!is_stopping(&stop(Some("r2"), 200), &active));
}

#[test]
fn a_run_that_is_taken_up_ends_by_a_stop_that_its_last_owner_could_not_find_any_more() {
    let mut active = record("r1", 1, RecordState::Active);
    (active.claimed_at, active.message.published_at) = (at(100), Some(at(50)));
    assert!(ends(&stop(None, 200), &active), "it came while the job ran");
    assert!(
        ends(&stop(None, 60), &active),
        "it came between the start's publication and its claim"
    );
    assert!(!ends(&stop(None, 49), &active), "it was for an earlier start");
    assert!(!ends(&stop(Some("r2"), 200), &active));
    active.message.published_at = None;
    assert!(ends(&stop(None, 60), &active));
    active.claimed_at = at(121);
    assert!(!ends(&stop(None, 60), &active));
}

#[test]
fn a_write_without_an_answer_was_followed_where_its_traces_say_so() {
    let ours = record("r1", 1, RecordState::Waiting);
    assert!(follows(&ours, &ours));
    for (segment, epoch) in [(2, 1), (1, 2)] {
        let theirs = JobRecord { segment, epoch, ..ours.clone() };
        assert!(!follows(&theirs, &ours), "somebody else has taken the run over");
    }
    // The next run may have begun after an end that somebody else wrote.
    let next = record("r2", 2, RecordState::Active);
    for state in [RecordState::Active, RecordState::Waiting, RecordState::Finished] {
        assert!(!follows(&next, &record("r1", 1, state)), "{state:?}");
    }
}

#[test]
fn a_stop_holds_for_a_minute_where_a_start_does_not_say_when_it_was_published() {
    let stop = stop(None, 1000);
    let start = incoming("r1", None);
    assert!(cancels(&stop, &start, at(1060)));
    assert!(!cancels(&stop, &start, at(1061)));
}

/// A job of a kind.
pub(in crate::worker) fn a_job(is_long_running: bool) -> Job {
    let message = json!({
        "id": "job", "runtime": "python3.11", "entrypoint": "bot",
        "entrypoint_files": {"bot": "main.py"}, "file_path": "job.zip", "config": {},
        "is_long_running": is_long_running, "persist_results": false,
    });
    let executable = parse_executable(message.to_string().as_bytes()).unwrap();
    Job::validate(executable, &Bounds::default(), None).unwrap()
}

fn job(restart: &serde_json::Value) -> Job {
    let message = json!({
        "id": "job", "runtime": "python3.11", "entrypoint": "bot",
        "entrypoint_files": {"bot": "main.py"}, "file_path": "job.zip", "config": {},
        "is_long_running": true, "persist_results": false, "restart": restart,
    });
    let executable = parse_executable(message.to_string().as_bytes()).unwrap();
    Job::validate(executable, &Bounds::default(), None).unwrap()
}

fn ended(verdict: Verdict) -> ExecutionResult {
    let result = json!({
        "status": "error", "verdict": verdict, "message": "", "output": "",
        "duration_seconds": 1.0, "is_long_running": true, "attempt": 1, "worker": "w",
        "finished_at": "2026-01-01T00:00:00Z",
    });
    serde_json::from_value(result).unwrap()
}

fn after(restarts: u32) -> Tally {
    Tally { restarts, ..Tally::default() }
}

#[test]
fn code_runs_again_only_where_the_message_says_so() {
    let quiet = job(&json!(null));
    let on_failure = job(&json!({"when": "on_failure", "max_restarts": 2, "backoff_seconds": 4}));
    let always = job(&json!({"when": "always"}));
    let again = |job: &Job, verdict| after_end(job, &ended(verdict), after(0)) != NextStep::Settle;
    for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Lost) {
        assert!(!again(&quiet, verdict), "{verdict}");
        let ended_by_itself = verdict.follow_up() == FollowUp::Restart;
        let failed = ended_by_itself && verdict.status() == ResultStatus::Error;
        assert_eq!(again(&on_failure, verdict), failed, "{verdict}");
        assert_eq!(again(&always, verdict), ended_by_itself, "{verdict}");
    }
    let pause = |restarts| after_end(&on_failure, &ended(Verdict::Failed), after(restarts));
    assert_eq!(pause(0), NextStep::Restart(Duration::from_secs(4)));
    assert_eq!(pause(1), NextStep::Restart(Duration::from_secs(8)));
    assert_eq!(pause(2), NextStep::Settle);
}

#[test]
fn a_lost_attempt_is_replaced_a_bots_always_and_a_backtests_while_it_has_attempts() {
    let mut job = job(&json!(null));
    let lost = |attempt| ExecutionResult { attempt, ..ended(Verdict::Lost) };
    assert_eq!(after_end(&job, &lost(99), after(99)), NextStep::Replace(REPLACE_PAUSE));
    job.is_long_running = false;
    assert_eq!(after_end(&job, &lost(2), after(0)), NextStep::Replace(REPLACE_PAUSE));
    assert_eq!(after_end(&job, &lost(3), after(0)), NextStep::Settle);
}

#[test]
fn attempts_that_are_lost_soon_one_after_the_other_are_replaced_less_and_less_often() {
    let job = job(&json!(null));
    let soon = ended(Verdict::Lost);
    let steady = ExecutionResult { duration_seconds: 10.0, ..ended(Verdict::Lost) };
    let mut tally = Tally::default();
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let next = after_end(&job, &soon, tally);
        tally = tally.and(next, &soon);
        if let NextStep::Replace(pause) = next {
            pauses.push(pause.as_secs());
        }
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    let next = after_end(&job, &steady, tally);
    assert_eq!(next, NextStep::Replace(REPLACE_PAUSE));
    assert_eq!(tally.and(next, &steady), Tally::default());
}

proptest! {
    #[test]
    fn restarts_come_to_an_end_and_pauses_have_a_bound(most in 1_u32..1000, restarts in 0_u32..2000) {
        let policy = json!({"when": "always", "max_restarts": most, "backoff_seconds": 300});
        match after_end(&job(&policy), &ended(Verdict::Failed), after(restarts)) {
            NextStep::Restart(pause) => {
                prop_assert!(restarts < most);
                prop_assert!(pause <= MAX_RESTART_PAUSE);
            }
            NextStep::Settle => prop_assert!(restarts >= most),
            NextStep::Replace(_) => prop_assert!(false, "nothing was lost"),
        }
    }

    #[test]
    fn retries_come_to_an_end(attempt in 1_u32.., most in 1_u32..100) {
        prop_assert_eq!(may_retry(attempt, most), attempt < most);
    }

    #[test]
    fn a_bots_tries_count_from_the_last_attempt_that_ran(attempt in 1_u32.., first_try in 1_u32..) {
        prop_assert_eq!(tries(false, attempt, first_try), attempt);
        let bots = tries(true, attempt, first_try);
        prop_assert_eq!(bots, if attempt > first_try { attempt - first_try + 1 } else { 1 });
    }
}
