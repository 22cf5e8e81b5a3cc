use std::sync::Arc;

use super::*;
use crate::logs::testing::{MemoryStore, Op};

const NOW: &str = "2026-11-22T10:00:00Z";

const MONTH: Retention = Retention { days: 30, max_keys: 10_000 };

struct Fixture {
    store: Arc<MemoryStore>,
    journal: Journal,
}

impl Fixture {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let journal = Journal::new(Arc::clone(&store) as Arc<dyn ObjectStore>, "ns".to_owned());
        Self { store, journal }
    }

    async fn sweep(&self, retention: Retention, now: &str) -> Option<Swept> {
        let now = now.parse().unwrap();
        sweep(Pass::Daily, &*self.store, &self.journal, "ns", retention, now).await.unwrap()
    }
}

fn range(frame: u64) -> String {
    format!("r.1.{frame:012}-{frame:012}.o{frame}_1")
}

#[tokio::test]
async fn what_is_too_old_goes_and_nothing_else() {
    let fixture = Fixture::new();
    let old = ["logs/a/20261022.log", "logs/a/20261022.2.log"];
    let kept = ["logs/a/20261023.log", "logs/b/20261122.log", "logs/notes.txt", "logs/a/readme"];
    let chunk = format!("logs/b/20261001/{}.log", range(0));
    for key in old.iter().chain(&kept).chain([&chunk.as_str()]) {
        fixture.store.set(key, "x\n");
    }
    let swept = fixture.sweep(MONTH, NOW).await.unwrap();
    assert_eq!(swept, Swept { seen: 7, removed: 3, failed: 0, ..Swept::default() });
    let mut expected = kept.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(fixture.store.keys(""), expected);
}

#[tokio::test]
async fn who_asks_is_told_what_would_go_and_needs_no_turn() {
    let fixture = Fixture::new();
    let chunk = format!("logs/b/20261115/{}.log", range(0));
    for key in ["logs/a/20261022.log", "logs/a/20261122.log", &chunk] {
        fixture.store.set(key, "x\n");
    }
    fixture.sweep(Retention { days: 3_000, ..MONTH }, NOW).await.unwrap();
    let keys = fixture.store.keys("");
    fixture.store.set(&chunk, "2026-11-15T10:00:00.000000000Z stdout x\n");
    let pass = async |pass| {
        let (store, now) = (&*fixture.store, NOW.parse().unwrap());
        sweep(pass, store, &fixture.journal, "ns", MONTH, now).await.unwrap().unwrap()
    };
    let told = pass(Pass::DryRun).await;
    assert_eq!((told.removed, told.failed), (1, 0));
    assert!(fixture.store.keys("").contains(&chunk), "nothing was compacted");
    assert_eq!(pass(Pass::Now).await.removed, 1, "the day is taken, and it does not matter");
    let left: Vec<_> = keys.into_iter().filter(|key| key != "logs/a/20261022.log").collect();
    assert_eq!(fixture.store.keys(""), left);
}

#[tokio::test]
async fn what_is_kept_for_ever_is_counted() {
    let fixture = Fixture::new();
    fixture.store.set("logs/a/20010101.log", "x\n");
    let swept = fixture.sweep(Retention { days: Retention::FOR_EVER, ..MONTH }, NOW).await;
    assert_eq!(swept, Some(Swept { seen: 1, ..Swept::default() }));
}

#[tokio::test]
async fn one_worker_does_it_once_a_day() {
    let fixture = Fixture::new();
    fixture.store.set("logs/a/20260101.log", "x\n");
    let (first, second) = tokio::join!(fixture.sweep(MONTH, NOW), fixture.sweep(MONTH, NOW));
    assert_eq!([first, second].iter().flatten().count(), 1);
    assert_eq!(fixture.sweep(MONTH, NOW).await, None);
    assert!(fixture.sweep(MONTH, "2026-11-23T00:00:00Z").await.is_some());
}

#[tokio::test]
async fn a_day_looks_at_so_many_keys_and_the_next_one_goes_on_there() {
    let fixture = Fixture::new();
    for number in 0..25 {
        fixture.store.set(&format!("logs/j{number:02}/20260101.log"), "x\n");
    }
    let ten = Retention { max_keys: 10, ..MONTH };
    for (day, left) in [(22, 15), (23, 5), (24, 0)] {
        let swept = fixture.sweep(ten, &format!("2026-11-{day}T10:00:00Z")).await.unwrap();
        assert_eq!(fixture.store.keys("").len(), left);
        assert!(swept.seen <= 10);
    }
}

#[tokio::test]
async fn one_object_that_cannot_be_removed_keeps_no_other() {
    let fixture = Fixture::new();
    for number in 0..30 {
        fixture.store.set(&format!("logs/j{number:02}/20260101.log"), "x\n");
    }
    let marker = format!("logs/k/20260101/{}.done", range(5));
    let chunk = format!("logs/l/20261115/{}.log", range(0));
    for key in [&marker, &chunk] {
        fixture.store.set(key, "2026-11-15T10:00:00.000000000Z stdout x\n");
    }
    fixture.store.fail_where(|op, key| match op {
        Op::Delete => key.contains("j03"),
        Op::Get => key.contains("jobs/k"),
        Op::List => key.contains("logs/l/"),
        _ => false,
    });
    let swept = fixture.sweep(MONTH, NOW).await.unwrap();
    assert_eq!(swept, Swept { seen: 32, removed: 29, failed: 3, ..Swept::default() });
    assert_eq!(fixture.store.keys(""), ["logs/j03/20260101.log", &marker, &chunk]);
}

#[tokio::test]
async fn a_pass_that_failed_goes_on_where_it_was() {
    let fixture = Fixture::new();
    for number in 0..=Failures::MAX_IN_A_ROW {
        fixture.store.set(&format!("logs/j{number}/20260101.log"), "x\n");
    }
    fixture.store.fail_where(|op, _| op == Op::Delete);
    let now = NOW.parse().unwrap();
    assert!(sweep(Pass::Daily, &*fixture.store, &fixture.journal, "ns", MONTH, now).await.is_err());
    fixture.store.recover();
    assert_eq!(fixture.sweep(MONTH, NOW).await, None, "its day is taken");
    fixture.sweep(MONTH, "2026-11-23T10:00:00Z").await.unwrap();
    assert!(fixture.store.keys("").is_empty());
}

#[tokio::test]
async fn chunks_that_a_dead_host_left_go_into_their_day() {
    let fixture = Fixture::new();
    let chunk = format!("logs/j/20261115/{}.log", range(0));
    let line = "2026-11-15T10:00:00.000000000Z stdout x\n";
    fixture.store.set(&chunk, line);
    let of_today = format!("logs/j/20261122/{}.log", range(1));
    fixture.store.set(&of_today, line);
    fixture.sweep(MONTH, NOW).await.unwrap();
    assert!(fixture.store.text(Bucket::Logs, "logs/j/20261115.log").unwrap().starts_with(line));
    assert_eq!(fixture.store.keys(".log"), ["logs/j/20261115.log", &of_today]);
}

#[tokio::test]
async fn the_place_to_go_on_of_a_job_that_may_run_stays() {
    let fixture = Fixture::new();
    let marker = format!("logs/j/20260101/{}.done", range(5));
    fixture.store.set(&marker, "x\n");
    fixture.sweep(MONTH, NOW).await.unwrap();
    assert_eq!(fixture.store.keys(".done"), [marker]);
}
