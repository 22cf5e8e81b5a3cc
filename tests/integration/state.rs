//! The state of a bot: it goes on where it was, whoever runs it next.

mod bounds;
mod changed;
mod handed_on;
mod killed;

use longshore::storage::Bucket;
use serde_json::{Value, json};

use crate::robustness::until;
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::scene::Scene;

/// A bot that counts, and says each number once it is kept.
const COUNTER: &str = r#"
import longshore, time
def main(id, config):
    state = longshore.state
    while True:
        state["n"] = state.get("n", 0) + 1
        state.save()
        print("count", state["n"], flush=True)
        time.sleep(0.1)
"#;

/// The same without the module: it writes a plain file, in place.
const PLAIN_COUNTER: &str = r#"
import json, os, time
def main(id, config):
    with open(os.environ["STATE_FILE"], "r+") as file:
        text = file.read()
        n = json.loads(text)["n"] if text else 0
        while True:
            n += 1
            file.seek(0)
            file.write(json.dumps({"n": n}) + "\n")
            file.truncate()
            file.flush()
            print("count", n, flush=True)
            time.sleep(config.get("pause", 2.5))
"#;

/// The same for Node.js.
const NODE_COUNTER: &str = r"
const { state, stopping } = require('longshore');
exports.main = async () => {
  do {
    state.n = (state.n ?? 0) + 1;
    state.save();
    console.log('count', state.n);
  } while (!(await stopping.wait(100)));
};
";

/// A start message of a bot with a state.
async fn bot(scene: &Scene, name: &str, source: &str) -> Value {
    let mut message = scene.job(name, &PYTHON_BOT, source).await;
    message["state"] = json!({});
    message
}

/// The numbers that a job has said, in order.
async fn counts(scene: &Scene, id: &str) -> Vec<u64> {
    numbers(&scene.logs_of(id).await)
}

fn numbers(output: &str) -> Vec<u64> {
    let said = output.lines().filter_map(|line| line.split_once("count "));
    said.filter_map(|(_, number)| number.trim().parse().ok()).collect()
}

/// Waits until the store has a number of at least `least`.
async fn kept_at_least(scene: &Scene, id: &str, least: u64) -> Value {
    let mut found = Value::Null;
    until(&format!("{id} has kept {least}"), async || {
        found = kept(scene, id).await.unwrap_or_default();
        found["value"]["n"].as_u64().is_some_and(|n| n >= least)
    })
    .await;
    found
}

/// What the store has of a job's state.
async fn kept(scene: &Scene, id: &str) -> Option<Value> {
    let key = format!("{}/state/{id}.json", scene.namespace);
    if scene.objects(Bucket::State, &key).await.is_empty() {
        return None;
    }
    Some(serde_json::from_str(&scene.read_object(Bucket::State, &key).await).unwrap())
}

/// Stops a bot, which must end as `stopped`; gives its result.
async fn stopped(scene: &Scene, id: &str) -> Value {
    let before = scene.events.results_of(id).len();
    scene.stop(&json!({ "id": id })).await;
    until("it has ended", async || scene.events.results_of(id).len() > before).await;
    scene.events.results_of(id)[before].expect("stopped").clone()
}
