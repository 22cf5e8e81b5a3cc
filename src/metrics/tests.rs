//! That the table, the code and the text agree, and what the text costs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::*;

/// Metrics in which everything was counted once and read.
fn full() -> Metrics {
    let metrics = Metrics::of_process(["python3.11", "nodejs20"].into_iter());
    metrics.ended("succeeded", Some("python3.11"), Some(false));
    for stage in Stage::ALL {
        metrics.stage(stage, Duration::from_millis(20));
    }
    metrics.reconnected("work");
    metrics.store_request("get", StoreOutcome::Ok, Duration::from_millis(2));
    metrics.stored_log(10);
    metrics.warm_run(true);
    metrics.swept("logs", [3, 1, 0], 5);
    metrics.at_scrape(|gauges| {
        gauges.slots(false, 1, 3);
        gauges.slots(true, 500, 0);
        gauges.takes_jobs(true);
        for queue in ["ns.start.terminating", "ns.start.long-running", "ns.stop"] {
            gauges.queue_messages(queue, 7);
            gauges.queue_consumers(queue, 1);
            gauges.queue_oldest(queue, 1.5);
        }
        gauges.connected("rabbitmq", true);
        gauges.segments(1, 0);
        gauges.lease_margin(13.0);
        gauges.unconfirmed(0);
        gauges.log_spool(0, 1 << 31);
        gauges.cache(5);
        gauges.warm(2);
    });
    metrics
}

#[tokio::test]
async fn every_metric_of_the_table_is_in_the_text_and_no_other() {
    let metrics = full();
    metrics.engine("start", async {}).await;
    let text = metrics.text();
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let found: BTreeSet<_> = typed.filter_map(|line| line.split(' ').next()).collect();
    let process = table::PROCESS.iter().map(|(name, ..)| *name);
    let expected: BTreeSet<_> = table::ALL.iter().map(|one| one.name).chain(process).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_counted_is_in_the_text() {
    let metrics = Metrics::default();
    metrics.ended("failed", Some("nodejs20"), Some(true));
    metrics.ended("failed", Some("nodejs20"), Some(true));
    metrics.ended("rejected", None, None);
    metrics.stage(Stage::Run, Duration::from_secs(3));
    let text = metrics.text();
    for line in [
        "longshore_runs_total{kind=\"long_running\",runtime=\"nodejs20\",verdict=\"failed\"} 2",
        "longshore_runs_total{kind=\"none\",runtime=\"none\",verdict=\"rejected\"} 1",
        "longshore_stage_seconds_bucket{stage=\"run\",le=\"2.5\"} 0",
        "longshore_stage_seconds_bucket{stage=\"run\",le=\"5\"} 1",
        "longshore_stage_seconds_sum{stage=\"run\"} 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn a_gauge_that_nobody_sets_any_more_is_absent() {
    let metrics = Metrics::default();
    let with = metrics.text_with(|gauges| gauges.queue_messages("gone", 3));
    assert!(with.contains("longshore_queue_messages{queue=\"gone\"} 3"), "{with}");
    assert!(!metrics.text().contains("gone"));
}

#[test]
fn the_wait_in_a_queue_is_counted_from_the_timestamp_and_never_below_nothing() {
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let metrics = Metrics::default();
    metrics.taken("q", at(10), at(14));
    // A publisher's clock may be ahead.
    metrics.taken("q", at(20), at(15));
    let text = metrics.text();
    assert!(text.contains("longshore_stage_seconds_sum{stage=\"queue\"} 4\n"), "{text}");
    assert_eq!(metrics.last_taken("q"), Some(at(20)));
}

/// Jobs are in no label, so what 500 bots add is numbers and no lines.
#[test]
fn the_text_of_a_worker_with_500_bots_is_small_and_soon_made() {
    let metrics = full();
    let small = metrics.text().lines().count();
    for number in 0..500_u64 {
        let took = Duration::from_millis(number);
        for stage in Stage::ALL {
            metrics.stage(stage, took);
        }
        metrics.store_request("put", StoreOutcome::Ok, took);
        metrics.ended("stopped", Some("python3.11"), Some(true));
    }
    let begun = Instant::now();
    let text = metrics.text();
    let took = begun.elapsed();
    println!("{} bytes, {} lines, {took:?}", text.len(), text.lines().count());
    assert!(text.len() < 200_000, "{} bytes", text.len());
    // One more run's line and one more operation's.
    assert!(text.lines().count() < small + 30);
    assert!(took < Duration::from_secs(1), "{took:?}");
}
