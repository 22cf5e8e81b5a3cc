//! Bots that must go on, from the command line; and why one did not.

use serde_json::Value;

use super::{ends_with, longshore, write};
use longshore_testing::scene::Scene;

#[tokio::test]
async fn the_exception_that_ended_a_bot_is_in_the_message_of_its_result() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "def main(id, config):\n    raise ValueError('no prices for BTC')\n";
    let node = "export async function main() { throw new RangeError('no prices for BTC'); }\n";
    let cases = [
        ("py", "main.py", python, "failed with exit code 1: ValueError: no prices for BTC"),
        ("js", "main.mjs", node, "failed with exit code 1: RangeError: no prices for BTC"),
        (
            "exit",
            "main.py",
            "import sys\ndef main(id, config): sys.exit('no key')\n",
            "failed with exit code 1: no key",
        ),
        (
            "code",
            "main.py",
            "import sys\ndef main(id, config): sys.exit(3)\n",
            "failed with exit code 3",
        ),
    ];
    for (name, script, source, expected) in cases {
        let id = scene.id(name);
        write(&scene.folder().join(&id), &[(script, source)]);
        ends_with(0, longshore(&scene, &["start", &id, "--long-running"])).await;
        let result = scene.events.result_of(&id).await;
        result.expect("failed");
        assert_eq!(result.event["data"]["message"], expected);
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn restarts_health_checks_and_secrets_are_asked_for_by_flags() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("bot");
    let source = "import os, time\n\
                  def main(id, config):\n    \
                      print('key', os.environ['KEY'])\n    \
                      if not os.path.exists('/tmp/never'): raise ValueError('again')\n";
    write(&scene.folder().join(&id), &[("main.py", source)]);
    let start = longshore(
        &scene,
        &[
            "start",
            &id,
            "--restart",
            "on-failure",
            "--max-restarts",
            "1",
            "--health-check",
            "test -e /tmp",
            "--env",
            "KEY=hush-hush",
            "--secret",
            "KEY",
        ],
    );
    let (_, told) = ends_with(0, start).await;
    assert!(told.contains("main.py as a bot on python3.11, until it is stopped"), "{told}");
    let result = scene.events.result_of(&id).await;
    result.expect("failed");
    let data: &Value = &result.event["data"];
    assert!(!data["output"].as_str().unwrap().contains("hush-hush"), "{data:#}");
    let states = scene.events.states_of(&id);
    assert!(states.contains(&"restarting".to_owned()), "{states:?}");
    scene.finish([worker]).await;
}
