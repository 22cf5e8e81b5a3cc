//! A connection to the broker that breaks at any frame, and a broker that is short of memory.

use std::collections::BTreeSet;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    QUICK, assert_counted, assert_one_result, counter, identity, nothing_is_left, readiness, says,
    until,
};
use longshore_testing::events::PATIENCE;
use longshore_testing::frames::{Break, FrameProxy, Part, Point, Which};
use longshore_testing::own_broker::OwnBroker;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::rabbit::Rabbit;
use longshore_testing::scene::Scene;
use longshore_testing::servers::amqp_url;
use longshore_testing::worker::Worker;

/// What the broker says when it is asked for a message and one is there.
const GET_OK: (u16, u16) = (60, 71);
const DELIVER: (u16, u16) = (60, 60);
const CONSUME_OK: (u16, u16) = (60, 21);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const EXCHANGE_DECLARE_OK: (u16, u16) = (40, 11);
const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);
const ACK: (u16, u16) = (60, 80);
const RETURN: (u16, u16) = (60, 50);
const CONFIRM_SELECT_OK: (u16, u16) = (85, 11);

/// Jobs under way, of the slots of a worker.
const MOST_AT_A_TIME: usize = 4;

/// A worker whose connections can be broken, with a bot that runs.
struct Broken {
    scene: Scene,
    worker: Worker,
    proxy: FrameProxy,
    code: String,
    bot: String,
    bot_began: (String, String),
    jobs: Vec<String>,
}

impl Broken {
    /// Starts all of it; the worker meets `first` on its way.
    async fn begin(query: &str, first: Option<(Point, Break)>) -> Self {
        let scene = Scene::new().await;
        let proxy = FrameProxy::start(Rabbit::new().addr().await).await;
        if let Some((point, how)) = first {
            proxy.arm(point, how);
        }
        let url = format!("{}{query}", proxy.url(&amqp_url()));
        let settings = [("AMQP_URL", url.as_str()), ("MAX_TERMINATING", "8")];
        let worker = scene.worker_with(&settings).await;
        assert!(first.is_none() || proxy.has_fired());
        let code = scene.put_code("quick", &[(PYTHON_BACKTEST.script, QUICK)]).await;
        let bot = scene.id("bot");
        scene.start(&counter(&scene, "bot", &PYTHON_BOT, None).await).await;
        scene.events.wait_state(&bot, "running").await;
        let bot_began = identity(&scene, &bot).await;
        Self { scene, worker, proxy, code, bot, bot_began, jobs: Vec::new() }
    }

    /// Publishes a good job. It names a queue for its result that is not there, so that the broker returns
    /// a message. Before there are many, it waits for the first ones, so that there are free slots.
    async fn publish_job(&mut self) {
        let settled = self.jobs.len().saturating_sub(MOST_AT_A_TIME);
        for id in &self.jobs[..settled] {
            self.scene.events.result_of(id).await.expect("succeeded");
        }
        let id = self.scene.id(&format!("job-{}", self.jobs.len()));
        let properties = BasicProperties::default()
            .with_message_id(id.as_str().into())
            .with_reply_to("amq.gen-nobody".into());
        let message = PYTHON_BACKTEST.message(&id, &self.code);
        self.scene.start_with(&message, properties).await;
        self.jobs.push(id);
    }

    /// Has the broker send such a frame.
    async fn provoke(&mut self, (which, method, _): Point) {
        match (which, method) {
            // With each proof.
            (Which::Locks, QUEUE_DECLARE_OK) => {}
            (Which::Work, DELIVER | ACK) => {
                self.scene.stop(&json!({ "id": "nobody" })).await;
            }
            (Which::Work, RETURN) => self.publish_job().await,
            // A message is there before the worker asks for it; its job's events need a new channel.
            (Which::Work, GET_OK | CONFIRM_SELECT_OK) => {
                self.proxy.cut(which);
                self.publish_job().await;
            }
            // With each new connection.
            _ => self.proxy.cut(which),
        }
    }

