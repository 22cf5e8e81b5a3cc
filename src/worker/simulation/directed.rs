//! Histories that are written by hand, and those that a worker does not survive today.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::engine::{EngineWeather, Program};
use super::plan::{Kind, Mix, Plan, StartPlan};
use super::play::Stage;
use super::store::StoreWeather;
use super::tests::{round, survived};
use super::worker::{Capacity, NAMESPACE, Started};
use super::world::Sabotage;
use super::{on_a_stage_with, on_stage};

/// One worker that takes fifty jobs of a kind, and nothing that happens by itself.
pub(super) fn alone() -> Plan {
    let capacity = Capacity { terminating: 50, long_running: 50 };
    Plan { sites: 1, workers: vec![(0, capacity)], happenings: Vec::new() }
}

pub(super) fn start(job: String, ends_after: Option<Duration>) -> StartPlan {
    let reaction = Duration::from_millis(100);
    let program = Program { ends_after, exit_code: 0, reaction };
    let (run, is_long_running) = (format!("{job}-r1"), ends_after.is_none());
    StartPlan { job, run, is_long_running, is_broken: false, program }
}

pub(super) async fn seconds(count: u64) {
    sleep(Duration::from_secs(count)).await;
}

/// So many bots, which run.
pub(super) async fn bots(stage: &Stage, count: usize) {
    for number in 0..count {
        stage.publish_start(&start(format!("bot-{number}"), None));
    }
    seconds(30).await;
    assert_eq!(stage.world.ledger.lock().launches.len(), count);
}

/// The worker is killed, and another one is started in its place.
fn replace_worker(stage: &Stage) {
    stage.with(0, Started::kill);
    stage.start(0);
}

/// A worker asks the store for little while it is idle, and not much for a job.
#[test]
fn an_idle_worker_and_a_job_ask_the_store_only_so_often() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        let asked = || stage.world.ledger.lock().requests.all();
        seconds(60).await;
        let before = asked();
        seconds(600).await;
        let idle = asked() - before;
        for number in 0..20 {
            let ends_after = Some(Duration::from_secs(2));
            stage.publish_start(&start(format!("test-{number}"), ends_after));
        }
        seconds(60).await;
        let for_jobs = asked() - before - idle - idle / 10;
        println!("store requests: {idle} in ten idle minutes, {for_jobs} for 20 backtests");
        assert!(idle <= 20, "{idle} in ten minutes");
        // Six in the journal for each: record read, entry, record, look for stops; end, entry removed.
        assert!(for_jobs <= 20 * 6 + 4, "{for_jobs} for 20 jobs");
    });
}

/// How many requests to the store there are in ten minutes, while three bots run and eleven segments have
/// no owner.
pub(super) fn beside_free_segments(sabotage: Option<Sabotage>) -> u64 {
    let capacity = Capacity { terminating: 5, long_running: 5 };
    let workers = vec![(0, capacity); 12];
    let plan = Plan { sites: 1, workers, happenings: Vec::new() };
    on_a_stage_with(sabotage, plan, async |stage: Arc<Stage>| {
        seconds(30).await;
        for worker in 1..12 {
            stage.with(worker, Started::kill);
        }
        bots(&stage, 3).await;
        seconds(300).await;
        let asked = || stage.world.ledger.lock().requests.all();
        let before = asked();
        seconds(600).await;
        asked() - before
    })
}

#[test]
fn free_segments_and_bots_cost_no_requests() {
    let requests = beside_free_segments(None);
    assert!(requests <= 20, "{requests} in ten minutes");
}

/// Ten minutes of two workers on one engine, the first of which runs twenty bots.
#[test]
fn bots_of_a_neighbour_on_the_same_engine_cost_hardly_a_request() {
    let [running, idle] =
        [20, 0].map(|long_running| (0, Capacity { terminating: 5, long_running }));
    let plan = Plan { sites: 1, workers: vec![running, idle], happenings: Vec::new() };
    on_stage(plan, async |stage: Arc<Stage>| {
        seconds(30).await;
        bots(&stage, 20).await;
        seconds(300).await;
        let asked = || stage.world.ledger.lock().requests.all();
        let before = asked();
        seconds(600).await;
        let requests = asked() - before;
        println!("store requests: {requests} in ten minutes of two workers with twenty bots");
        // Each worker lists what it must, and one look at each bot.
        assert!(requests <= 60, "{requests} in ten minutes");
    });
}

