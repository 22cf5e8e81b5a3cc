//! What a state may be, and what it costs.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{PLAIN_COUNTER, bot, kept, kept_at_least, stopped};
use crate::robustness::until;
use longshore_testing::http_proxy::HttpProxy;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// Some turns of the log's interval, which is 1 s in tests.
const TURNS: Duration = Duration::from_secs(6);

/// Keeps a good state, then ones of the sizes in its config, and says how each went.
const SIZES: &str = r#"
import longshore, time
def main(id, config):
    state = longshore.state
    state["n"] = 1
    state.save()
    for size in config["sizes"]:
        state["text"] = ""
        text = size - len('{"n":1,"text":""}')
        state["text"] = "x" * text
        try:
            state.save()
            print("kept", size, flush=True)
        except ValueError as error:
            print("refused", error, flush=True)
    time.sleep(600)
"#;

/// The same with a plain file.
const PLAIN_SIZES: &str = r#"
import json, os, time
def main(id, config):
    for size in config["sizes"]:
        state = json.dumps({"n": 1, "text": "x" * (size - len('{"n": 1, "text": ""}'))})
        assert len(state) == size
        with open(os.environ["STATE_FILE"], "w") as file:
            file.write(state)
        print("written", size, flush=True)
        time.sleep(config["pause"])
    time.sleep(600)
"#;

#[tokio::test]
async fn at_the_bound_a_state_is_kept_and_beyond_it_the_last_good_one_stays() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("STATE_MAX_KB", "2")]).await;
    let told =
        "the state has 1025 bytes, more than the 1024 of state.max_kb=1; the last good one is kept";
    for (name, source) in [("module", SIZES), ("plain", PLAIN_SIZES)] {
        let mut message = bot(&scene, name, source).await;
        message["state"] = json!({"max_kb": 1});
        message["config"] = json!({"sizes": [1024, 1025], "pause": 4});
        scene.start(&message).await;
        let id = scene.id(name);
        let is_meant = |seen: &longshore_testing::events::Seen| {
            seen.subject() == Some(&id) && seen.data()["message"] == told
        };
        let seen = scene.events.wait_for("a word about the state", is_meant).await;
        assert_eq!(seen.state(), Some("running"));
        sleep(TURNS).await;
        let result = stopped(&scene, &id).await;
        assert_eq!(result["metadata"]["state"], told);
        let all = scene.events.all();
        assert_eq!(all.iter().filter(|seen| is_meant(seen)).count(), 1, "told more than once");
        let value = kept(&scene, &id).await.unwrap()["value"].clone();
        let texts = (value["n"].as_u64(), value["text"].as_str().map(str::len));
        let spaces = usize::from(name == "plain") * 3;
        assert_eq!(texts, (Some(1), Some(1024 - 17 - spaces)), "{name}");
    }
    // It does not begin with less than it had.
    let mut message = bot(&scene, "module", SIZES).await;
    message["state"] = json!({"max_kb": 2});
    message["config"] = json!({"sizes": [2048]});
    scene.start(&message).await;
    let id = scene.id("module");
    until("it has kept more", async || {
        kept(&scene, &id).await.unwrap()["value"]["text"].as_str().is_some_and(|x| x.len() > 2000)
    })
    .await;
    stopped(&scene, &id).await;
    message["state"] = json!({"max_kb": 1});
    scene.start(&message).await;
    until("it has ended", async || scene.events.results_of(&id).len() == 3).await;
    let results = scene.events.results_of(&id);
    results[2].expect("rejected");
    results[2].expect_message(&["state.max_kb: is 1, but the job's state has 2048 bytes"]);
    scene.dead_letters(1).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn what_a_message_may_not_ask_for_is_refused_with_a_sentence() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("STATE_MAX_KB", "64")]).await;
    let mut large = bot(&scene, "large", "def main(id, config): pass").await;
    large["state"] = json!({"max_kb": 65});
    scene.start(&large).await;
    let result = scene.events.result_of(&scene.id("large")).await;
    result.expect("rejected");
    result.expect_message(&["state.max_kb: is 65, not between 1 and 64 (STATE_MAX_KB"]);
    let mut backtest = scene.job("backtest", &PYTHON_BACKTEST, "def main(id, config): pass").await;
    backtest["state"] = json!({});
    let result = scene.run(&backtest).await;
    result.expect("rejected");
    result.expect_message(&["state: is for long-running jobs only"]);
    scene.dead_letters(2).await;
    scene.finish([worker]).await;
}

/// It cannot be known whether a text is complete while it changes again and again.
#[tokio::test]
async fn a_plain_file_counts_once_it_rests() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = bot(&scene, "restless", PLAIN_COUNTER).await;
    message["config"] = json!({"pause": 0.1});
    scene.start(&message).await;
    let id = scene.id("restless");
    scene.logged(&id, "count 50").await;
    assert!(kept(&scene, &id).await.unwrap()["value"].is_null());
    stopped(&scene, &id).await;
    assert!(kept(&scene, &id).await.unwrap()["value"]["n"].as_u64() >= Some(50));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_state_that_does_not_change_costs_no_request() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let worker = scene.worker_with(&[("MINIO_ENDPOINT", &store.endpoint())]).await;
    let source = r#"
import longshore, time
def main(id, config):
    longshore.state["n"] = 7
    while True:
        longshore.state.save()
        time.sleep(0.2)
"#;
    scene.start(&bot(&scene, "still", source).await).await;
    let id = scene.id("still");
    kept_at_least(&scene, &id, 7).await;
    let asked = || store.asked().iter().filter(|one| one.target.contains("/state/")).count();
    let before = asked();
    sleep(TURNS).await;
    stopped(&scene, &id).await;
    // One to find none, one to make it ours, one to store it.
    assert_eq!((before, asked()), (3, 3), "{:#?}", store.asked());
    scene.finish([worker]).await;
}