    /// Every frame that the broker sends from the handshake to a finished job, and to a stop.
    async fn learn(&mut self) -> BTreeSet<Point> {
        self.publish_job().await;
        self.provoke((Which::Work, GET_OK, Part::Method)).await;
        self.provoke((Which::Work, DELIVER, Part::Method)).await;
        for id in &self.jobs {
            self.scene.events.result_of(id).await.expect("succeeded");
        }
        self.is_healed().await;
        self.proxy.seen()
    }

    /// Breaks the connection there, and waits until everything is consumed again.
    async fn break_at(&mut self, point: Point, how: Break) {
        self.proxy.arm(point, how);
        let begun = Instant::now();
        while !self.proxy.has_fired() {
            assert!(begun.elapsed() < PATIENCE, "{point:?} does not come");
            self.provoke(point).await;
            // A slow machine must not be cut off again before it has connected.
            for _ in 0..60 {
                if !self.proxy.has_fired() {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.publish_job().await;
        self.is_healed().await;
    }

    async fn is_healed(&self) {
        for inbox in ["start.terminating", "start.long-running", "stop", "segment.0"] {
            let queue = format!("{}.{inbox}", self.scene.namespace);
            until(&format!("{queue} is consumed again"), async || {
                let passive = QueueDeclareOptions { passive: true, ..Default::default() };
                let name = queue.as_str().into();
                let channel = self.scene.channel();
                let found = channel.queue_declare(name, passive, FieldTable::default()).await;
                found.unwrap().consumer_count() == 1
            })
            .await;
        }
    }

    /// Every job has succeeded, and none ran twice; the bot is the same.
    async fn end(self) {
        let Self { scene, worker, bot, bot_began, jobs, .. } = self;
        for id in &jobs {
            scene.events.result_of(id).await.expect("succeeded");
            let containers: BTreeSet<_> = scene
                .events
                .all()
                .iter()
                .filter(|seen| seen.subject() == Some(id))
                .filter_map(|seen| seen.data()["container_id"].as_str().map(str::to_owned))
                .collect();
            assert_eq!(containers.len(), 1, "{id} ran twice");
        }
        assert_eq!(identity(&scene, &bot).await, bot_began, "the bot was started again");
        until("the worker is ready", async || readiness(&worker).await.0 == 200).await;
        scene.stop(&json!({ "id": bot })).await;
        scene.events.result_of(&bot).await.expect("stopped");
        assert_one_result(&scene, &bot, "stopped");
        assert_counted(&scene.logs_of(&bot).await);
        nothing_is_left(scene, [worker]).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_at_any_frame_of_the_broker_heals() {
    let first = (Which::Work, EXCHANGE_DECLARE_OK, Part::Method);
    let mut broken = Broken::begin("", Some((first, Break::Cut))).await;
    let mut points = broken.learn().await;
    for (method, part) in [(GET_OK, Part::Body), (DELIVER, Part::Header), (ACK, Part::Method)] {
        assert!(points.contains(&(Which::Work, method, part)), "{points:?}");
    }
    assert!(points.contains(&(Which::Locks, QUEUE_DECLARE_OK, Part::Method)), "{points:?}");
    // It comes only when a worker starts, and is behind us.
    assert!(points.remove(&first));
    for point in points {
        broken.break_at(point, Break::Cut).await;
    }
    broken.end().await;
}

#[tokio::test]
async fn a_connection_that_stalls_within_an_exchange_heals() {
    let mut broken = Broken::begin("?heartbeat=1", None).await;
    for point in [
        (Which::Work, GET_OK, Part::Method),
        (Which::Work, DELIVER, Part::Header),
        (Which::Work, CONSUME_OK, Part::Method),
        (Which::Work, CHANNEL_OPEN_OK, Part::Method),
        (Which::Locks, QUEUE_DECLARE_OK, Part::Method),
    ] {
        broken.break_at(point, Break::Stall).await;
    }
    broken.end().await;
}

#[tokio::test]
#[ignore = "it takes minutes: make soak-broker"]
async fn a_connection_that_stalls_at_any_frame_of_the_broker_heals() {
    let first = (Which::Work, EXCHANGE_DECLARE_OK, Part::Method);
    let mut broken = Broken::begin("?heartbeat=1", Some((first, Break::Stall))).await;
    let mut points = broken.learn().await;
    assert!(points.remove(&first));
    for point in points {
        broken.break_at(point, Break::Stall).await;
    }
    broken.end().await;
}

#[tokio::test]
async fn a_work_connection_that_is_killed_again_and_again_never_costs_the_segment() {
    let scene = Scene::new().await;
    let proxy = FrameProxy::start(Rabbit::new().addr().await).await;
    let url = proxy.url(&amqp_url());
    let settings = [("AMQP_URL", url.as_str()), ("SEGMENT_GRACE_SECONDS", "10")];
    let worker = scene.worker_with(&settings).await;
    let bot = scene.id("bot");
    scene.start(&counter(&scene, "bot", &PYTHON_BOT, None).await).await;
    scene.events.wait_state(&bot, "running").await;
    let before = identity(&scene, &bot).await;
    let begun = Instant::now();
    let mut cuts = 0;
    // For longer than the grace.
    while begun.elapsed() < Duration::from_secs(16) {
        let (_, report) = readiness(&worker).await;
        let checks = report["checks"].as_array().unwrap();
        let is_there =
            |name| checks.iter().any(|check| check["name"] == name && check["ok"] == true);
        assert!(is_there("segment"), "{report:#}");
        if is_there("broker") {
            proxy.cut(Which::Work);
            cuts += 1;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(cuts > 3, "{cuts}");
    assert!(!worker.log().contains("lost the segment's lock"));
    assert_eq!(identity(&scene, &bot).await, before, "the bot was started again");
    scene.stop(&json!({ "id": bot })).await;
    scene.events.result_of(&bot).await.expect("stopped");
    nothing_is_left(scene, [worker]).await;
}

#[tokio::test]
async fn a_broker_short_of_memory_for_longer_than_the_grace_costs_no_bot() {
    let scene = Scene::new().await;
    let mut broker = OwnBroker::create(&scene.docker, &scene.namespace).await;
    broker.start().await;
    let url = broker.url();
    let settings = [("AMQP_URL", url.as_str()), ("SEGMENT_GRACE_SECONDS", "10")];
    let worker = scene.worker_with(&settings).await;
    let (bot, ends) = (scene.id("bot"), scene.id("ends"));
    broker.publish("start.long-running", &counter(&scene, "bot", &PYTHON_BOT, None).await).await;
    let backtest = counter(&scene, "ends", &PYTHON_BACKTEST, Some(6)).await;
    broker.publish("start.terminating", &backtest).await;
    for id in [&bot, &ends] {
        broker.wait_for("status running", says(id, "running")).await;
    }
    let before = identity(&scene, &bot).await;

    broker.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
    let begun = Instant::now();
    let mut told = Value::Null;
    while begun.elapsed() < Duration::from_secs(22) {
        let (_, report) = readiness(&worker).await;
        let checks = report["checks"].as_array().unwrap().clone();
        let check = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap();
        assert_eq!(check("segment")["ok"], true, "{report:#}");
        if check("broker")["detail"].as_str().unwrap().contains("takes no messages") {
            told = check("broker").clone();
        }
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(told["ok"], true, "the alarm is not told: {told}");
    assert_eq!(identity(&scene, &bot).await, before, "the bot was started again");
    broker.control(&["set_vm_memory_high_watermark", "0.6"]).await;

    broker.result_of(&ends).await.expect("succeeded");
    assert_eq!(identity(&scene, &bot).await, before, "the bot was started again");
    broker.publish("stop", &json!({ "id": bot })).await;
    broker.result_of(&bot).await.expect("stopped");
    let log = worker.log();
    assert!(!log.contains("lost the segment's lock"));
    assert_eq!(log.matches("RabbitMQ takes no messages for now: it is short").count(), 1);
    nothing_is_left(scene, [worker]).await;
}
