use super::*;
use crate::logs::testing::{MemoryStore, Op};

const DAILY: &str = "logs/j/20261122.log";

fn job() -> JobId {
    "j".parse().unwrap()
}

fn day() -> Day {
    "20261122".parse().unwrap()
}

fn chunk(run: &str, first: u64, last: u64) -> String {
    format!("logs/j/20261122/{run}.1.{first:012}-{last:012}.o{last}_1.log")
}

fn line(second: u32, text: &str) -> String {
    format!("2026-11-22T10:00:{second:02}.000000000Z stdout {text}\n")
}

/// A store with the chunks `0-0`, `1-1`, … of one run, one line each.
fn with_chunks(count: u32) -> MemoryStore {
    let store = MemoryStore::default();
    for number in 0..count {
        let key = chunk("r", number.into(), number.into());
        store.set(&key, &line(number, &number.to_string()));
    }
    store
}

/// The lines of a daily object, without our records.
fn texts(store: &MemoryStore) -> Vec<String> {
    let daily = store.text(Bucket::Logs, DAILY).unwrap_or_default();
    let lines = daily.lines().filter(|line| record(line.as_bytes()).is_none());
    lines.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn chunks_become_the_daily_object_in_order_and_go() {
    let store = with_chunks(3);
    compact(&store, &job(), day()).await.unwrap();
    assert_eq!(texts(&store), ["0", "1", "2"]);
    assert_eq!(store.keys(".log"), [DAILY]);
}

#[tokio::test]
async fn a_second_compaction_appends_and_where_to_go_on_is_still_known() {
    let store = with_chunks(2);
    compact(&store, &job(), day()).await.unwrap();
    store.set(&chunk("r", 2, 2), &line(2, "2"));
    compact(&store, &job(), day()).await.unwrap();
    compact(&store, &job(), day()).await.unwrap();
    assert_eq!(texts(&store), ["0", "1", "2"]);
    let keys = list(&store, &job()).await.unwrap();
    let origin = Origin { run: "r".parse().unwrap(), attempt: 1 };
    assert_eq!(last_stored(&keys, &origin).unwrap().last, 2);
    let (_, last) = locate(&store, &job(), &origin).await.unwrap();
    assert_eq!(last.unwrap().end.to_string(), "o2_1");
    assert_eq!(store.keys(".done").len(), 1);
}

/// compat.md 7: any read error but "no such key" counted as an empty log, and the write erased it.
#[tokio::test]
async fn compat_7_a_read_error_does_not_erase_the_day() {
    let store = with_chunks(1);
    store.set(DAILY, &line(0, "before"));
    store.fail_where(|op, key| op == Op::Get && key == DAILY);
    assert!(compact(&store, &job(), day()).await.is_err());
    assert_eq!(texts(&store), ["before"]);
    store.recover();
    compact(&store, &job(), day()).await.unwrap();
    assert_eq!(texts(&store), ["before", "0"]);
}

#[tokio::test]
async fn a_compaction_that_dies_after_any_of_its_steps_is_finished_by_the_next_without_repeats() {
    for steps in 0..12 {
        let store = with_chunks(3);
        let mut left = steps;
        store.fail_where(move |_, _| {
            left -= 1;
            left < 0
        });
        let outcome = compact(&store, &job(), day()).await;
        store.recover();
        compact(&store, &job(), day()).await.unwrap();
        assert_eq!(texts(&store), ["0", "1", "2"], "after {steps} steps: {outcome:?}");
        assert_eq!(store.keys("_1.log").len(), 0, "after {steps} steps");
    }
}

#[tokio::test]
async fn two_compactions_at_a_time_repeat_and_lose_nothing() {
    let store = with_chunks(5);
    store.slow_down("logs/j", std::time::Duration::from_millis(1));
    let (job, day) = (job(), day());
    let (first, second) = tokio::join!(compact(&store, &job, day), compact(&store, &job, day));
    first.unwrap();
    second.unwrap();
    assert_eq!(texts(&store), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn of_chunks_that_overlap_each_line_is_kept_once_and_all_of_them_go() {
    let store = with_chunks(3);
    store.set(&chunk("r", 0, 1), &format!("{}{}", line(0, "0"), line(1, "1")));
    compact(&store, &job(), day()).await.unwrap();
    assert_eq!(texts(&store), ["0", "1", "2"]);
    assert_eq!(store.keys(".log"), [DAILY]);
}

#[tokio::test]
async fn runs_of_one_day_stand_in_order_of_time_whatever_their_names() {
    let store = MemoryStore::default();
    store.set(&chunk("a", 0, 0), &line(30, "later"));
    store.set(&chunk("z", 0, 0), &line(10, "earlier"));
    compact(&store, &job(), day()).await.unwrap();
    assert_eq!(texts(&store), ["earlier", "later"]);
}

#[tokio::test]
async fn a_full_daily_object_is_continued_in_a_second_part() {
    let store = with_chunks(1);
    store.set(DAILY, &format!("{}\n", "x".repeat(MAX_DAILY_BYTES)));
    compact(&store, &job(), day()).await.unwrap();
    let second = store.text(Bucket::Logs, "logs/j/20261122.2.log").unwrap();
    assert!(second.starts_with(&line(0, "0")));
    assert_eq!(store.keys("_1.log").len(), 0);
}

#[tokio::test]
async fn the_end_of_a_run_clears_the_markers_of_earlier_ones() {
    let store = with_chunks(1);
    compact(&store, &job(), day()).await.unwrap();
    store.set(&chunk("next", 0, 0), &line(5, "x"));
    let run = Origin { run: "next".parse().unwrap(), attempt: 1 };
    compact_run(&store, &job(), &run).await.unwrap();
    assert_eq!(store.keys(".done"), [chunk("next", 0, 0).replace(".log", ".done")]);
}

#[test]
fn only_our_own_lines_are_records() {
    for line in [
        "2026-11-22T10:00:00Z stdout r.1.000000000000-000000000001.o1_1",
        "2026-11-22T10:00:00Z longshore hello",
        "2026-11-22T10:00:00Z longshore",
        "",
    ] {
        assert_eq!(record(line.as_bytes()), None, "{line}");
    }
    let ours = "2026-11-22T10:00:00Z longshore r.1.000000000000-000000000001.o1_1";
    assert_eq!(record(ours.as_bytes()).unwrap().len(), 1);
}
