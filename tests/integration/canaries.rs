//! Canaries: words that stand nowhere else, as credentials of the worker and as secrets of messages.
//! With every library told to log all there is, through every kind of end and outage, they get to
//! nowhere but where they are needed.

use std::path::Path;

use longshore::storage::{Bucket, ObjectStore as _, S3Store};
use serde_json::{Value, json};

use crate::robustness::until;
use longshore_testing::own_broker::{OwnBroker, PASSWORD};
use longshore_testing::own_store::OwnStore;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, Program};
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

const ACCESS_KEY: &str = "canary-access-key-77aa";
const SECRET_KEY: &str = "canary-secret-key-91c3";
const TOKEN: &str = "canary-health-token-08be";
const WRONG: [&str; 2] = ["canary-wrong-broker-5e5e", "canary-wrong-store-2c2c"];

/// The worker's own.
const CREDENTIALS: [&str; 6] = [ACCESS_KEY, SECRET_KEY, TOKEN, PASSWORD, WRONG[0], WRONG[1]];

/// Secrets of the messages, by variable and by config.
const NAMED: [&str; 2] = ["canary-api-key-aa01", "canary \"pässword\" bb02"];

/// A value of `env` that `secrets` does not name.
const UNNAMED: &str = "canary-unnamed-cc03";

const EVERYTHING: &str = "trace,lapin=trace,bollard=trace,hyper=trace,reqwest=trace,s3=trace,\
                          rustls=trace,amq_protocol=trace";

const TELLS: &str = r#"
import os, time
def main(id, config):
    key, password = os.environ["API_KEY"], config["password"]
    print("key", key, "password", password, flush=True)
    how = config["how"]
    if how == "fails":
        raise ValueError(f"no access with {key} and {password}")
    if how == "lasts":
        time.sleep(600)
    time.sleep(config.get("seconds", 0))
    return {"message": f"used {key}", key: [password, {"again": password}], "in": len(key)}
"#;

/// A start message with the canaries in it.
async fn message(scene: &Scene, store: &OwnStore, program: &Program, how: &str) -> Value {
    let key = format!("{}/{how}.zip", scene.namespace);
    let zip = longshore_testing::archive::zip_of(&[(program.script, TELLS)]);
    let s3 = S3Store::new(&store.settings()).unwrap();
    let condition = longshore::storage::Condition::None;
    s3.put(Bucket::Code, &key, zip.into(), "application/zip", condition).await.unwrap();
    let mut message = program.message(&scene.id(how), &key);
    message["config"] = json!({ "how": how, "password": NAMED[1] });
    message["env"] = json!({ "API_KEY": NAMED[0], "OTHER": UNNAMED });
    message["secrets"] = json!(["API_KEY", "/password"]);
    message
}

/// Checks that no canary stands in a text.
#[track_caller]
fn clean(place: &str, text: &str, canaries: &[&str]) {
    for canary in canaries {
        let in_json = Value::from(*canary).to_string();
        let in_ascii = in_json.replace('ä', "\\u00e4");
        for form in [canary, in_json.trim_matches('"'), in_ascii.trim_matches('"')] {
            if let Some(at) = text.find(form) {
                let from = text[..at].char_indices().rev().nth(300).map_or(0, |(at, _)| at);
                panic!("{canary} is in the {place}: …{}", &text[from..at + form.len()]);
            }
        }
    }
}

fn all() -> Vec<&'static str> {
    CREDENTIALS.into_iter().chain(NAMED).chain([UNNAMED]).collect()
}

/// A worker that logs all there is.
fn worker_with(scene: &Scene, url: &str, endpoint: &str, keys: [&str; 2]) -> Worker {
    scene.spawn_worker(&[
        ("AMQP_URL", url),
        ("MINIO_ENDPOINT", endpoint),
        ("MINIO_ACCESS_KEY", keys[0]),
        ("MINIO_SECRET_KEY", keys[1]),
        ("HTTP_TOKEN", TOKEN),
        ("LOG_LEVEL", EVERYTHING),
        ("STORE_MAX_ATTEMPTS", "2"),
        ("BOT_NETWORK", "none"),
    ])
}