/// While a worker waits for its runs to end, they can be stopped: also by a message that another worker got.
#[test]
fn what_a_draining_worker_waits_for_can_be_stopped() {
    let [busy, other] = [50, 0].map(|terminating| (0, Capacity { terminating, long_running: 0 }));
    for workers in [vec![busy], vec![busy, other]] {
        let plan = Plan { sites: 1, workers, happenings: Vec::new() };
        on_stage(plan, async |stage: Arc<Stage>| {
            for number in 0..10 {
                let ends_after = Some(Duration::from_secs(3_000));
                stage.publish_start(&start(format!("test-{number}"), ends_after));
            }
            seconds(30).await;
            stage.with(0, Started::shut_down);
            seconds(5).await;
            for number in 0..10 {
                stage.publish_stop(&format!("test-{number}"), None);
            }
            seconds(15).await;
            let verdicts: Vec<_> = stage.world.ledger.lock().verdicts.values().cloned().collect();
            assert_eq!(verdicts, ["stopped"; 10]);
        });
    }
}

/// The owner of a segment has died, and nothing of its jobs is left but a stop that came too late.
#[test]
fn a_stop_that_waits_where_nobody_reads_is_taken() {
    let capacity = Capacity { terminating: 5, long_running: 5 };
    let plan = Plan { sites: 1, workers: vec![(0, capacity); 2], happenings: Vec::new() };
    on_stage(plan, async |stage: Arc<Stage>| {
        seconds(30).await;
        stage.with(0, Started::kill);
        for segment in [0, 1] {
            stage.forward_stop("test-0", segment);
        }
        seconds(100).await;
        assert_eq!(stage.servers.broker.left(), [""; 0]);
    });
}

/// How many jobs the worker below takes at once.
pub(super) const SICK_SLOTS: usize = 4;

/// How many attempts a worker begins whose engine starts nothing, while more jobs wait than it has slots.
pub(super) fn attempts_of_a_sick_worker(sabotage: Option<Sabotage>) -> usize {
    let capacity = Capacity { terminating: SICK_SLOTS, long_running: 0 };
    let plan = Plan { sites: 1, workers: vec![(0, capacity)], happenings: Vec::new() };
    on_a_stage_with(sabotage, plan, async |stage: Arc<Stage>| {
        seconds(30).await;
        *stage.sites[0].engine.weather.lock() = EngineWeather::FailsStarts;
        for number in 0..40 {
            let ends_after = Some(Duration::from_secs(2));
            stage.publish_start(&start(format!("test-{number}"), ends_after));
        }
        seconds(600).await;
        stage.world.ledger.lock().launches.len()
    })
}

#[test]
fn a_worker_that_can_start_nothing_leaves_the_jobs_to_others() {
    let attempts = attempts_of_a_sick_worker(None);
    assert!((1..=SICK_SLOTS + 2).contains(&attempts), "{attempts}");
}

#[test]
fn a_job_whose_result_is_out_can_be_started_again_although_an_answer_was_lost() {
    let kinds = vec![Kind::HostLost, Kind::StoreSlow, Kind::Upgrade];
    round(0..60, &Mix { kinds, stops: 100, ..survived() });
}

#[test]
fn what_the_broker_cannot_move_while_it_is_short_of_memory_is_not_lost() {
    round(0..20, &Mix { kinds: vec![Kind::Alarm], stops: 100, ..survived() });
}

#[test]
fn bots_of_a_lost_worker_run_where_there_is_room() {
    round(0..40, &Mix { kinds: vec![Kind::Kill, Kind::Cut], has_room: false, ..survived() });
}

#[test]
fn what_was_published_before_a_stop_never_runs() {
    round(0..60, &Mix { kinds: vec![Kind::Kill], stops: 60, has_second_runs: true, ..survived() });
}

#[test]
fn a_stop_holds_although_the_store_was_away_and_the_worker_is_killed() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        bots(&stage, 3).await;
        *stage.sites[0].store.lock() = StoreWeather::Refuses;
        for number in 0..3 {
            stage.publish_stop(&format!("bot-{number}"), None);
        }
        seconds(20).await;
        replace_worker(&stage);
        *stage.sites[0].store.lock() = StoreWeather::Fine;
        seconds(60).await;
        let ledger = stage.world.ledger.lock();
        for number in 0..3 {
            let run = format!("bot-{number}-r1").parse().unwrap();
            assert!(!ledger.is_running(&run), "{run} runs although it was stopped");
        }
    });
}

/// The stops are read while their jobs wait, and noted when those have begun.
#[test]
fn a_stop_that_is_noted_late_reaches_a_run_that_has_begun_meanwhile() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        for number in 0..50 {
            stage.publish_start(&start(
                format!("first-{number}"),
                Some(Duration::from_millis(16_600)),
            ));
        }
        seconds(10).await;
        for number in 0..50 {
            stage.publish_start(&start(format!("next-{number}"), Some(Duration::from_hours(1))));
        }
        seconds(5).await;
        *stage.sites[0].store.lock() = StoreWeather::Refuses;
        for number in 0..50 {
            stage.publish_stop(&format!("next-{number}"), None);
        }
        sleep(Duration::from_millis(3_500)).await;
        *stage.sites[0].store.lock() = StoreWeather::Fine;
        seconds(120).await;
        let ledger = stage.world.ledger.lock();
        let runs = |number: &u32| ledger.is_running(&format!("next-{number}-r1").parse().unwrap());
        let left: Vec<_> = (0..50).filter(runs).collect();
        assert!(left.is_empty(), "{left:?} run although they were stopped");
    });
}

