//! Workers that die or are cut off, and the survivors that go on with what they ran: on the same
//! engine at once and without a restart, on another one when the old bots have ended.

mod elsewhere;
mod engine_away;
mod neighbours;
mod other_host;
mod room;
mod sick_disk;

pub(crate) use self::other_host::{GRACE, OtherHost};

use std::collections::BTreeMap;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::TryStreamExt as _;

use longshore_testing::engine;
use longshore_testing::events::Seen;
use longshore_testing::scene::Scene;

/// A bot that says what time it is, many times a second, and which of its processes it is.
const STAMPER: &str = r#"
import sys, time, uuid
def main(id, config):
    process = uuid.uuid4().hex
    while True:
        # In one piece: a bot may be killed between two.
        sys.stdout.write(f"stamp {process} {time.time()}\n")
        time.sleep(0.05)
"#;

/// What a container wrote, as its engine has it.
pub(crate) async fn output_of(docker: &Docker, container: &str) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).build();
    let output: Vec<LogOutput> = docker.logs(container, Some(options)).try_collect().await.unwrap();
    output.iter().map(ToString::to_string).collect()
}

/// Checks by the bots' own words that each process of them had ended before the next one began;
/// gives how many there were.
fn assert_no_overlap(output: &str) -> usize {
    let mut spans: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for line in output.lines() {
        let Some((_, stamp)) = line.split_once("stamp ") else { continue };
        let (process, time) = stamp.split_once(' ').unwrap();
        let time: f64 = time.trim().parse().unwrap();
        let span = spans.entry(process).or_insert((time, time));
        *span = (span.0.min(time), span.1.max(time));
    }
    let mut spans: Vec<_> = spans.into_values().collect();
    spans.sort_by(|one, other| one.0.total_cmp(&other.0));
    for pair in spans.windows(2) {
        let (last, first) = (pair[0].1, pair[1].0);
        assert!(last < first, "two bots ran at a time, for {} s", last - first);
    }
    spans.len()
}

/// The one container of a job on an engine.
async fn container_on(docker: &Docker, scene: &Scene, id: &str) -> ContainerInspectResponse {
    engine::of_job(docker, &scene.namespace, id).await
}

/// Waits until a worker of this name says that a job runs; gives the container.
pub(crate) async fn runs_under(scene: &Scene, id: &str, worker: &str) -> String {
    let is_meant = |seen: &Seen| {
        seen.subject() == Some(id)
            && seen.state() == Some("running")
            && seen.data()["worker"] == worker
    };
    let seen = scene.events.wait_for(&format!("{id} running under {worker}"), is_meant).await;
    seen.data()["container_id"].as_str().unwrap().to_owned()
}
