use super::*;
use crate::logs::compact::compact;
use crate::logs::testing::{MemoryStore, Op};

fn job() -> JobId {
    "j".parse().unwrap()
}

fn put(store: &MemoryStore, day: u32, frame: u64, stream: &str) {
    let key = format!("logs/j/202611{day}/r.1.{frame:012}-{frame:012}.o{frame}_1.log");
    store.set(&key, &format!("2026-11-{day}T10:00:00.000000000Z {stream} {frame}\n"));
}

/// Frames 0 to 5 over two days; the first day is compacted, and of the second the first chunk.
async fn two_days() -> MemoryStore {
    let store = MemoryStore::default();
    for (day, frame) in [(21, 0), (21, 1), (22, 2)] {
        put(&store, day, frame, if frame == 1 { "stderr" } else { "stdout" });
    }
    compact(&store, &job(), "20261121".parse().unwrap()).await.unwrap();
    compact(&store, &job(), "20261122".parse().unwrap()).await.unwrap();
    for frame in 3..6 {
        put(&store, 22, frame, "stdout");
    }
    store
}

async fn texts(store: &MemoryStore, query: LogQuery) -> Vec<String> {
    let mut out = Vec::new();
    let sink = &mut |line: StoredLine<'_>| {
        out.push(line.text.to_owned());
        ControlFlow::Continue(())
    };
    read(store, &job(), &query, sink).await.unwrap();
    out
}

#[tokio::test]
async fn the_daily_log_and_later_chunks_are_read_in_order_and_our_records_are_not() {
    let store = two_days().await;
    assert_eq!(texts(&store, LogQuery::default()).await, ["0", "1", "2", "3", "4", "5"]);
    let days: Vec<_> =
        list_days(&store, &job()).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(days, ["20261121", "20261122"]);
}

#[tokio::test]
async fn a_range_of_days_and_a_stream_can_be_asked_for() {
    let store = two_days().await;
    let day = Some("20261121".parse().unwrap());
    let first = LogQuery { from: day, to: day, ..LogQuery::default() };
    assert_eq!(texts(&store, first).await, ["0", "1"]);
    let second = LogQuery { from: day.map(Day::next), ..LogQuery::default() };
    assert_eq!(texts(&store, second).await, ["2", "3", "4", "5"]);
    let stderr = LogQuery { stream: Some(Stream::Stderr), ..LogQuery::default() };
    assert_eq!(texts(&store, stderr).await, ["1"]);
}

#[tokio::test]
async fn lines_since_a_moment_can_be_asked_for() {
    let store = two_days().await;
    for (since, expected) in [
        ("2026-11-21T10:00:00Z", &["0", "1", "2", "3", "4", "5"][..]),
        ("2026-11-21T10:00:00.000000001Z", &["2", "3", "4", "5"]),
        ("2026-11-22T10:00:00.000000001Z", &[]),
    ] {
        let since = Some(since.parse().unwrap());
        let query = LogQuery { since, ..LogQuery::default() };
        assert_eq!(texts(&store, query.clone()).await, expected);
        let last = LogQuery { tail: Some(1), ..query };
        assert_eq!(texts(&store, last).await, expected[expected.len().saturating_sub(1)..]);
    }
}

#[tokio::test]
async fn how_far_a_run_is_stored_is_known() {
    let store = two_days().await;
    let run = "r".parse().unwrap();
    assert_eq!(stored_up_to(&store, &job(), &run, 1).await.unwrap(), 6);
    assert_eq!(stored_up_to(&store, &job(), &run, 2).await.unwrap(), 0);
}

#[tokio::test]
async fn a_tail_is_the_end_of_the_whole_whatever_its_length() {
    let store = two_days().await;
    for tail in 0..8 {
        let query = LogQuery { tail: Some(tail), ..LogQuery::default() };
        let all = ["0", "1", "2", "3", "4", "5"];
        assert_eq!(texts(&store, query).await, all[6usize.saturating_sub(tail)..], "{tail}");
    }
}

#[tokio::test]
async fn a_short_tail_reads_only_the_newest_chunks() {
    let store = two_days().await;
    let before = store.asked(Op::Get).len();
    texts(&store, LogQuery { tail: Some(2), ..LogQuery::default() }).await;
    assert_eq!(store.asked(Op::Get).len() - before, 2);
}

#[tokio::test]
async fn chunks_that_a_broken_compaction_left_behind_are_not_read_twice() {
    let store = two_days().await;
    store.fail_where(|op, _| op == Op::Delete);
    assert!(compact(&store, &job(), "20261122".parse().unwrap()).await.is_err());
    store.recover();
    assert_eq!(store.keys("5_1.log").len(), 1);
    assert_eq!(texts(&store, LogQuery::default()).await, ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn reading_while_the_day_is_compacted_gives_each_line_once() {
    let day = "20261122".parse().unwrap();
    for delay in 0..12 {
        let store = two_days().await;
        store.slow_down("logs/j", std::time::Duration::from_millis(2));
        let job = job();
        let (lines, compacted) = tokio::join!(texts(&store, LogQuery::default()), async {
            tokio::time::sleep(std::time::Duration::from_millis(delay)).await;
            compact(&store, &job, day).await
        });
        compacted.unwrap();
        assert_eq!(lines, ["0", "1", "2", "3", "4", "5"], "after {delay} ms");
    }
}

#[tokio::test]
async fn a_log_of_another_form_is_read_as_it_is() {
    let store = MemoryStore::default();
    store.set("logs/j/20200101.log", "[info] hello there\nno newline");
    assert_eq!(texts(&store, LogQuery::default()).await, ["[info] hello there", "no newline"]);
}
