//! What a person does with a state, and the states of local runs.

use serde_json::{Value, json};

use super::{COUNTER, bot, counts, kept, kept_at_least, stopped};
use crate::authors::{ends_with, longshore, write};
use longshore_testing::scene::Scene;

#[tokio::test]
async fn a_state_can_be_read_at_any_time_and_changed_while_the_bot_rests() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let (message, id) = (bot(&scene, "bot", COUNTER).await, scene.id("bot"));
    let (_, told) = ends_with(1, longshore(&scene, &["state", &id])).await;
    assert!(told.contains(&format!("{id} has no state")), "{told}");
    scene.start(&message).await;
    kept_at_least(&scene, &id, 2).await;
    let (printed, _) = ends_with(0, longshore(&scene, &["state", &id, "--get"])).await;
    assert!(serde_json::from_str::<Value>(&printed).unwrap()["n"].as_u64() >= Some(2));
    std::fs::write(scene.folder().join("state.json"), r#"{"n": 100, "big": 12345678901234567890}"#)
        .unwrap();
    let set = ["state", &id, "--set", "state.json"];
    for arguments in [&set[..], &["state", &id, "--clear"]] {
        let (_, told) = ends_with(1, longshore(&scene, arguments)).await;
        assert!(
            told.contains("has not ended: its state can be changed once it is stopped"),
            "{told}"
        );
    }
    let run = stopped(&scene, &id).await["run_id"].clone();
    let (shown, _) = ends_with(0, longshore(&scene, &["state", &id])).await;
    assert!(shown.contains(&format!("by run     {}", run.as_str().unwrap())), "{shown}");

    ends_with(0, longshore(&scene, &set)).await;
    let (printed, _) = ends_with(0, longshore(&scene, &["state", &id, "--get"])).await;
    assert_eq!(printed, "{\"n\":100,\"big\":12345678901234567890}\n");
    let before = counts(&scene, &id).await.len();
    scene.start(&message).await;
    kept_at_least(&scene, &id, 103).await;
    stopped(&scene, &id).await;
    assert_eq!(counts(&scene, &id).await[before], 101);
    // What the program does not know stays as it is.
    assert_eq!(
        kept(&scene, &id).await.unwrap()["value"]["big"],
        json!(12_345_678_901_234_567_890_u64)
    );

    ends_with(0, longshore(&scene, &["state", &id, "--clear"])).await;
    let (_, told) = ends_with(1, longshore(&scene, &["state", &id, "--clear"])).await;
    assert!(told.contains("has no state"), "{told}");
    let before = counts(&scene, &id).await.len();
    scene.start(&message).await;
    kept_at_least(&scene, &id, 2).await;
    stopped(&scene, &id).await;
    assert_eq!(counts(&scene, &id).await[before], 1);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_local_run_goes_on_where_the_last_one_ended() {
    let scene = Scene::new().await;
    let source = r#"
import longshore
def main(id, config):
    longshore.state["n"] = longshore.state.get("n", 0) + 1
    longshore.state.save()
    print("count", longshore.state["n"])
"#;
    write(&scene.folder().join("code"), &[("main.py", source)]);
    let with_states = |arguments: &[&str]| {
        let mut command = longshore(&scene, arguments);
        command.env("RUN_STATE_DIR", scene.folder().join("states"));
        command
    };
    for count in ["count 1", "count 2", "count 3"] {
        let (printed, told) = ends_with(0, with_states(&["run", "code", "--state"])).await;
        assert!(printed.contains(count), "{printed}{told}");
    }
    let shown = ends_with(0, with_states(&["state", "code", "--get", "--local"])).await.0;
    assert_eq!(shown, "{\"n\":3}\n");
    ends_with(0, with_states(&["state", "code", "--clear", "--local"])).await;
    let (printed, _) = ends_with(0, with_states(&["run", "code", "--state"])).await;
    assert!(printed.contains("count 1"), "{printed}");
    scene.finish([]).await;
}
