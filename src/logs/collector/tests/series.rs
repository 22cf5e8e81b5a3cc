//! What a program measures is kept in the store, once, also by a worker that adopts it.

use super::*;
use crate::job::series::{Point, read_points};

const KEY: &str = "j/r/series/1.jsonl";

async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

fn points(store: &MemoryStore) -> Vec<Point> {
    store.text(Bucket::Results, KEY).map_or_else(Vec::new, |text| read_points(text.as_bytes()))
}

fn values(store: &MemoryStore) -> Vec<f64> {
    points(store).iter().map(|point| point.value).collect()
}

fn puts(store: &MemoryStore) -> usize {
    store.asked(Op::Put).iter().filter(|key| *key == KEY).count()
}

/// Frames that measure their own numbers.
fn measuring(count: usize) -> Vec<Frame> {
    let mut frames = frames(count);
    for (number, one) in frames.iter_mut().enumerate() {
        one.bytes = Bytes::from(format!("::longshore metric x {number}\n"));
    }
    frames
}

#[tokio::test(start_paused = true)]
async fn series_are_stored_with_the_log_when_they_have_changed_and_at_the_end() {
    let fixture = Fixture::new(settings());
    let (send, handle) = fixture.open(source("j", false), None);
    let said =
        "::longshore metric x 1\n::longshore progress 5 begun\n::longshore metric y 2 2024-03-01\n";
    send.send(frame(said)).await.unwrap();
    seconds(29).await;
    assert_eq!(puts(&fixture.store), 0);
    seconds(3).await;
    let stored = points(&fixture.store);
    let names: Vec<_> = stored.iter().map(|point| point.name.as_str()).collect();
    assert_eq!(names, ["x", "progress", "y"]);
    assert_eq!(stored[1].text.as_deref(), Some("begun"));
    send.send(frame("only a line\n")).await.unwrap();
    seconds(300).await;
    assert_eq!(puts(&fixture.store), 1, "nothing has changed");
    send.send(frame("::longshore metric x 3\n")).await.unwrap();
    seconds(31).await;
    send.send(frame("::longshore metric x 4\n")).await.unwrap();
    drop(send);
    let summary = handle.finish(SOON).await;
    assert_eq!((puts(&fixture.store), values(&fixture.store)), (3, vec![1.0, 3.0, 4.0, 5.0, 2.0]));
    assert_eq!((summary.series_key.as_deref(), summary.series_problem), (Some(KEY), None));
    let short: Vec<_> = summary.series.iter().map(|one| (one.points, one.last)).collect();
    assert_eq!(short, [(3, 4.0), (1, 5.0), (1, 2.0)]);
}

#[tokio::test(start_paused = true)]
async fn series_are_stored_no_more_often_than_their_setting_says() {
    let interval = Duration::from_secs(120);
    let fixture = Fixture::new(LogSettings { series_interval: interval, ..settings() });
    let (send, _handle) = fixture.open(source("j", false), None);
    for number in 0..60 {
        send.send(frame(&format!("::longshore metric x {number}\n"))).await.unwrap();
        seconds(10).await;
    }
    // The first after the log's interval of 30 s.
    assert_eq!(puts(&fixture.store), 5);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_and_a_run_that_measures_nothing_store_none() {
    let fixture = Fixture::new(settings());
    let sweep = LogSource { series_key: None, ..source("j", true) };
    let summary = fixture.whole(sweep, vec![frame("::longshore metric x 1\n")]).await;
    assert_eq!((summary.series_key, summary.series), (None, Vec::new()));
    let summary =
        fixture.whole(source("j", true), vec![frame("::longshore metric x half\n")]).await;
    assert_eq!((summary.series_key, puts(&fixture.store)), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn the_next_worker_goes_on_where_the_stored_series_end() {
    for stored in [0, 1, 4, 9] {
        let fixture = Fixture::new(settings());
        fixture.whole(source("j", false), measuring(stored)).await;
        let resumed = LogSource { resume: true, ..source("j", false) };
        // The engine has thrown away the first of them.
        let frames = measuring(9).split_off(stored.min(3));
        let summary = fixture.whole(resumed, frames).await;
        let expected: Vec<_> = (0..9).map(f64::from).collect();
        assert_eq!(values(&fixture.store), expected, "after {stored}");
        assert_eq!(summary.series[0].points, 9);
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_comes_late_takes_no_point_away() {
    let fixture = Fixture::new(settings());
    let (late, late_handle) = fixture.open(source("j", false), None);
    let frames = measuring(9);
    for frame in &frames[..3] {
        late.send(frame.clone()).await.unwrap();
    }
    seconds(32).await;
    assert_eq!(values(&fixture.store).len(), 3);
    let resumed = LogSource { resume: true, ..source("j", false) };
    let (next, next_handle) = fixture.open(resumed, None);
    for frame in &frames[..6] {
        next.send(frame.clone()).await.unwrap();
    }
    seconds(32).await;
    assert_eq!(values(&fixture.store).len(), 6);
    late.send(frames[3].clone()).await.unwrap();
    drop(late);
    late_handle.finish(SOON).await;
    assert_eq!(values(&fixture.store).len(), 6, "the late one knows fewer");
    for frame in &frames[6..] {
        next.send(frame.clone()).await.unwrap();
    }
    drop(next);
    next_handle.finish(SOON).await;
    assert_eq!(values(&fixture.store).len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_gets_all_of_it_later_or_the_summary_says_so() {
    let fixture = Fixture::new(settings());
    fixture.store.fail_where(|op, key| op == Op::Put && key.contains("series"));
    let (send, handle) = fixture.open(source("j", false), None);
    send.send(frame("::longshore metric x 1\n")).await.unwrap();
    seconds(32).await;
    assert!(values(&fixture.store).is_empty());
    fixture.store.recover();
    seconds(60).await;
    assert_eq!(values(&fixture.store), [1.0]);
    fixture.store.fail_where(|op, key| op == Op::Put && key.contains("series"));
    send.send(frame("::longshore metric x 2\n")).await.unwrap();
    drop(send);
    let summary = handle.finish(SOON).await;
    let problem = summary.series_problem.unwrap();
    assert!(problem.starts_with("the last of them could not be stored"), "{problem}");
    assert_eq!(summary.series_key.as_deref(), Some(KEY), "what was stored before stays");
}

#[tokio::test(start_paused = true)]
async fn beyond_its_bounds_the_summary_names_the_settings() {
    let bounds = LogSettings { max_series: 1, max_series_points: 10, ..settings() };
    let fixture = Fixture::new(bounds);
    let mut frames = measuring(10);
    let summary = fixture.whole(source("j", true), frames.clone()).await;
    assert_eq!(summary.series_problem.as_deref(), None);
    frames.push(frame("::longshore metric x 10\n::longshore metric y 1\n"));
    let other = Fixture::new(LogSettings { max_series: 1, max_series_points: 10, ..settings() });
    let summary = other.whole(source("j", true), frames).await;
    let problem = summary.series_problem.unwrap();
    for part in ["x has 11 points", "SERIES_MAX_POINTS=10", "SERIES_MAX_NAMES=1"] {
        assert!(problem.contains(part), "{problem}");
    }
    assert!(values(&other.store).len() <= 10);
}
