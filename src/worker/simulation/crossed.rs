//! Histories that are written by hand, in which claims, stops and starts of one job cross.

use std::sync::Arc;
use std::time::Duration;

use super::directed::{alone, bots, seconds, start};
use super::on_stage;
use super::plan::StartPlan;
use super::play::Stage;
use super::store::StoreWeather;
use super::worker::NAMESPACE;

/// The worker could not take back the entry of an earlier claim, and now the job is active.
#[test]
fn what_an_earlier_claim_left_is_removed_while_the_job_runs() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        bots(&stage, 2).await;
        let left = format!("{NAMESPACE}/segments/0/claims/bot-0/{}", uuid::Uuid::nil().simple());
        stage.servers.objects.lock().overwrite(&left, "{}".into());
        seconds(700).await;
        let prefix = format!("{NAMESPACE}/segments/0/claims/");
        let entries = stage.servers.objects.lock().keys(&prefix).len();
        assert_eq!(entries, 2);
        let ledger = stage.world.ledger.lock();
        for number in 0..2 {
            let run = format!("bot-{number}-r1").parse().unwrap();
            assert!(ledger.is_running(&run), "{run} does not run");
        }
        assert_eq!(ledger.launches.len(), 2);
    });
}

/// The stops come while nothing runs, and are noted when the jobs' next runs have begun.
#[test]
fn a_stop_that_took_long_to_note_leaves_runs_alone_that_were_published_after_it() {
    on_stage(alone(), async |stage: Arc<Stage>| {
        for number in 0..50 {
            let ends_after = Some(Duration::from_secs(1));
            stage.publish_start(&start(format!("test-{number}"), ends_after));
        }
        seconds(30).await;
        *stage.sites[0].store.lock() = StoreWeather::LosesAnswers;
        for number in 0..50 {
            stage.publish_stop(&format!("test-{number}"), None);
        }
        seconds(2).await;
        *stage.sites[0].store.lock() = StoreWeather::Fine;
        for number in 0..50 {
            let run = format!("test-{number}-r2");
            let bot = start(format!("test-{number}"), None);
            stage.publish_start(&StartPlan { run, ..bot });
        }
        seconds(120).await;
        let ledger = stage.world.ledger.lock();
        let runs = |number: &u32| ledger.is_running(&format!("test-{number}-r2").parse().unwrap());
        let stopped: Vec<_> = (0..50).filter(|number| !runs(number)).collect();
        assert!(stopped.is_empty(), "{stopped:?} were stopped, although they came after the stop");
    });
}