#[test]
fn a_bot_gets_sigterm_within_a_second_of_its_stop_while_the_store_hangs() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        bots(&stage, 6).await;
        *stage.sites[0].store.lock() = StoreWeather::Hangs;
        for number in 0..6 {
            stage.publish_stop(&format!("bot-{number}"), None);
        }
        seconds(1).await;
        assert_eq!(stage.world.ledger.lock().sigterms.len(), 6);
    });
}

#[test]
fn a_record_that_cannot_be_read_costs_its_own_job_alone() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        bots(&stage, 3).await;
        let key = format!("{NAMESPACE}/jobs/bot-1.json");
        stage.servers.objects.lock().overwrite(&key, "{}".into());
        replace_worker(&stage);
        seconds(60).await;
        let ledger = stage.world.ledger.lock();
        for number in [0, 2] {
            let run = format!("bot-{number}-r1").parse().unwrap();
            assert!(ledger.is_running(&run), "{run} does not run");
        }
        assert!(ledger.launches.len() <= 4, "{:?}", ledger.launches);
    });
}

#[test]
fn stops_that_cannot_be_read_cost_their_own_job_alone() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        bots(&stage, 3).await;
        let key = format!("{NAMESPACE}/stops/bot-1.json");
        stage.servers.objects.lock().overwrite(&key, "[".into());
        replace_worker(&stage);
        seconds(60).await;
        stage.publish_start(&start("bot-3".to_owned(), None));
        seconds(60).await;
        let ledger = stage.world.ledger.lock();
        for number in [0, 2, 3] {
            let run = format!("bot-{number}-r1").parse().unwrap();
            assert!(ledger.is_running(&run), "{run} does not run");
        }
    });
}

/// A run was put back, and its message is lost. The store goes away just when it is taken up.
#[test]
fn an_attempt_that_has_not_begun_is_not_spent_because_the_store_is_away() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        stage.publish_start(&start("test-0".to_owned(), Some(Duration::from_hours(1))));
        seconds(30).await;
        stage.with(0, Started::kill);
        stage.sites[0].engine.vanish();
        let key = format!("{NAMESPACE}/jobs/test-0.json");
        let text = stage.servers.objects.lock().text(&key);
        let waiting = text.replacen("\"active\"", "\"waiting\"", 1);
        let waiting = waiting.replacen("\"attempt\":1", "\"attempt\":2", 1);
        stage.servers.objects.lock().overwrite(&key, waiting.into());
        stage.start(0);
        while stage.servers.objects.lock().text(&key).contains("\"waiting\"") {
            sleep(Duration::from_millis(1)).await;
        }
        *stage.sites[0].store.lock() = StoreWeather::Refuses;
        seconds(20).await;
        *stage.sites[0].store.lock() = StoreWeather::Fine;
        seconds(60).await;
        let launches = stage.world.ledger.lock().launches.clone();
        let attempts: Vec<_> = launches.into_iter().map(|(_, attempt)| attempt).collect();
        assert_eq!(attempts, [1, 2]);
    });
}

/// A worker of a later version took the start, and one of this version takes the bot up.
#[test]
fn a_bot_whose_start_has_a_field_of_a_later_version_runs_on() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        bots(&stage, 2).await;
        let key = format!("{NAMESPACE}/jobs/bot-1.json");
        let text = stage.servers.objects.lock().text(&key);
        let later = text.replacen(r#""body":"{"#, r#""body":"{\"later\":{\"deep\":1},"#, 1);
        assert_ne!(later, text);
        stage.servers.objects.lock().overwrite(&key, later.into());
        replace_worker(&stage);
        seconds(60).await;
        let ledger = stage.world.ledger.lock();
        assert!(ledger.is_running(&"bot-1-r1".parse().unwrap()), "it does not run");
        assert_eq!(ledger.launches.len(), 2, "{:?}", ledger.launches);
    });
}

#[test]
fn an_owner_that_cannot_be_read_hides_no_other_segment() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        let key = format!("{NAMESPACE}/owners/0.json");
        stage.servers.objects.lock().overwrite(&key, "{}".into());
        bots(&stage, 2).await;
    });
}

#[test]
fn bots_are_taken_up_without_a_restart_although_the_store_is_slow() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        bots(&stage, 20).await;
        *stage.sites[0].store.lock() = StoreWeather::Slow(250);
        replace_worker(&stage);
        seconds(60).await;
        let launches = stage.world.ledger.lock().launches.len();
        assert_eq!(launches, 20, "{} bots were started again", launches - 20);
    });
}
