//! A container engine that is not away but slow.

use std::time::Duration;

use longshore_testing::http_proxy::{Deed, HttpProxy};
use longshore_testing::program::{PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::scene::Scene;
use serde_json::json;

/// Bots that wait for the engine, one after the other.
const BOTS: usize = 5;

/// How long each start takes. All of them together take longer than a lease.
const START: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_bot_that_waits_for_a_slow_engine_is_late_and_never_restarted() {
    let scene = Scene::new().await;
    let engine = HttpProxy::start_for_engine().await;
    engine.rule(|asked| {
        let is_start = asked.method == "POST" && asked.target.ends_with("/start");
        if is_start { Deed::Slow(START) } else { Deed::Pass }
    });
    let host = format!("tcp://{}", engine.endpoint());
    let settings = [
        ("DOCKER_HOST", host.as_str()),
        ("MAX_CONCURRENT_STARTS", "1"),
        ("SEGMENT_GRACE_SECONDS", "10"),
    ];
    let worker = scene.worker_with(&settings).await;
    for bot in 0..BOTS {
        scene.start(&scene.job(&format!("bot-{bot}"), &PYTHON_BOT, PYTHON_TICKER).await).await;
    }
    for bot in 0..BOTS {
        scene.events.wait_state(&scene.id(&format!("bot-{bot}")), "running").await;
    }
    // Each runs beyond what was left of its first lease.
    tokio::time::sleep(Duration::from_secs(4)).await;
    for bot in 0..BOTS {
        let id = scene.id(&format!("bot-{bot}"));
        assert_eq!(scene.events.states_of(&id), ["accepted", "preparing", "running"], "{id}");
    }
    engine.restore();
    for bot in 0..BOTS {
        let id = scene.id(&format!("bot-{bot}"));
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(&id).await.expect("stopped");
    }
    scene.finish([worker]).await;
}