async fn readyz(worker: &Worker, token: bool) -> (u16, String) {
    let mut request = reqwest::Client::new().get(format!("http://{}/readyz", worker.http()));
    if token {
        request = request.bearer_auth(TOKEN);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn credentials_and_secrets_stay_where_they_are_needed() {
    let scene = Scene::new().await;
    let mut broker = OwnBroker::create(&scene.docker, &scene.namespace).await;
    let (docker, namespace) = (&scene.docker, &scene.namespace);
    let store = OwnStore::create_with_keys(docker, namespace, ACCESS_KEY, SECRET_KEY).await;
    tokio::join!(broker.start(), store.start());
    let endpoint = store.settings().endpoint;
    let mut worker = worker_with(&scene, &broker.url(), &endpoint, [ACCESS_KEY, SECRET_KEY]);
    worker.listens().await;
    until("the worker is ready", async || readyz(&worker, true).await.0 == 200).await;

    ends(&scene, &mut broker, &store).await;
    bot(&scene, &mut broker, &store).await;
    outage(&scene, &mut broker, &store, &worker).await;
    bad_credentials(&scene, &broker, &endpoint).await;

    let seen = broker.seen().await;
    assert!(seen.iter().filter(|one| one.is_result()).count() >= 8, "{seen:#?}");
    for one in seen {
        clean(&format!("event {}", one.routing_key), &one.event.to_string(), &all());
    }
    let dead = broker.dead_letters().await;
    assert_eq!(dead.len(), 4, "{dead:#?}");
    for (reason, _) in &dead {
        clean("reason of a dead letter", reason, &all());
    }
    assert!(dead.iter().any(|(_, body)| body.contains(NAMED[0])), "a dead letter is as it came");
    objects(&scene, &store).await;
    worker.stop().await;
    assert!(
        worker.log().contains("\"TRACE\"") || worker.log().contains("\"DEBUG\""),
        "it logs little"
    );
    clean("worker's log", &worker.log(), &all());
    files(scene.folder());
    scene.finish([]).await;
}

/// Every kind of end of a terminating run.
async fn ends(scene: &Scene, broker: &mut OwnBroker, store: &OwnStore) {
    let good = message(scene, store, &PYTHON_BACKTEST, "returns").await;
    let fails = message(scene, store, &PYTHON_BACKTEST, "fails").await;
    let mut late = message(scene, store, &PYTHON_BACKTEST, "lasts").await;
    late["timeout_seconds"] = json!(2);
    let mut missing = message(scene, store, &PYTHON_BACKTEST, "missing").await;
    missing["file_path"] = json!(format!("{}.zip", NAMED[0]));
    let mut dots = message(scene, store, &PYTHON_BACKTEST, "dots").await;
    dots["file_path"] = json!(format!("../{}", NAMED[0]));
    let mut typed = message(scene, store, &PYTHON_BACKTEST, "typed").await;
    typed["timeout_seconds"] = json!(UNNAMED);
    let mut misnamed = message(scene, store, &PYTHON_BACKTEST, "misnamed").await;
    misnamed["secrets"] = json!([NAMED[0], UNNAMED]);
    for message in [&good, &fails, &late, &missing, &dots, &typed, &misnamed] {
        broker.publish("start.terminating", message).await;
    }
    for (name, verdict) in [
        ("returns", "succeeded"),
        ("fails", "failed"),
        ("lasts", "timed_out"),
        ("missing", "rejected"),
        ("dots", "rejected"),
        ("typed", "rejected"),
        ("misnamed", "rejected"),
    ] {
        let result = broker.result_of(&scene.id(name)).await;
        let data = result.expect(verdict);
        if name == "returns" {
            assert_eq!(data["message"], "used [masked]");
            let masked = json!(["[masked]", { "again": "[masked]" }]);
            assert_eq!(data["result"]["[masked]"], masked);
            assert_eq!(data["result"]["in"], NAMED[0].len());
            assert!(result.output().contains("key [masked] password [masked]"), "{data:#}");
        }
        if name == "fails" {
            result.expect_message(&["no access with [masked] and [masked]"]);
        }
    }
}

/// A bot that is looked at while it runs, and stopped with a reason that tells too much.
async fn bot(scene: &Scene, broker: &mut OwnBroker, store: &OwnStore) {
    let mut bot = message(scene, store, &PYTHON_BOT, "bot").await;
    bot["config"]["how"] = json!("lasts");
    let id = scene.id("bot");
    broker.publish("start.long-running", &bot).await;
    let running = |seen: &longshore_testing::events::Seen| {
        seen.subject() == Some(&id) && seen.state() == Some("running")
    };
    broker.wait_for("a running bot", running).await;
    let container = scene.container_of(&id).await;
    let inspected = serde_json::to_string(&container).unwrap();
    clean("container's inspection", &inspected, &CREDENTIALS);
    let config = container.config.unwrap();
    let env = config.env.unwrap_or_default();
    assert!(env.contains(&format!("API_KEY={}", NAMED[0])), "the job's own environment: {env:?}");
    let around = format!("{:?}{:?}{:?}", config.labels, config.cmd, container.host_config);
    clean("container's labels, command and mounts", &around, &all());
    broker.publish("stop", &json!({ "id": id, "reason": format!("leaked {}", NAMED[0]) })).await;
    let result = broker.result_of(&id).await;
    result.expect("stopped");
    result.expect_message(&["leaked [masked]"]);
}

/// A run whose end falls into an outage of the store.
async fn outage(scene: &Scene, broker: &mut OwnBroker, store: &OwnStore, worker: &Worker) {
    let mut message = message(scene, store, &PYTHON_BACKTEST, "outage").await;
    message["config"]["seconds"] = json!(3);
    let id = scene.id("outage");
    broker.publish("start.terminating", &message).await;
    let running = |seen: &longshore_testing::events::Seen| {
        seen.subject() == Some(&id) && seen.state() == Some("running")
    };
    broker.wait_for("a running backtest", running).await;
    store.stop().await;
    until("the worker misses its store", async || readyz(worker, true).await.0 == 503).await;
    clean("readiness", &readyz(worker, true).await.1, &all());
    assert_eq!(readyz(worker, false).await.0, 401);
    store.start().await;
    broker.result_of(&id).await.expect("succeeded");
}

/// Workers that nobody lets in.
async fn bad_credentials(scene: &Scene, broker: &OwnBroker, endpoint: &str) {
    let url = broker.url().replace(PASSWORD, WRONG[0]);
    let mut unknown = worker_with(scene, &url, endpoint, [ACCESS_KEY, SECRET_KEY]);
    unknown.listens().await;
    until("it is refused by the broker", async || unknown.log().contains("refused the connection"))
        .await;
    let mut wrong = worker_with(scene, &broker.url(), endpoint, [ACCESS_KEY, WRONG[1]]);
    wrong.listens().await;
    until("it is refused by the store", async || wrong.log().contains("the store refused")).await;
    for worker in [&mut unknown, &mut wrong] {
        clean("readiness", &readyz(worker, true).await.1, &all());
        worker.stop().await;
        clean("log of a worker that is refused", &worker.log(), &all());
    }
}

/// What is stored: results and logs without, the journal's messages with.
async fn objects(scene: &Scene, store: &OwnStore) {
    let s3 = S3Store::new(&store.settings()).unwrap();
    let mut messages = 0;
    for bucket in [Bucket::Results, Bucket::Logs, Bucket::State] {
        let keys = s3.list(bucket, "").await.unwrap();
        assert!(!keys.is_empty(), "{bucket:?}");
        for key in keys {
            let object = s3.get(bucket, &key, u64::MAX).await.unwrap();
            let mut text = String::from_utf8_lossy(&object.bytes).into_owned();
            if let Ok(mut record) = serde_json::from_str::<Value>(&text)
                && record["message"]["body"].is_string()
            {
                messages += 1;
                record["message"]["body"] = json!("(the message itself)");
                text = record.to_string();
            }
            // A tombstone holds the reason as it came.
            let known = key.contains("/stops/").then_some(&CREDENTIALS[..]);
            clean(&format!("object {key}"), &text, known.unwrap_or(&all()));
        }
    }
    assert!(messages >= 6, "{messages} records");
    let key = format!("{}/analysis.json", scene.id("returns"));
    let stored = s3.get(Bucket::Results, &key, u64::MAX).await.unwrap();
    let stored: Value = serde_json::from_slice(&stored.bytes).unwrap();
    assert_eq!(stored["message"], "used [masked]");
}

/// What the worker left on disk: nothing but its log, which is looked at already.
fn files(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path);
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            clean(&format!("file {}", path.display()), &text, &all());
        }
    }
}
