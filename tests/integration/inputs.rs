//! Data sets that programs find among their own files.

mod command;
mod shared;
mod unpacked;

use longshore::storage::Bucket;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;

/// Reads every file of its config by its path among its own files.
const READER: &str = "\
import os
def main(id, config):
    return {path: open(path).read() for path in config['read']}
";

/// Puts an object into the inputs bucket. Gives its key.
async fn put(scene: &Scene, name: &str, bytes: impl Into<Vec<u8>>) -> String {
    let key = format!("{}/{name}", scene.namespace);
    scene.put_object(Bucket::Inputs, &key, bytes.into()).await;
    key
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A backtest that reads these files of its inputs.
async fn reader(scene: &Scene, name: &str, inputs: Value, read: &[&str]) -> Value {
    let mut message = scene.job(name, &PYTHON_BACKTEST, READER).await;
    (message["inputs"], message["config"]) = (inputs, json!({"read": read}));
    message
}

#[tokio::test]
async fn a_program_reads_its_inputs_and_can_change_none() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let key = put(&scene, "prices.csv", "date,close\n").await;
    let python = "\
import os
def main(id, config):
    refused = []
    for attempt in (lambda: open('data/prices.csv', 'a'), lambda: os.remove('data/prices.csv'),
                    lambda: os.chmod('data/prices.csv', 0o666), lambda: open('data/more', 'w')):
        try:
            attempt()
        except OSError as error:
            refused.append(type(error).__name__)
    beside = os.path.join(os.path.dirname(__file__), 'data/prices.csv')
    return [open('data/prices.csv').read(), open(beside).read(), len(refused)]
";
    let node = "\
const fs = require('fs');
exports.main = () => {
  let refused = 0;
  for (const attempt of [() => fs.appendFileSync('data/prices.csv', 'x'),
                         () => fs.rmSync('data/prices.csv'),
                         () => fs.chmodSync('data/prices.csv', 0o666),
                         () => fs.writeFileSync('data/more', 'x')]) {
    try { attempt(); } catch (error) { refused += 1; }
  }
  const beside = require('path').join(__dirname, 'data/prices.csv');
  return [fs.readFileSync('data/prices.csv', 'utf8'), fs.readFileSync(beside, 'utf8'), refused];
};
";
    let programs = [
        ("py", &PYTHON_BACKTEST, python),
        ("js", &longshore_testing::program::NODE_BACKTEST, node),
    ];
    for (name, program, source) in programs {
        let mut message = scene.job(name, program, source).await;
        message["inputs"] = json!([{"key": key, "path": "data/prices.csv"}]);
        let result = scene.run(&message).await;
        let value = result.expect("succeeded")["result"].clone();
        assert_eq!(value, json!(["date,close\n", "date,close\n", 4]), "{name}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn with_the_cache_off_and_with_code_that_may_be_changed_inputs_are_there_as_well() {
    for setting in [("CODE_CACHE_MAX_MB", "0"), ("BOT_READ_ONLY_CODE", "false")] {
        let scene = Scene::new().await;
        let worker = scene.worker_with(&[setting]).await;
        let key = put(&scene, "prices.csv", "as it was").await;
        let source = "\
def main(id, config):
    before = open('data/prices.csv').read()
    try:
        open('data/prices.csv', 'w').write('changed')
    except OSError:
        pass
    return before
";
        for name in ["one", "two"] {
            let mut message = scene.job(name, &PYTHON_BACKTEST, source).await;
            message["inputs"] = json!([{"key": key, "path": "data/prices.csv"}]);
            let result = scene.run(&message).await;
            assert_eq!(result.expect("succeeded")["result"], "as it was", "{setting:?} {name}");
        }
        scene.finish([worker]).await;
    }
}

/// A run that cannot have what its message names is refused like one without its code.
#[tokio::test]
async fn what_cannot_be_had_is_refused_once_with_a_sentence() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("BOT_INPUTS_MB", "1"), ("BOT_INPUTS_MAX", "2")]).await;
    let full = put(&scene, "full", vec![b'x'; 1 << 20]).await;
    let more = put(&scene, "more", vec![b'x'; (1 << 20) + 1]).await;
    let small = put(&scene, "small", "1").await;
    let one = |key: &str, path: &str| json!({"key": key, "path": path});
    let mut pinned = one(&small, "x");
    pinned["sha256"] = json!(sha256(b"2"));
    let cases = [
        ("gone", json!([one("gone.csv", "x")]), "no object \"gone.csv\" in the bucket"),
        ("digest", json!([pinned]), "has the SHA-256 "),
        (
            "large",
            json!([one(&more, "x")]),
            "larger than the 1048576 bytes allowed (BOT_INPUTS_MB)",
        ),
        (
            "sum",
            json!([one(&full, "x"), one(&small, "y")]),
            "have more than the 1048576 bytes allowed, as seen at the input",
        ),
        ("clash", json!([one(&small, "backtest.py/x")]), "cannot be at \"backtest.py\""),
        (
            "script",
            json!([one(&small, "backtest.py")]),
            "inputs[0].path: \"backtest.py\" is the script",
        ),
        (
            "many",
            json!([one("a", "a"), one("b", "b"), one("c", "c")]),
            "the 2 that this worker allows (BOT_INPUTS_MAX)",
        ),
        ("leaves", json!([one("a", "../a")]), "inputs[0].path"),
    ];
    let count = cases.len();
    for (name, inputs, reason) in cases {
        let message = reader(&scene, name, inputs, &[]).await;
        let result = scene.run(&message).await;
        let data = result.expect("rejected");
        assert!(data["message"].as_str().unwrap().contains(reason), "{name}: {data:#}");
    }
    // Each is kept as a dead letter, and none is tried again.
    assert_eq!(scene.dead_letters(count).await.len(), count);
    // Exactly at the caps.
    let message = reader(
        &scene,
        "full",
        json!([one(&full, "x"), one(&put(&scene, "none", "").await, "y")]),
        &["y"],
    )
    .await;
    scene.run(&message).await.expect("succeeded");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_sweep_and_a_container_that_waited_have_inputs_too() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&crate::warm::of_each("1")).await;
    let key = put(&scene, "prices.csv", "1,2,3").await;
    let inputs = json!([{"key": key, "path": "data/prices.csv"}]);
    crate::warm::waiting(&scene, &worker, 2).await;
    let message = reader(&scene, "warm", inputs.clone(), &["data/prices.csv"]).await;
    let waiting = scene.waiting().await;
    let result = scene.run(&message).await;
    assert_eq!(result.expect("succeeded")["result"]["data/prices.csv"], "1,2,3");
    let container = result.data()["container_id"].as_str().unwrap().to_owned();
    assert!(waiting.contains(&container), "it ran cold");

    let source = "\
PRICES = open('data/prices.csv').read().split(',')
def main(id, config):
    return {'price': PRICES[config['n']], 'again': open('data/prices.csv').read()}
";
    let mut message = scene.job("sweep", &PYTHON_BACKTEST, source).await;
    message["inputs"] = inputs;
    message["sweep"] = json!({"grid": {"n": [0, 1, 2]}, "best": {"by": "/price", "goal": "max"}});
    let result = scene.run(&message).await;
    let best = &result.expect("succeeded")["sweep"]["best"];
    let rows = best.as_array().unwrap().len();
    assert_eq!((rows, &best[0]["result"]["again"]), (3, &json!("1,2,3")), "{best:#}");
    scene.finish([worker]).await;
}
