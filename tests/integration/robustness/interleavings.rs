//! A stop that crosses its start, in every order in which that can happen.
//!
//! One worker claims the job: it notes it, then looks for a stop, unless the job is new. Another one
//! follows the stop: it notes it, then looks for the job, and leaves a mark if there is none. Each of
//! these steps is one request to the store, held until its turn has come.

use std::sync::Arc;

use longshore::storage::{Bucket, Journal, S3Store};
use serde_json::json;

use super::stops::{at, now};
use super::{assert_one_result, nothing_is_left, until};
use longshore_testing::events::PATIENCE;
use longshore_testing::gates::{Gate, GatedLine};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

use self::Step::{FindJob, FindStop, NoteJob, NoteStop, Run};

/// What happens in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The start's worker writes the job's record.
    NoteJob,
    /// The start's worker looks for a stop. It does not if it has made the record, because there was
    /// no mark of a stop.
    FindStop,
    /// The stop's worker notes it.
    NoteStop,
    /// The stop's worker looks for the job.
    FindJob,
    /// The job's container runs: no step of the four, but what some of them are after.
    Run,
}

/// Two workers, each on a line to the store of its own.
struct Stage {
    scene: Scene,
    starts: GatedLine,
    stops: GatedLine,
    hears_stops: Worker,
}

/// The requests that are held, for one job.
struct Held {
    note_job: Arc<Gate>,
    find_stop: Arc<Gate>,
    note_stop: Arc<Gate>,
    find_job: Arc<Gate>,
}

impl Stage {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let starts = GatedLine::start(s3::addr().await).await;
        let stops = GatedLine::start(s3::addr().await).await;
        let settings = [
            ("MINIO_ENDPOINT", &*stops.addr().to_string()),
            PATIENT,
            ("MAX_LONG_RUNNING", "0"),
            ("MAX_TERMINATING", "0"),
        ];
        let hears_stops = scene.worker_with(&settings).await;
        Self { scene, starts, stops, hears_stops }
    }

    /// If the job `is_known`, the first write of its record fails.
    fn hold(&self, id: &str, is_known: bool) -> Held {
        let (job, stop) = (format!("/jobs/{id}.json"), format!("/stops/{id}.json"));
        Held {
            note_job: self.starts.hold_after(usize::from(is_known), "PUT", &job),
            find_stop: self.starts.hold("GET", &stop),
            note_stop: self.stops.hold("PUT", &stop),
            find_job: self.stops.hold("GET", &job),
        }
    }

    /// Leaves the mark of an earlier stop in the place of the job's record.
    async fn mark_stopped(&self, id: &str) {
        let store = Arc::new(S3Store::new(&s3::settings()).unwrap());
        let journal = Journal::new(store, self.scene.namespace.clone());
        let (job, now) = (id.parse().unwrap(), jiff::Timestamp::now());
        let marked = journal.read_or_mark_stopped(&job, now).await.unwrap();
        assert!(marked.is_none());
    }

    /// Waits until the place of the job's record is taken.
    async fn is_marked(&self, id: &str) {
        let key = format!("{}/jobs/{id}.json", self.scene.namespace);
        until("the mark of a stop is there", async || {
            !self.scene.objects(Bucket::State, &key).await.is_empty()
        })
        .await;
    }

    /// Publishes a stop and the start that it is meant for, and waits until each stands before its
    /// first step. The start's worker comes later than the stop, which it can therefore not get.
    async fn cross(&self, message: &serde_json::Value, held: &Held) -> Worker {
        let id = message["id"].as_str().unwrap();
        let published_at = now();
        let stop = json!({ "id": id, "reason": "crossed", "timeout_seconds": 5 });
        self.scene.publish("stop", stop.to_string().as_bytes(), at(published_at)).await;
        held.note_stop.reached().await;
        let endpoint = self.starts.addr().to_string();
        let worker = self.scene.worker_with(&[("MINIO_ENDPOINT", &endpoint), PATIENT]).await;
        self.scene.start_with(message, at(published_at)).await;
        held.note_job.reached().await;
        worker
    }

    async fn finish(self) {
        let Self { scene, hears_stops, .. } = self;
        let noted = format!("{}/stops/", scene.namespace);
        until("each stop is marked as carried out", async || {
            let mut all = Vec::new();
            for key in scene.objects(Bucket::State, &noted).await {
                let text = scene.read_object(Bucket::State, &key).await;
                let stops: serde_json::Value = serde_json::from_str(&text).unwrap();
                all.extend(stops["stops"].as_array().unwrap().iter().cloned());
            }
            !all.is_empty() && all.iter().all(|stop| stop["is_spent"] == true)
        })
        .await;
        nothing_is_left(scene, [hears_stops]).await;
    }
}

/// A request that is held must not be given up.
pub(super) const PATIENT: (&str, &str) = ("STORE_TIMEOUT_SECONDS", "180");

