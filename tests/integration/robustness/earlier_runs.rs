//! Starts of a run that come when the job is at another one: its end is told again, and it stays the
//! one that it had.

use lapin::BasicProperties;
use longshore::storage::Bucket;
use serde_json::{Value, json};

use super::retries::{attempts, missing_image, tag_python, untag, without_image};
use super::{QUICK, nothing_is_left, says, until};
use longshore_testing::events::Seen;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// A worker whose engine lacks the image, and a backtest that it has put aside for that.
struct Waiting {
    scene: Scene,
    worker: Worker,
    image: (String, String),
    backtest: Value,
    id: String,
}

impl Waiting {
    async fn with(settings: &[(&str, &str)]) -> Self {
        let scene = Scene::new().await;
        let (name, tag) = missing_image(&scene);
        let image = format!("{name}:{tag}");
        let settings = [&without_image(&image)[..], settings].concat();
        let worker = scene.worker_with(&settings).await;
        let backtest = scene.job("job", &PYTHON_BACKTEST, QUICK).await;
        let id = scene.id("job");
        let waiting = Self { scene, worker, image: (name, tag), backtest, id };
        waiting.publish().await;
        waiting.scene.events.wait_state(&waiting.id, "restarting").await;
        until("the start is with the broker", async || waiting.is_unclaimed().await).await;
        waiting
    }

    async fn is_unclaimed(&self) -> bool {
        let prefix = format!("{}/segments/", self.scene.namespace);
        self.scene.objects(Bucket::State, &prefix).await.iter().all(|key| !key.ends_with(&self.id))
    }

    /// Publishes the backtest, always as the same message.
    async fn publish(&self) {
        let properties = BasicProperties::default().with_message_id("the-backtest".into());
        self.scene.start_with(&self.backtest, properties).await;
    }

    async fn has_image(&self) {
        tag_python(&self.scene, &self.image.0, &self.image.1).await;
    }

    /// The next run of the job is a bot.
    async fn begin_bot(&self) {
        let mut bot = self.scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
        bot["id"] = self.id.as_str().into();
        self.scene.start(&bot).await;
        let is_running =
            |seen: &Seen| says(&self.id, "running")(seen) && seen.data()["entrypoint"] == "bot";
        self.scene.events.wait_for("the bot runs", is_running).await;
    }

    /// The backtest's result, as it is told for the `nth` time.
    async fn result(&self, nth: usize) -> Seen {
        let is_meant = |seen: &Seen| {
            seen.is_result()
                && seen.subject() == Some(&self.id)
                && seen.data()["entrypoint"] != "bot"
        };
        self.scene.events.wait_for_nth(&format!("result {nth}"), nth, is_meant).await
    }

    async fn stop_bot(&self) {
        self.scene.stop(&json!({ "id": self.id })).await;
        let is_stopped = |seen: &Seen| seen.is_result() && seen.data()["verdict"] == "stopped";
        self.scene.events.wait_for("the bot's result", is_stopped).await;
    }

    async fn finish(self) {
        untag(&self.scene, &format!("{}:{}", self.image.0, self.image.1)).await;
        nothing_is_left(self.scene, [self.worker]).await;
    }
}

#[tokio::test]
async fn a_late_copy_gets_the_result_of_its_run_again() {
    let waiting = Waiting::with(&[("RETRY_DELAYS_SECONDS", "15")]).await;
    waiting.has_image().await;
    waiting.publish().await;
    let first = waiting.result(1).await;
    assert_eq!(first.expect("succeeded")["attempt"], 2, "it goes on counting");
    waiting.begin_bot().await;
    assert_eq!(waiting.result(2).await.event, first.event);
    waiting.stop_bot().await;
    waiting.publish().await;
    assert_eq!(waiting.result(3).await.event, first.event, "the bot has taken its place");
    waiting.finish().await;
}

#[tokio::test]
async fn a_run_that_the_next_one_replaces_is_cancelled_and_stays_cancelled() {
    let waiting = Waiting::with(&[("RETRY_DELAYS_SECONDS", "8")]).await;
    waiting.has_image().await;
    waiting.begin_bot().await;
    let first = waiting.result(1).await;
    first.expect("cancelled");
    first.expect_message(&["the run ", "began before this one could be tried again"]);
    waiting.publish().await;
    assert_eq!(waiting.result(2).await.event, first.event);
    waiting.stop_bot().await;
    waiting.publish().await;
    assert_eq!(waiting.result(3).await.event, first.event, "it must not run after all");
    assert_eq!(attempts(&waiting.scene.events.all(), &waiting.id, "running"), [1], "the bot");
    waiting.finish().await;
}

#[tokio::test]
async fn a_start_that_is_published_again_has_no_more_attempts_than_another() {
    let settings = [("RETRY_DELAYS_SECONDS", "8"), ("JOB_MAX_ATTEMPTS", "2")];
    let waiting = Waiting::with(&settings).await;
    waiting.publish().await;
    let first = waiting.result(1).await;
    assert_eq!(first.expect("unavailable")["attempt"], 2);
    assert_eq!(attempts(&waiting.scene.events.all(), &waiting.id, "preparing"), [1, 2]);
    assert_eq!(waiting.result(2).await.event, first.event, "the copy that waited");
    waiting.has_image().await;
    waiting.finish().await;
}
