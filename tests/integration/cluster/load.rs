//! Backtests, one after the other, while a test breaks something; and what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use longshore_testing::events::PATIENCE;
use longshore_testing::observer::Observer;
use longshore_testing::own_cluster::OwnCluster;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;

/// The pause between two starts.
const PAUSE: Duration = Duration::from_millis(700);

const QUICK: &str = "def main(id, config): return {'id': id}";

/// Starts that go on until they are ended.
pub(super) struct Load {
    enough: CancellationToken,
    starting: AbortOnDropHandle<Vec<String>>,
}

impl Load {
    /// Begins to publish backtests.
    pub(super) async fn begin(scene: &Scene, cluster: &OwnCluster) -> Self {
        let key = scene.put_code("quick", &[(PYTHON_BACKTEST.script, QUICK)]).await;
        let urls = cluster.urls().split(',').map(str::to_owned).collect();
        let (publisher, prefix) = (Observer::new(urls, &scene.namespace), scene.id("quick"));
        let enough = CancellationToken::new();
        let until = enough.clone();
        let starting = TaskTracker::new().spawn(async move {
            let mut ids = Vec::new();
            while !until.is_cancelled() {
                let id = format!("{prefix}-{}", ids.len());
                publisher.publish("start.terminating", &PYTHON_BACKTEST.message(&id, &key)).await;
                ids.push(id);
                sleep(PAUSE).await;
            }
            ids
        });
        Self { enough, starting: AbortOnDropHandle::new(starting) }
    }

    /// Publishes no more. Returns the ids of the confirmed starts.
    pub(super) async fn end(self) -> Vec<String> {
        self.enough.cancel();
        self.starting.await.unwrap()
    }
}

/// What became of jobs.
#[derive(Debug, Default)]
pub(super) struct Reckoned {
    /// Those without a result that says that they succeeded.
    pub(super) lost: Vec<String>,
    /// Those that ran in more than one container, or have two different results.
    pub(super) twice: Vec<String>,
}

/// Waits until every job has a result, or none has come for a while.
pub(super) async fn reckon(cluster: &mut OwnCluster, jobs: &[String]) -> Reckoned {
    let mut last = (0, Instant::now());
    loop {
        let (results, containers) = evidence(cluster).await;
        if results.len() > last.0 {
            last = (results.len(), Instant::now());
        }
        let is_done = jobs.iter().all(|id| results.contains_key(id));
        if !is_done && last.1.elapsed() < PATIENCE {
            sleep(Duration::from_secs(1)).await;
            continue;
        }
        let count =
            |all: &BTreeMap<_, BTreeSet<_>>, id: &String| all.get(id).map_or(0, BTreeSet::len);
        let of = |is_meant: &dyn Fn(&String) -> bool| {
            jobs.iter().filter(|id| is_meant(id)).cloned().collect()
        };
        return Reckoned {
            lost: of(&|id| count(&results, id) == 0),
            twice: of(&|id| count(&results, id) > 1 || count(&containers, id) > 1),
        };
    }
}

type Found = BTreeMap<String, BTreeSet<String>>;

/// The results of successful jobs and the containers of all jobs, by job. An event that came again
/// is the same event.
async fn evidence(cluster: &mut OwnCluster) -> (Found, Found) {
    let (mut results, mut containers) = (Found::new(), Found::new());
    for seen in cluster.events.seen().await {
        let id = seen.subject().unwrap_or_default().to_owned();
        if let Some(container) = seen.data()["container_id"].as_str() {
            containers.entry(id.clone()).or_default().insert(container.to_owned());
        }
        if seen.is_result() && seen.data()["verdict"] == "succeeded" {
            results.entry(id).or_default().insert(seen.event.to_string());
        }
    }
    (results, containers)
}
