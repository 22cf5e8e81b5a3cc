//! Messages and archives that cannot be followed: each is told, kept, and leaves nothing behind.

use lapin::BasicProperties;
use longshore::job::refusal_id;
use longshore::storage::Bucket;
use serde_json::{Value, json};

use longshore_testing::archive::{zip_of, zip_with_link};
use longshore_testing::events::Seen;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;

const SCRIPT: (&str, &str) = ("backtest.py", "def main(id, config):\n    print('it ran')\n");

fn properties(message_id: &str) -> BasicProperties {
    BasicProperties::default().with_message_id(message_id.into())
}

/// The one result that came of the message with this id.
async fn rejection(scene: &Scene, message_id: &str, body: &[u8]) -> Seen {
    let what = format!("rejection of {message_id}");
    let event_id = refusal_id(Some(message_id), body);
    scene.events.wait_for(&what, |seen| seen.is_result() && seen.id() == event_id).await
}

/// Each of these messages gives one result that says what is wrong and where, and one dead letter
/// with the same reason and the body untouched.
#[tokio::test]
async fn a_message_that_is_no_start_message_is_rejected_with_its_fault_named() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let good = PYTHON_BACKTEST.message(&scene.id("good"), "code.zip");
    let with = |field: &str, value: Value| {
        let mut message = good.clone();
        message[field] = value;
        message.to_string().into_bytes()
    };
    let without = |field: &str| {
        let mut message = good.clone();
        message.as_object_mut().unwrap().remove(field);
        message.to_string().into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", b"".to_vec(), &["$", "is empty"]),
        ("torn", b"{\"id\": \"x\", ".to_vec(), &["$", "not valid JSON"]),
        ("binary", vec![0xff, 0xfd, 0x00], &["$", "binary data"]),
        ("array", b"[\"x\"]".to_vec(), &["$", "not an object"]),
        ("unknown-field", with("colour", json!("red")), &["is not a field of", "colour"]),
        ("wrong-type", with("is_long_running", json!("yes")), &["is_long_running"]),
        ("missing-field", without("runtime"), &["is missing", "runtime"]),
        ("bad-id", with("id", json!("a b")), &["id", "not an id"]),
        ("runtime", with("runtime", json!("perl5")), &["runtime", "perl5"]),
        ("entrypoint", with("entrypoint", json!("scan")), &["entrypoint", "scan"]),
        ("config", with("config", json!([1])), &["config"]),
        ("no-file", with("entrypoint_files", json!({"bot": "m.py"})), &["entrypoint_files"]),
        ("escaping-file", with("entrypoint_files", json!({"backtest": "../x.py"})), &["../x.py"]),
        ("empty-key", with("file_path", json!("")), &["file_path"]),
        ("timeout", with("timeout_seconds", json!(0)), &["timeout_seconds"]),
        ("memory", with("limits", json!({"memory_mb": 1_000_000})), &["limits.memory_mb"]),
        ("env", with("env", json!({"ID": "other"})), &["env.ID"]),
        ("bad-hash", with("code_sha256", json!("abc")), &["code_sha256"]),
    ];
    for (name, body, _) in &cases {
        scene.publish("start.terminating", body, properties(name)).await;
    }
    for (name, body, parts) in &cases {
        let result = rejection(&scene, name, body).await;
        let data = result.expect("rejected");
        result.expect_message(parts);
        assert_eq!((&data["status"], &data["attempt"]), (&json!("error"), &json!(0)), "{name}");
        assert_eq!(data.get("container_id"), None, "{name}");
        let has_id =
            serde_json::from_slice::<Value>(body).is_ok_and(|body| body["id"] == good["id"]);
        assert_eq!(result.subject().is_some(), has_id, "{name}: {:#}", result.event);
    }
    for letter in scene.dead_letters(cases.len()).await {
        let name = letter.message_id.as_deref().unwrap();
        let (_, body, parts) = cases.iter().find(|case| case.0 == name).unwrap();
        assert!(letter.body == *body, "{name}: the body was touched");
        assert!(parts.iter().all(|part| letter.reason.contains(part)), "{name}: {letter:?}");
        assert_eq!(letter.queue, format!("{}.start.terminating", scene.namespace));
    }
    assert_eq!(scene.events.all_results().len(), cases.len());
    scene.finish([worker]).await;
}

