//! A flood of hostile messages by a publisher of least rights, beside good jobs and bots. It takes
//! minutes: `make test-long`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Confirmation, Connection, ConnectionProperties};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::archives::caps;
use longshore_testing::hostile::amqp::{self, Case, Right};
use longshore_testing::hostile::archives::{self, Archive};
use longshore_testing::hostile::messages::{self, Message};
use longshore_testing::least_rights::Publisher;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::raw_publisher::RawPublisher;
use longshore_testing::scene::Scene;
use longshore_testing::variable;

/// The most memory that a worker may ever have held, in KiB.
const MAX_PEAK_KIB: u64 = 120 * 1024;

/// Of so many hostile messages one names a bad archive, which costs a worker a slot.
const ARCHIVE_EVERY: usize = 20;

/// Of so many hostile messages one has properties at the edge of AMQP.
const EDGE_EVERY: usize = 7;

/// Of so many hostile messages one goes to the queue of stops.
const STOP_EVERY: usize = 10;

/// Bodies larger than this come in one round of the corpus out of ten: they are a load for the machine.
const LARGE_BYTES: usize = 256 * 1024;

/// How long the workers may take for what is left when the last message was published.
const PATIENCE: Duration = Duration::from_mins(10);

fn number(name: &str, default: usize) -> usize {
    variable(name).map_or(default, |text| text.parse().unwrap())
}

/// One message, and what must come of it: a dead letter in any case.
struct Shot {
    key: &'static str,
    body: Vec<u8>,
    /// Whether a result event must tell of it, as a start's does.
    is_told: bool,
}

/// A message whose bytes no client library writes. It carries no mark of the test's but its job's id.
struct EdgeShot {
    key: Vec<u8>,
    properties: Vec<u8>,
    id: String,
    body: String,
}

/// An endless row of hostile messages.
struct Corpus {
    edge: Vec<Case>,
    namespace: String,
    archives: Vec<(&'static str, String)>,
    messages: std::vec::IntoIter<Message>,
    round: usize,
    shots: usize,
}

impl Corpus {
    /// The corpus, with its archives in the bucket of code.
    async fn of(scene: &Scene) -> Self {
        let mut keys = Vec::new();
        for Archive { name, bytes, .. } in archives::all() {
            keys.push((name, scene.put_zip(name, bytes).await));
        }
        let (namespace, messages) = (scene.namespace.clone(), Vec::new().into_iter());
        let edge = amqp::all("start.terminating").into_iter();
        let edge = edge.filter(|case| case.right != Right::NotTaken).collect();
        Self { edge, namespace, archives: keys, messages, round: 0, shots: 0 }
    }

    /// The next message at the edge, where it is the turn of one. All of them end as `rejected`, for
    /// there is no such code either.
    fn next_edge(&mut self) -> Option<EdgeShot> {
        if !(self.shots + 1).is_multiple_of(EDGE_EVERY) {
            return None;
        }
        let turn = (self.shots + 1) / EDGE_EVERY - 1;
        let case = &self.edge[turn % self.edge.len()];
        // A message under an id that was there before is the same message, and told by the same event.
        if turn >= self.edge.len() && has_message_id(case) {
            return None;
        }
        self.shots += 1;
        let id = format!("{}-edge-{}", self.namespace, self.shots);
        let body = PYTHON_BACKTEST.message(&id, "no/such/code.zip").to_string();
        let key = case.key.unwrap_or(b"start.terminating").to_vec();
        Some(EdgeShot { key, properties: case.properties.clone(), id, body })
    }

