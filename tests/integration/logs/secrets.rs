//! Secrets of a start message, and the worker's own, in everything that is told of a run.

use longshore::storage::Bucket;
use serde_json::json;

use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// Tells its secrets in all the ways in which that happens.
const TELLS: &str = r#"
import json, os, sys, time
def main(id, config):
    key, password = os.environ["API_KEY"], config["exchange"]["password"]
    print("plain", key, password, flush=True)
    print(json.dumps({"password": password}), flush=True)
    print(json.dumps({"password": password}, ensure_ascii=False), file=sys.stderr, flush=True)
    for piece in ("in pieces ", key[:5], key[5:], "\n"):
        sys.stdout.write(piece)
        sys.stdout.flush()
        time.sleep(2.5)
    print("of the worker", config["of_the_worker"], flush=True)
    print("done", config["exchange"]["name"], flush=True)
"#;

#[tokio::test]
async fn secrets_are_masked_in_logs_outputs_and_results() {
    let scene = Scene::new().await;
    // Ticks come between the pieces of a line.
    let worker = scene.worker_with(&[("LOG_INTERVAL_SECONDS", "1")]).await;
    let id = scene.id("tells");
    let password = "p\u{e4}ss\"w\\rd \u{1f511}";
    let mut message = scene.job("tells", &PYTHON_BACKTEST, TELLS).await;
    message["env"] = json!({ "API_KEY": "key-0123456789" });
    message["config"] = json!({
        "exchange": { "name": "kraken", "password": password },
        "of_the_worker": s3::settings().secret_key,
    });
    message["secrets"] = json!(["API_KEY", "/exchange/password"]);
    let result = scene.run(&message).await;
    result.expect("succeeded");

    let whole = scene.read_object(Bucket::Results, &format!("{id}/logs.txt")).await;
    let log = scene.logs_of(&id).await;
    let told = [whole.as_str(), &log, result.output()];
    for (place, text) in ["whole output", "log", "tail"].iter().zip(told) {
        for secret in ["key-0", "0123456789", password, "\\ud83d", "rd \u{1f511}"] {
            assert!(!text.contains(secret), "{secret} in the {place}: {text}");
        }
        assert!(!text.contains(&s3::settings().secret_key), "the worker's in the {place}: {text}");
        assert!(text.contains("done kraken"), "{place}: {text}");
        assert!(text.contains("plain [masked] [masked]"), "{place}: {text}");
        assert!(text.contains("{\"password\": \"[masked]\"}"), "{place}: {text}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_missing_secret_makes_a_message_a_dead_letter() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = scene.job("refused", &PYTHON_BACKTEST, TELLS).await;
    message["secrets"] = json!(["/exchange/password"]);
    let result = scene.run(&message).await;
    result.expect("rejected");
    result.expect_message(&["secrets[0]", "is not in config"]);
    assert_eq!(scene.dead_letters(1).await.len(), 1);
    scene.finish([worker]).await;
}

/// Gives its secrets back in escapes, within JSON, as a number and beside much else.
const RETURNS: &str = r#"
import json, os
def main(id, config):
    key = config["exchange"]["password"]
    pin = config["pin"]
    large = "x" * config["size"]
    escaped = "".join("\\u%04x" % ord(c) for c in key)
    text = '{"zeta": "%s", "%s": 1, "log": %s, "pin": %s, "wei": 123456789012345678901, "large": "%s"}' % (
        escaped, escaped, json.dumps(json.dumps({"key": key})), float(pin), large)
    with open("/backtest/result.json", "w") as file:
        file.write(text)
    os._exit(0)
"#;

#[tokio::test]
async fn a_large_result_is_masked_as_a_small_one_is_and_keeps_all_else() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let expected = concat!(
        r#"{"zeta":"[masked]","[masked]":1,"log":"{\"key\": \"[masked]\"}","pin":"[masked]","#,
        r#""wei":123456789012345678901,"large":"x"#,
    );
    for (name, size) in [("small", 10), ("large", 600_000)] {
        let mut message = scene.job(name, &PYTHON_BACKTEST, RETURNS).await;
        let id = message["id"].as_str().unwrap().to_owned();
        let exchange = json!({"password": "hunter22/\u{e4}"});
        message["config"] = json!({"exchange": exchange, "pin": "987654321098765", "size": size});
        message["secrets"] = json!(["/exchange/password", "/pin"]);
        let result = scene.run(&message).await;
        result.expect("succeeded");
        let stored = scene.read_object(Bucket::Results, &format!("{id}/analysis.json")).await;
        assert!(stored.starts_with(expected), "{name}: {}", &stored[..stored.len().min(300)]);
        assert!(stored.len() > size && stored.ends_with("x\"}"), "{name}: {} bytes", stored.len());
        assert_eq!(result.text.contains(expected), size < 1000, "{name}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_result_that_is_nested_without_end_fails_with_its_reason() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "import os\ndef main(id, config):\n    with open('/backtest/result.json', 'w') as file:\n        \
                  file.write('[' * 5000000 + ']' * 5000000)\n    os._exit(0)";
    let result = scene.run(&scene.job("deep", &PYTHON_BACKTEST, source).await).await;
    result.expect("failed");
    result.expect_message(&["result.json is nested more than 127 levels deep"]);
    scene.finish([worker]).await;
}