/// What is wrong is found only when the code is fetched: the run is rejected, at once and for good.
#[tokio::test]
async fn code_that_cannot_be_used_is_rejected_with_its_fault_named() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let elsewhere = scene.folder().join("elsewhere");
    let absolute = elsewhere.to_str().unwrap();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("no-zip", b"this is no zip".to_vec(), &["zip"]),
        ("empty-object", Vec::new(), &["zip"]),
        ("no-script", zip_of(&[("main.py", SCRIPT.1)]), &["backtest.py", "main.py"]),
        ("script-is-folder", zip_of(&[("backtest.py/x", "")]), &["backtest.py"]),
        ("traversal", zip_of(&[SCRIPT, ("../../elsewhere", "x")]), &["../../elsewhere"]),
        ("absolute", zip_of(&[SCRIPT, (absolute, "x")]), &["elsewhere"]),
        ("symlink", zip_with_link(SCRIPT, "link", "/etc/passwd"), &["link"]),
        ("into-ours", zip_of(&[SCRIPT, (".longshore/launch.py", "x")]), &[".longshore"]),
    ];
    for (name, zip, _) in &cases {
        let key = scene.put_zip(name, zip.clone()).await;
        let message = PYTHON_BACKTEST.message(&scene.id(name), &key);
        scene.start_with(&message, properties(name)).await;
    }
    let missing = PYTHON_BACKTEST.message(&scene.id("missing"), "no/such/object.zip");
    scene.start_with(&missing, properties("missing")).await;
    let key = scene.put_code("hash", &[SCRIPT]).await;
    let mut changed = PYTHON_BACKTEST.message(&scene.id("hash"), &key);
    changed["code_sha256"] = json!("0".repeat(64));
    scene.start_with(&changed, properties("hash")).await;

    let mut expected: Vec<(&str, &[&str])> = cases.iter().map(|case| (case.0, case.2)).collect();
    expected.push(("missing", &["no/such/object.zip"]));
    expected.push(("hash", &["SHA-256"]));
    for (name, parts) in &expected {
        let result = scene.events.result_of(&scene.id(name)).await;
        let data = result.expect("rejected");
        result.expect_message(parts);
        assert_eq!(data.get("container_id"), None, "{name}");
        let states = scene.events.states_of(&scene.id(name));
        assert_eq!(states, ["accepted", "preparing", "finished"], "{name}");
    }
    for letter in scene.dead_letters(expected.len()).await {
        let name = letter.message_id.as_deref().unwrap();
        let (_, parts) = expected.iter().find(|case| case.0 == name).unwrap();
        assert!(parts.iter().all(|part| letter.reason.contains(part)), "{name}: {letter:?}");
    }
    assert!(!elsewhere.exists(), "an archive wrote outside its directory");
    scene.finish([worker]).await;
}

/// compat.md 4: an id was pasted into a path, which was then deleted.
#[tokio::test]
async fn compat_4_an_id_that_tries_a_trick_is_rejected_and_touches_nothing() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let canary = scene.folder().join("canary");
    std::fs::create_dir(&canary).unwrap();
    std::fs::write(canary.join("alive"), "yes").unwrap();
    let pwned = scene.folder().join("pwned");
    let touch = format!("touch {}", pwned.display());
    let long = "x".repeat(129);
    let tricks = [
        "../canary",
        "../../canary",
        "..",
        ".",
        "",
        "/",
        "a/b",
        "-rf",
        "a\nb",
        "a\0b",
        "ä",
        &format!("$({touch})"),
        &format!("`{touch}`"),
        &format!("x'; {touch}; '"),
        &format!("x\"; {touch} #"),
        &long,
    ];
    let key = scene.put_code("trick", &[SCRIPT]).await;
    for (number, trick) in tricks.iter().enumerate() {
        let message = PYTHON_BACKTEST.message(trick, &key);
        scene.start_with(&message, properties(&format!("start-{number}"))).await;
        let body = json!({ "id": trick }).to_string();
        scene.publish("stop", body.as_bytes(), properties(&format!("stop-{number}"))).await;
    }
    for (number, trick) in tricks.iter().enumerate() {
        let body = PYTHON_BACKTEST.message(trick, &key).to_string();
        let result = rejection(&scene, &format!("start-{number}"), body.as_bytes()).await;
        result.expect("rejected");
        result.expect_message(&["id", "is not an id"]);
        assert_eq!(result.subject(), None);
    }
    let letters = scene.dead_letters(2 * tricks.len()).await;
    assert!(letters.iter().all(|letter| letter.reason.contains("is not an id")), "{letters:#?}");
    assert_eq!(std::fs::read_to_string(canary.join("alive")).unwrap(), "yes");
    assert!(!pwned.exists(), "an id was run by a shell");
    assert_eq!(scene.directories(), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(scene.objects(Bucket::Results, "..").await, [""; 0]);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_stop_that_cannot_be_read_stops_nothing_and_is_kept() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let bodies: [&[u8]; 4] = [
        b"stop",
        b"{}",
        b"{\"id\": \"x\", \"now\": true}",
        b"{\"id\": \"x\", \"timeout_seconds\": -1}",
    ];
    for (number, body) in bodies.iter().enumerate() {
        scene.publish("stop", body, properties(&format!("{number}"))).await;
    }
    let reasons = ["is not JSON: a stop message is", "id: is missing", "now", "timeout_seconds"];
    for letter in scene.dead_letters(bodies.len()).await {
        let number: usize = letter.message_id.as_deref().unwrap().parse().unwrap();
        assert_eq!(letter.body, bodies[number]);
        assert!(letter.reason.contains(reasons[number]), "{letter:?}");
        assert_eq!(letter.queue, format!("{}.stop", scene.namespace));
    }
    scene.finish([worker]).await;
}
