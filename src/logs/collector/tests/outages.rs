//! What happens to lines while the store is away, slow, or does not say what it holds.

use super::*;

/// compat.md 8: degrade without the store.
#[tokio::test(start_paused = true)]
async fn compat_8_while_the_store_is_down_lines_wait_then_are_dropped_and_the_gap_is_told() {
    // One stored line has 40 bytes while its text has one.
    let small = LogSettings { max_chunk_bytes: 100, max_buffer_bytes: 200, ..settings() };
    let fixture = Fixture::new(small);
    fixture.store.fail_where(|_, _| true);
    let (send, handle) = fixture.open(source("j", false), None);
    for number in 0..3 {
        send.send(frame(&format!("{number}\n"))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(31)).await;
    }
    for _ in 0..10 {
        send.send(frame("x\n")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(31)).await;
    fixture.store.recover();
    tokio::time::sleep(Duration::from_secs(31)).await;
    send.send(frame("after\n")).await.unwrap();
    drop(send);
    let summary = handle.finish(SOON).await;
    let log = fixture.log("j").await;
    let notice = format!(
        "[longshore] {} lines were dropped while the log store could not be reached",
        summary.dropped
    );
    let kept = 10 - usize::try_from(summary.dropped).unwrap();
    assert!(summary.dropped > 0 && kept < 10);
    let mut expected = numbers(0..3);
    expected.extend(vec!["x".to_owned(); kept]);
    let told = log.iter().position(|line| *line == notice).unwrap();
    let mut without = log.clone();
    without.remove(told);
    expected.push("after".to_owned());
    assert_eq!(without, expected);
    assert_eq!(summary.lines, 14);
    assert!(summary.degraded.is_some());
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_lines_go_to_disk_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = LogSettings {
        max_chunk_bytes: 100,
        max_buffer_bytes: 200,
        max_memory_bytes: 200,
        spool_dir: dir.path().to_path_buf(),
        max_container_spool_bytes: 1 << 20,
        max_spool_bytes: 1 << 20,
        ..settings()
    };
    let fixture = Fixture::new(on_disk);
    fixture.store.fail_where(|_, _| true);
    let (send, handle) = fixture.open(source("j", false), None);
    for frame in frames(500) {
        send.send(frame).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    fixture.store.recover();
    tokio::time::sleep(Duration::from_mins(2)).await;
    drop(send);
    let summary = handle.finish(SOON).await;
    assert_eq!((summary.dropped, summary.degraded), (0, None));
    assert_eq!(fixture.log("j").await, numbers(0..500));
    let spool = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let left: Vec<_> = std::fs::read_dir(spool).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_comes_back_costs_the_log_but_not_the_tail_and_not_the_time() {
    let fixture = Fixture::new(settings());
    fixture.store.fail_where(|_, _| true);
    let begun = Instant::now();
    let summary = fixture.whole(source("j", true), frames(3)).await;
    assert!(begun.elapsed() <= SOON + HANDOVER);
    assert_eq!((summary.lines, summary.dropped), (3, 3));
    assert_eq!(summary.tail, "0\n1\n2\n");
    assert_eq!(summary.output_key, None);
    assert!(summary.degraded.unwrap().contains("on command"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_followed_by_the_same_bytes_under_the_same_name() {
    let fixture = Fixture::new(settings());
    let (send, handle) = fixture.open(source("j", false), None);
    fixture.store.fail_where(|op, _| op == Op::Put);
    send.send(frame("0\n")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let first = fixture.chunk_puts();
    // The chunk did arrive; only we do not know.
    fixture.store.set(&first[0], "as it arrived\n");
    send.send(frame("1\n")).await.unwrap();
    fixture.store.recover();
    tokio::time::sleep(Duration::from_secs(61)).await;
    drop(send);
    assert_eq!(handle.finish(SOON).await.degraded, None);
    assert_eq!(fixture.chunk_puts()[1], first[0]);
    assert_eq!(fixture.log("j").await, ["as it arrived", "1"]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_while_the_store_is_well_waits_and_loses_nothing() {
    let small = LogSettings { max_chunk_bytes: 100, max_buffer_bytes: 200, ..settings() };
    let fixture = Fixture::new(small);
    fixture.store.slow_down("logs/j/", Duration::from_millis(1));
    let summary = fixture.whole(source("j", false), frames(1000)).await;
    assert_eq!(summary.dropped, 0);
    assert_eq!(fixture.log("j").await, numbers(0..1000));
}

#[tokio::test(start_paused = true)]
async fn a_resumed_container_waits_for_the_store_rather_than_repeat_lines() {
    let fixture = Fixture::new(settings());
    fixture.whole(source("j", false), frames(3)).await;
    fixture.store.fail_where(|op, _| op == Op::List);
    let resumed = LogSource { resume: true, ..source("j", false) };
    let all = stream::iter(frames(5)).map(Ok::<_, String>).boxed();
    let handle = fixture.collector.attach(resumed, all, None);
    tokio::time::sleep(Duration::from_secs(45)).await;
    fixture.store.recover();
    tokio::time::sleep(Duration::from_secs(45)).await;
    assert_eq!(handle.finish(SOON).await.lines, 5);
    assert_eq!(fixture.log("j").await, numbers(0..5));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_container_is_shipped_to_its_end_also_while_its_place_is_looked_up() {
    let fixture = Fixture::new(settings());
    fixture.store.slow_down("logs/j", Duration::from_secs(3));
    let resumed = LogSource { resume: true, ..source("j", false) };
    let all = stream::iter(frames(3)).map(Ok::<_, String>).boxed();
    drop(fixture.collector.attach(resumed, all, None));
    tokio::time::sleep(SOON).await;
    assert_eq!(fixture.log("j").await, numbers(0..3));
}

#[tokio::test(start_paused = true)]
async fn finishing_at_once_does_not_cut_short_the_look_up_of_a_resumed_container() {
    let fixture = Fixture::new(settings());
    fixture.whole(source("j", false), frames(3)).await;
    fixture.store.slow_down("logs/j", Duration::from_secs(1));
    let resumed = LogSource { resume: true, ..source("j", false) };
    let summary = fixture.whole(resumed, frames(5)).await;
    assert_eq!((summary.lines, summary.degraded), (5, None));
    assert_eq!(fixture.log("j").await, numbers(0..5));
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_over_all_containers_and_no_line_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let tight = LogSettings {
        max_chunk_bytes: 4 << 10,
        max_buffer_bytes: 16 << 10,
        max_memory_bytes: 32 << 10,
        spool_dir: dir.path().to_path_buf(),
        max_container_spool_bytes: 1 << 20,
        max_spool_bytes: 64 << 20,
        ..settings()
    };
    let fixture = Fixture::new(tight);
    fixture.store.fail_where(|_, _| true);
    let mut containers = Vec::new();
    for number in 0..20 {
        let (send, handle) = fixture.open(source(&format!("j{number}"), false), None);
        for frame in frames(1000) {
            send.send(frame).await.unwrap();
        }
        containers.push((send, handle));
    }
    tokio::time::sleep(Duration::from_secs(65)).await;
    let memory = &fixture.collector.shared.space.memory;
    assert!(memory.has(0), "more than the bound of all containers waits in memory");
    fixture.store.recover();
    tokio::time::sleep(Duration::from_mins(2)).await;
    for (number, (send, handle)) in containers.into_iter().enumerate() {
        drop(send);
        assert_eq!(handle.finish(SOON).await.degraded, None);
        assert_eq!(fixture.log(&format!("j{number}")).await, numbers(0..1000));
    }
    assert!(memory.has(32 << 10), "all of it was given back");
}
