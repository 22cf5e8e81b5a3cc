//! AMQP properties at the edge, beside honest jobs: whatever the bytes are, their own message is
//! refused or followed, and nobody else notices.

use lapin::options::BasicGetOptions;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use super::witness::MAX_PEAK_KIB;
use longshore_testing::events::Seen;
use longshore_testing::hostile::amqp::{self, Case, Right};
use longshore_testing::own_broker::OwnBroker;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::rabbit::within;
use longshore_testing::raw_publisher::RawPublisher;
use longshore_testing::scene::Scene;

/// Honest jobs, one after each so many messages.
const ONE_JOB_IN: usize = 20;

const HONEST: &str = "def main(id, config):\n    return {'id': id}\n";

/// A run's code that is not there: whoever follows a start says so.
const NO_CODE: &str = "no/such/code.zip";

/// Publishes a case; whether the broker did with it what is expected of it.
async fn publish(
    publisher: &mut RawPublisher,
    scene: &Scene,
    case: &Case,
    key: &str,
    body: &[u8],
) -> Result<(), String> {
    let exchange = format!("{}.jobs", scene.namespace);
    let key = case.key.unwrap_or(key.as_bytes());
    let outcome = publisher.publish(&exchange, key, &case.properties, body).await;
    if outcome.is_ok() == (case.right != Right::NotTaken) {
        return Ok(());
    }
    Err(format!("{}: {outcome:?}", case.name))
}