    fn next(&mut self) -> Shot {
        self.shots += 1;
        if self.shots.is_multiple_of(ARCHIVE_EVERY) {
            let (name, key) = &self.archives[self.shots / ARCHIVE_EVERY % self.archives.len()];
            let id = format!("{}-{name}-{}", self.namespace, self.shots);
            let body = PYTHON_BACKTEST.message(&id, key).to_string().into_bytes();
            return Shot { key: "start.terminating", body, is_told: true };
        }
        let is_stop = self.shots.is_multiple_of(STOP_EVERY);
        loop {
            let Some(message) = self.messages.next() else {
                self.round += 1;
                self.messages =
                    messages::all(&format!("{}-{}", self.namespace, self.round)).into_iter();
                continue;
            };
            let is_left_out = message.body.len() > LARGE_BYTES && !self.round.is_multiple_of(10);
            if is_left_out || (is_stop && message.has_id) {
                continue;
            }
            let key = match (is_stop, self.shots % 3) {
                (true, _) => "stop",
                (false, 0) => "start.long-running",
                (false, _) => "start.terminating",
            };
            return Shot { key, body: message.body, is_told: !is_stop };
        }
    }
}

/// Whether the flags say that there is a `message_id`.
fn has_message_id(case: &Case) -> bool {
    case.properties.get(1).is_some_and(|low| low & (1 << 7) != 0)
}

/// The trace that the message of this number carries, and every event that comes of it.
fn trace(number: usize) -> String {
    format!("00-{:032x}-{:016x}-01", number + 1, 1)
}

/// Counts the dead letters by the test's message id, else by their body, and takes them away.
async fn count_dead_letters(
    scene: &Scene,
) -> (Arc<Mutex<HashMap<String, usize>>>, AbortOnDropHandle<()>) {
    let queue = format!("{}.dead", scene.namespace);
    let channel = scene.connection.create_channel().await.unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consumer =
        channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
    let mut consumer = consumer.await.unwrap();
    let counts: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
    let counted = Arc::clone(&counts);
    let counting = TaskTracker::new().spawn(async move {
        let _kept = channel;
        while let Some(Ok(letter)) = consumer.next().await {
            let id = letter.properties.message_id().as_ref().map(ToString::to_string);
            let id = id.filter(|id| id.starts_with("shot-"));
            let mark = id.unwrap_or_else(|| String::from_utf8_lossy(&letter.data).into_owned());
            *counted.lock().unwrap().entry(mark).or_default() += 1;
        }
    });
    (counts, AbortOnDropHandle::new(counting))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it publishes for minutes: make test-long"]
#[allow(clippy::too_many_lines, reason = "one flood from its first message to its last count")]
async fn a_flood_of_hostile_messages_harms_no_job_and_no_bot() {
    let hostile = number("LONGSHORE_FLOOD_MESSAGES", 10_000);
    let per_second = number("LONGSHORE_FLOOD_PER_SECOND", 50);
    let jobs = number("LONGSHORE_FLOOD_JOBS", 200);
    let bots = number("LONGSHORE_FLOOD_BOTS", 4);
    let scene = Scene::new().await;
    let caps = caps();
    let caps: Vec<_> = caps.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut workers = [scene.worker_with(&caps).await, scene.worker_with(&caps).await];
    let pids = [workers[0].pid(), workers[1].pid()];
    for bot in 0..bots {
        let name = format!("bot-{bot}");
        scene.start(&scene.job(&name, &PYTHON_BOT, PYTHON_TICKER).await).await;
    }
    for bot in 0..bots {
        scene.events.wait_state(&scene.id(&format!("bot-{bot}")), "running").await;
    }
    let (letters, _counting) = count_dead_letters(&scene).await;
    let good = "def main(id, config):\n    return {'n': config['n']}\n";
    let good = scene.put_code("good", &[("backtest.py", good)]).await;

    let publisher = Publisher::new(&scene.namespace).await;
    let connection = Connection::connect(publisher.url(), ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let exchange = format!("{}.jobs", scene.namespace);
    let mut corpus = Corpus::of(&scene).await;
    let mut raw = RawPublisher::to(publisher.url().to_owned());
    let (mut told, mut edges) = (BTreeMap::new(), Vec::new());
    let mut confirms = Vec::new();
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(per_second).unwrap());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let begun = Instant::now();
    let mut started = 0;
    for number in 0..hostile {
        ticks.tick().await;
        while started * hostile < jobs * (number + 1) && started < jobs {
            let mut message = PYTHON_BACKTEST.message(&scene.id(&format!("good-{started}")), &good);
            message["config"] = json!({ "n": started });
            scene.start(&message).await;
            started += 1;
        }
        if let Some(shot) = corpus.next_edge() {
            let body = shot.body.as_bytes();
            raw.publish(&exchange, &shot.key, &shot.properties, body).await.unwrap();
            edges.push(shot);
            continue;
        }
        let shot = corpus.next();
        told.insert(number, shot.is_told);
        let mut headers = FieldTable::default();
        headers
            .insert("traceparent".into(), AMQPValue::LongString(LongString::from(trace(number))));
        let properties = BasicProperties::default()
            .with_message_id(format!("shot-{number}").into())
            .with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (name, key) = (exchange.as_str().into(), shot.key.into());
        let sent = channel.basic_publish(name, key, options, &shot.body, properties).await;
        confirms.push(sent.unwrap());
    }
    for confirm in confirms {
        let confirmed = confirm.await.unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
    }
    let (took, done_at) = (begun.elapsed(), Instant::now());
    eprintln!("{hostile} hostile messages in {} s beside {started} good jobs", took.as_secs());

    let expected = told.values().filter(|told| **told).count() + edges.len();
    loop {
        let results = scene.events.all_results();
        let (succeeded, refused) = results.iter().fold((0, 0), |(good, bad), seen| {
            match seen.data()["verdict"].as_str() {
                Some("succeeded") => (good + 1, bad),
                _ => (good, bad + 1),
            }
        });
        let dead: usize = letters.lock().unwrap().values().sum();
        if succeeded >= jobs && refused >= expected && dead >= hostile {
            break;
        }
        assert!(
            done_at.elapsed() < PATIENCE,
            "{succeeded} of {jobs} jobs, {refused} of {expected} refusals, {dead} of {hostile} dead letters"
        );
        for worker in &mut workers {
            assert!(!worker.has_ended(), "a worker has ended");
        }
        sleep(Duration::from_millis(500)).await;
    }
    // Whatever is told twice has had its time to be.
    sleep(Duration::from_secs(3)).await;

    let mut by_trace: HashMap<String, usize> = HashMap::new();
    for seen in scene.events.all_results() {
        if let Some(trace) = seen.event["traceparent"].as_str() {
            assert_eq!(seen.data()["verdict"], "rejected", "{:#}", seen.event);
            *by_trace.entry(trace.to_owned()).or_default() += 1;
        }
    }
    let letters = letters.lock().unwrap().clone();
    let mut wrong = Vec::new();
    for EdgeShot { id, body, .. } in &edges {
        let (results, dead) = (scene.events.results_of(id).len(), letters.get(body).copied());
        if (results, dead) != (1, Some(1)) {
            wrong.push(format!("{id}: {results} results, {dead:?} dead letters"));
        }
    }
    for (&number, is_told) in &told {
        let results = by_trace.get(&trace(number)).copied().unwrap_or_default();
        let dead = letters.get(&format!("shot-{number}")).copied().unwrap_or_default();
        if results != usize::from(*is_told) || dead != 1 {
            wrong.push(format!("message {number}: {results} results, {dead} dead letters"));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    for job in 0..jobs {
        let results = scene.events.results_of(&scene.id(&format!("good-{job}")));
        assert_eq!(results.len(), 1, "job {job}");
        assert_eq!(results[0].data()["result"]["n"], job);
    }
    for bot in 0..bots {
        let id = scene.id(&format!("bot-{bot}"));
        assert_eq!(scene.events.states_of(&id), ["accepted", "preparing", "running"], "{id}");
    }
    for (worker, pid) in workers.iter_mut().zip(pids) {
        assert!(!worker.has_ended() && worker.pid() == pid);
        assert!(!worker.log().contains("panicked"));
        let peak = worker.peak_memory_kib();
        eprintln!("a worker's peak memory was {peak} KiB");
        assert!(peak < MAX_PEAK_KIB, "a worker's peak memory was {peak} KiB");
    }
    publisher.remove().await;
    for bot in 0..bots {
        let id = scene.id(&format!("bot-{bot}"));
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(&id).await.expect("stopped");
    }
    scene.finish(workers).await;
}
