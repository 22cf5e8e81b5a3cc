//! A bot that is killed together with its worker again and again, while the last write of its state is
//! still on its way.

use std::time::Duration;

use bollard::query_parameters::KillContainerOptions;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::handed_on::writes_state;
use super::{COUNTER, bot, kept, kept_at_least, numbers, stopped};
use crate::failover::{GRACE, OtherHost, output_of, runs_under};
use crate::robustness::{nothing_is_left, until};
use longshore_testing::http_proxy::{Deed, HttpProxy};
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// How many numbers are kept between two kills at least.
const PROGRESS: u64 = 5;

/// Time between two looks at what is stored.
const LOOK: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_bot_that_is_killed_with_its_worker_goes_on_from_what_was_stored() {
    killed_again_and_again(3).await;
}

#[tokio::test]
#[ignore = "ten minutes: make test-long"]
async fn a_bot_that_is_killed_with_its_worker_twenty_times_goes_on_from_what_was_stored() {
    killed_again_and_again(20).await;
}

/// Kills a bot and its worker on one of two hosts and then on the other, `kills` times.
async fn killed_again_and_again(kills: usize) {
    let scene = Scene::new().await;
    let id = scene.id("bot");
    let other = OtherHost::of(&scene).await;
    let hosts = [
        Host { other: None, store: HttpProxy::start(s3::addr().await).await },
        Host { other: Some(&other), store: HttpProxy::start(s3::addr().await).await },
    ];
    let workers = tokio::select! {
        workers = Box::pin(go_through(&scene, &hosts, &id, kills)) => workers,
        never = never_goes_back(&scene, &id) => match never {},
    };
    nothing_is_left(scene, workers).await;
}

/// One of the two hosts.
struct Host<'a> {
    other: Option<&'a OtherHost>,
    /// What delivers the writes of its workers.
    store: HttpProxy,
}

impl Host<'_> {
    async fn worker(&self, scene: &Scene, number: usize) -> Worker {
        let (name, endpoint) = (name_of(number), self.store.endpoint());
        let here = [GRACE, ("WORKER_NAME", name.as_str())];
        let place = self.other.map(|other| other.settings_of(&name));
        let place = place.as_ref().map_or(&here[..], |settings| &settings[..]);
        let more = [("MINIO_ENDPOINT", endpoint.as_str()), ("JOB_MAX_ATTEMPTS", "100")];
        scene.worker_with(&[place, &more].concat()).await
    }

    fn docker<'a>(&'a self, scene: &'a Scene) -> &'a bollard::Docker {
        self.other.map_or(&scene.docker, OtherHost::docker)
    }
}

fn name_of(number: usize) -> String {
    format!("worker-{number}")
}

async fn go_through(scene: &Scene, hosts: &[Host<'_>; 2], id: &str, kills: usize) -> [Worker; 2] {
    let begun = Instant::now();
    let mut worker = hosts[0].worker(scene, 0).await;
    scene.start(&bot(scene, "bot", COUNTER).await).await;
    let mut container = runs_under(scene, id, &name_of(0)).await;
    let mut record = kept_at_least(scene, id, PROGRESS).await;
    let (mut late, mut lost) = (0, Vec::new());
    for kill in 0..kills {
        let (host, next) = (&hosts[kill % 2], &hosts[(kill + 1) % 2]);
        let heir = next.worker(scene, kill + 1).await;
        host.store.rule(|asked| if writes_state(asked) { Deed::Detain } else { Deed::Pass });
        until("a write is on its way", async || host.store.detained() > 0).await;
        worker.kill();
        let options = None::<KillContainerOptions>;
        host.docker(scene).kill_container(&container, options).await.unwrap();
        worker.wait().await;

        // Nobody writes before the bot runs elsewhere.
        let stored = n_of(&kept(scene, id).await.unwrap());
        let said = numbers(&output_of(host.docker(scene), &container).await);
        lost.push(said.last().unwrap().saturating_sub(stored));
        container = runs_under(scene, id, &name_of(kill + 1)).await;
        let after = kept_at_least(scene, id, stored + PROGRESS).await;
        let said = numbers(&output_of(next.docker(scene), &container).await);
        assert_eq!(said.first(), Some(&(stored + 1)), "kill {kill}: it had kept {stored}");
        assert!(epoch_of(&after) > epoch_of(&record), "kill {kill}: {record} {after}");

        let answers = host.store.release().await;
        assert!(answers.iter().all(|status| *status == 412), "kill {kill}: {answers:?}");
        late += answers.len();
        host.store.restore();
        record = kept_at_least(scene, id, n_of(&after) + PROGRESS).await;
        assert_eq!(epoch_of(&record), epoch_of(&after), "kill {kill}: {after} {record}");
        worker = heir;
    }
    eprintln!(
        "{kills} kills in {} s: {late} late writes refused; said and not stored at each: {lost:?}",
        begun.elapsed().as_secs()
    );
    let result = stopped(scene, id).await;
    assert_eq!(result["attempt"], json!(kills + 1));
    assert!(result["metadata"]["state"].is_null(), "{result:#}");
    // Whoever comes back where the last one was killed removes what is left there.
    let again = hosts[(kills + 1) % 2].worker(scene, kills + 1).await;
    hosts[1].other.unwrap().is_swept(scene).await;
    until("the first host has been swept", async || {
        scene.containers().await.is_empty() && scene.directories().is_empty()
    })
    .await;
    [worker, again]
}

/// Panics where what is stored is ever older than what was stored before it.
async fn never_goes_back(scene: &Scene, id: &str) -> std::convert::Infallible {
    let mut newest = (0, 0);
    loop {
        if let Some(record) = kept(scene, id).await {
            let found = (epoch_of(&record), record["value"]["n"].as_u64().unwrap_or_default());
            assert!(found.0 >= newest.0 && found.1 >= newest.1, "{found:?} after {newest:?}");
            newest = found;
        }
        sleep(LOOK).await;
    }
}

fn n_of(record: &Value) -> u64 {
    record["value"]["n"].as_u64().unwrap()
}

fn epoch_of(record: &Value) -> u64 {
    record["epoch"].as_u64().unwrap()
}