const _: () = assert!(PATIENCE.as_secs() < 180);

/// Lets the steps happen in `order`, for a backtest and for a bot, of which the journal knows nothing
/// or has the mark of a stop; each has to end with `verdict`. Where a stop has been found, the end comes
/// without the steps that are left.
async fn play(order: &[Step], verdict: &str) {
    let stage = Stage::new().await;
    let events = &stage.scene.events;
    for (name, program, is_known) in [
        ("backtest", PYTHON_BACKTEST, true),
        ("bot", PYTHON_BOT, true),
        ("new-backtest", PYTHON_BACKTEST, false),
        ("new-bot", PYTHON_BOT, false),
    ] {
        let message = stage.scene.job(name, &program, PYTHON_TICKER).await;
        let id = stage.scene.id(name);
        if is_known {
            stage.mark_stopped(&id).await;
        }
        let held = stage.hold(&id, is_known);
        let place = |step: Step| order.iter().position(|one| *one == step);
        let looks = is_known || place(FindJob) < place(NoteJob);
        let mut worker = stage.cross(&message, &held).await;
        let mut noted = false;
        for step in order {
            match step {
                NoteJob => held.note_job.pass().await,
                NoteStop => held.note_stop.pass().await,
                FindJob => {
                    held.find_job.pass().await;
                    // Its mark comes before the record that it must keep from being made.
                    if looks && !is_known {
                        stage.is_marked(&id).await;
                    }
                }
                FindStop if looks => held.find_stop.pass().await,
                FindStop => held.find_stop.open(),
                Run => drop(events.wait_state(&id, "running").await),
            }
            noted |= *step == NoteStop;
            if *step == FindStop && noted && looks {
                events.result_of(&id).await;
            }
        }
        let result = events.result_of(&id).await;
        // A run that did not look for the stop may be about to begin when it hears of it.
        let has_begun = !looks && result.data()["verdict"] == "stopped";
        let verdict = if has_begun { "stopped" } else { verdict };
        let data = result.expect(verdict);
        assert_eq!(data["attempt"], 1, "{:#}", result.event);
        result.expect_message(&["crossed"]);
        if looks {
            let states = events.states_of(&id);
            assert_eq!(states.contains(&"running".to_owned()), order.contains(&Run), "{states:?}");
        }
        stage.scene.is_tidy().await;
        // Its mailbox is empty as well once it has ended well.
        worker.stop().await;
        assert_one_result(&stage.scene, &id, verdict);
    }
    Box::pin(stage.finish()).await;
}

#[tokio::test]
async fn start_then_stop_stops_what_runs() {
    Box::pin(play(&[NoteJob, FindStop, Run, NoteStop, FindJob], "stopped")).await;
}

#[tokio::test]
async fn a_stop_noted_between_the_two_steps_of_a_start_cancels_it() {
    Box::pin(play(&[NoteJob, NoteStop, FindStop, FindJob], "cancelled")).await;
}

#[tokio::test]
async fn a_stop_within_a_start_cancels_it_though_both_see_each_other() {
    Box::pin(play(&[NoteJob, NoteStop, FindJob, FindStop], "cancelled")).await;
}

#[tokio::test]
async fn a_start_within_a_stop_is_cancelled_though_both_see_each_other() {
    Box::pin(play(&[NoteStop, NoteJob, FindStop, FindJob], "cancelled")).await;
}

#[tokio::test]
async fn a_start_noted_between_the_two_steps_of_a_stop_is_cancelled() {
    Box::pin(play(&[NoteStop, NoteJob, FindJob, FindStop], "cancelled")).await;
}

#[tokio::test]
async fn stop_then_start_cancels_the_start() {
    Box::pin(play(&[NoteStop, FindJob, NoteJob, FindStop], "cancelled")).await;
}

#[tokio::test]
async fn a_stop_that_comes_after_the_claim_but_before_the_container_cancels_the_run() {
    let stage = Stage::new().await;
    for (name, program) in [("backtest", PYTHON_BACKTEST), ("bot", PYTHON_BOT)] {
        let message = stage.scene.job(name, &program, PYTHON_TICKER).await;
        let id = stage.scene.id(name);
        let held = stage.hold(&id, false);
        let code = stage.starts.hold("GET", message["file_path"].as_str().unwrap());
        let mut worker = stage.cross(&message, &held).await;
        held.note_job.pass().await;
        held.find_stop.open();
        code.reached().await;
        held.note_stop.pass().await;
        held.find_job.pass().await;
        // Nobody waits for the code any more.
        let result = stage.scene.events.result_of(&id).await;
        assert_eq!(result.expect("cancelled").get("container_id"), None);
        result.expect_message(&["crossed"]);
        stage.scene.is_tidy().await;
        worker.stop().await;
        assert_one_result(&stage.scene, &id, "cancelled");
    }
    Box::pin(stage.finish()).await;
}