#[tokio::test]
async fn no_bytes_in_a_message_harm_anybody_but_the_message() {
    let scene = Scene::new().await;
    let mut worker = scene.worker().await;
    let pid = worker.pid();
    let bot = scene.id("bot");
    let code = scene.put_code("bot", &[("main.py", PYTHON_TICKER)]).await;
    scene.start(&PYTHON_BOT.message(&bot, &code)).await;
    scene.events.wait_state(&bot, "running").await;
    let container = scene.container_of(&bot).await.id;
    let honest_code = scene.put_code("honest", &[("backtest.py", HONEST)]).await;

    let mut publisher = RawPublisher::new();
    let (mut wrong, mut honest) = (Vec::new(), Vec::new());
    let starts = amqp::all("start.terminating");
    let stops = amqp::all("stop");
    assert!(starts.len() >= 60, "{}", starts.len());
    for (number, (start, stop)) in starts.iter().zip(&stops).enumerate() {
        let message = PYTHON_BACKTEST.message(&scene.id(start.name), NO_CODE).to_string();
        let body = message.as_bytes();
        wrong.extend(publish(&mut publisher, &scene, start, "start.terminating", body).await.err());
        let body = json!({"id": scene.id(&format!("{}-stop", stop.name))}).to_string();
        wrong.extend(publish(&mut publisher, &scene, stop, "stop", body.as_bytes()).await.err());
        if number % ONE_JOB_IN == 0 {
            let id = scene.id(&format!("honest-{number}"));
            scene.start(&PYTHON_BACKTEST.message(&id, &honest_code)).await;
            honest.push(id);
        }
    }
    assert!(wrong.is_empty(), "the broker took what it should not, or the reverse: {wrong:#?}");

    for id in &honest {
        scene.events.result_of(id).await.expect("succeeded");
    }
    let mut letters = 0;
    for case in starts.iter().filter(|case| case.right != Right::NotTaken) {
        let result = scene.events.result_of(&scene.id(case.name)).await;
        let said = result.expect("rejected")["message"].as_str().unwrap().to_owned();
        let reason = if let Right::Refused(reason) = case.right { reason } else { NO_CODE };
        if !said.contains(reason) {
            wrong.push(format!("{}: {said}", case.name));
        }
        letters += 1;
    }
    for case in &stops {
        let id = scene.id(&format!("{}-stop", case.name));
        if case.right == Right::Followed {
            scene.events.wait_state(&id, "not_running").await;
        }
        letters += usize::from(matches!(case.right, Right::Refused(_)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let letters = scene.dead_letters(letters).await;
    for case in &stops {
        let Right::Refused(reason) = case.right else { continue };
        let body = json!({"id": scene.id(&format!("{}-stop", case.name))}).to_string();
        let told: Vec<_> = letters.iter().filter(|letter| letter.body == body.as_bytes()).collect();
        assert!(told.len() == 1 && told[0].reason.contains(reason), "{}: {told:?}", case.name);
    }
    for case in starts.iter().filter(|case| case.right != Right::NotTaken) {
        assert_eq!(scene.events.results_of(&scene.id(case.name)).len(), 1, "{}", case.name);
    }

    assert_eq!(scene.container_of(&bot).await.id, container, "the bot was restarted");
    assert!(!scene.events.states_of(&bot).iter().any(|state| state == "restarting"));
    assert!(!worker.has_ended() && worker.pid() == pid);
    let log = worker.log();
    for word in ["panicked", "lost the connection to RabbitMQ", "consuming was interrupted"] {
        assert!(!log.contains(word), "{word}");
    }
    let peak = worker.peak_memory_kib();
    assert!(peak < MAX_PEAK_KIB, "the worker's peak memory was {peak} KiB");
    scene.stop(&json!({"id": bot})).await;
    scene.events.result_of(&bot).await.expect("stopped");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_body_that_never_ends_or_is_too_large_for_the_broker_reaches_no_worker() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let exchange = format!("{}.jobs", scene.namespace);
    for size in [100, 1 << 63, u64::MAX] {
        RawPublisher::hang_up_within_a_body(&exchange, b"stop", size).await;
    }
    let too_large = vec![b' '; 17 * 1024 * 1024];
    let mut publisher = RawPublisher::new();
    publisher.publish(&exchange, b"stop", b"\0\0", &too_large).await.unwrap_err();
    publisher.publish(&exchange, b"stop", b"\0\0", b"{}").await.unwrap();
    let letters = scene.dead_letters(1).await;
    assert_eq!(letters[0].body, b"{}");
    scene.finish([worker]).await;
}

/// A broker whose operator allows larger messages than a worker reads into memory.
#[tokio::test]
async fn a_body_beyond_what_a_worker_reads_is_refused_without_being_held_and_kept_whole() {
    const SIZE: usize = 100 * 1024 * 1024;
    const OTHER: usize = 17 * 1024 * 1024;
    let scene = Scene::new().await;
    let (docker, namespace) = (&scene.docker, &scene.namespace);
    let mut broker = OwnBroker::create_for_messages_of(docker, namespace, 256 << 20).await;
    broker.start().await;
    let url = broker.url();
    let mut worker = scene.worker_with(&[("AMQP_URL", &url)]).await;
    let exchange = format!("{namespace}.jobs");
    let mut publisher = RawPublisher::to(url.clone());
    let body = vec![b'x'; SIZE];
    for key in [&b"start.terminating"[..], b"stop"] {
        publisher.publish(&exchange, key, b"\0\0", &body).await.unwrap();
    }
    // Another one without an id: it has a refusal of its own.
    publisher.publish(&exchange, b"start.terminating", b"\0\0", &body[..OTHER]).await.unwrap();
    let id = scene.id("after");
    broker.publish("start.terminating", &PYTHON_BACKTEST.message(&id, NO_CODE)).await;
    broker.result_of(&id).await.expect("rejected");
    let is_refusal = |seen: &Seen| seen.is_result() && seen.subject().is_none();
    let refused = broker.wait_for("a refusal", is_refusal).await;
    refused.expect_message(&["$: is 104857600 bytes, more than is read at all"]);
    let is_other = |seen: &Seen| is_refusal(seen) && seen.event["id"] != refused.event["id"];
    let other = broker.wait_for("the refusal of the other", is_other).await;
    other.expect_message(&["$: is 17825792 bytes, more than is read at all"]);

    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let dead = format!("{namespace}.dead");
    let mut sizes = Vec::new();
    within(async {
        while sizes.len() < 4 {
            let options = BasicGetOptions { no_ack: true };
            let got = channel.basic_get(dead.as_str().into(), options).await.unwrap();
            match got {
                Some(message) => sizes.push(message.data.len()),
                None => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    })
    .await;
    assert_eq!(sizes.iter().filter(|size| **size == SIZE).count(), 2, "{sizes:?}");
    assert_eq!(sizes.iter().filter(|size| **size == OTHER).count(), 1, "{sizes:?}");
    let peak = worker.peak_memory_kib();
    assert!(peak < MAX_PEAK_KIB, "the worker's peak memory was {peak} KiB");
    worker.stop().await;
    scene.finish([]).await;
}
