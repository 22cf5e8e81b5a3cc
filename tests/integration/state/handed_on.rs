//! From run to run, from attempt to attempt, from worker to worker.

use std::time::Duration;

use serde_json::json;

use super::{
    COUNTER, NODE_COUNTER, PLAIN_COUNTER, bot, counts, kept, kept_at_least, numbers, stopped,
};
use crate::failover::{GRACE, OtherHost, output_of, runs_under};
use crate::robustness::{identity, nothing_is_left, through_proxy, until};
use longshore_testing::http_proxy::{Asked, Deed, HttpProxy};
use longshore_testing::program::{NODE_BOT, PYTHON_BOT};
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// How long a write of a worker that is cut off is on its way: until after its bot runs elsewhere.
const LATE: Duration = Duration::from_secs(35);

pub(super) fn writes_state(asked: &Asked) -> bool {
    asked.is("PUT", "/state/")
}

#[tokio::test]
async fn a_bot_that_is_stopped_and_started_again_goes_on_counting() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, program, source) in [
        ("python", &PYTHON_BOT, COUNTER),
        ("plain", &PYTHON_BOT, PLAIN_COUNTER),
        ("node", &NODE_BOT, NODE_COUNTER),
    ] {
        let mut message = scene.job(name, program, source).await;
        message["state"] = json!({});
        let id = scene.id(name);
        let mut last = 0;
        for run in 1..=3 {
            scene.start(&message).await;
            kept_at_least(&scene, &id, last + 2).await;
            let result = stopped(&scene, &id).await;
            assert!(result["metadata"]["state"].is_null(), "{result:#}");
            // What the program wrote last is there when the result is.
            let record = kept(&scene, &id).await.unwrap();
            last = record["value"]["n"].as_u64().unwrap();
            let said = counts(&scene, &id).await;
            assert!(last >= *said.last().unwrap(), "{name} {run}: {record} after {said:?}");
            assert_eq!(record["run"], result["run_id"]);
        }
        // No number is missing, and none is there twice: each run began where the last one ended.
        let said = counts(&scene, &id).await;
        let numbers: Vec<_> = (1..=said.len() as u64).collect();
        let jumps = said.iter().zip(&numbers).filter(|(said, number)| *said - *number > 3).count();
        assert!(said.is_sorted_by(|one, next| one < next) && jumps == 0, "{name}: {said:?}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_bot_that_fails_goes_on_counting_in_its_next_attempt() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = r#"
import longshore
def main(id, config):
    state = longshore.state
    state["n"] = state.get("n", 0) + 1
    state.save()
    print("count", state["n"], flush=True)
    raise RuntimeError("again")
"#;
    let mut message = bot(&scene, "fails", source).await;
    message["restart"] = json!({"when": "on_failure", "max_restarts": 2});
    // Only the first attempt begins without what another run kept.
    message["state"] = json!({"reset": true});
    scene.start(&message).await;
    let id = scene.id("fails");
    scene.events.result_of(&id).await.expect("failed");
    assert_eq!(counts(&scene, &id).await, [1, 2, 3]);
    scene.start(&message).await;
    until("it has ended", async || scene.events.results_of(&id).len() == 2).await;
    assert_eq!(counts(&scene, &id).await, [1, 2, 3, 1, 2, 3]);
    message["state"] = json!({});
    scene.start(&message).await;
    until("it has ended", async || scene.events.results_of(&id).len() == 3).await;
    assert_eq!(counts(&scene, &id).await[6..], [4, 5, 6]);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_worker_that_adopts_a_bot_keeps_its_state_under_its_own_epoch() {
    let scene = Scene::new().await;
    let mut a = scene.worker_with(&[("WORKER_NAME", "a")]).await;
    let id = scene.id("bot");
    scene.start(&bot(&scene, "bot", COUNTER).await).await;
    let before = kept_at_least(&scene, &id, 3).await;
    let container = identity(&scene, &id).await;
    a.kill();
    a.wait().await;
    let dead = kept(&scene, &id).await.unwrap();
    let b = scene.worker_with(&[("WORKER_NAME", "b")]).await;
    let last = dead["value"]["n"].as_u64().unwrap();
    let after = kept_at_least(&scene, &id, last + 20).await;
    assert_eq!(identity(&scene, &id).await, container);
    assert_eq!(after["segment"], before["segment"]);
    assert!(after["epoch"].as_u64() > before["epoch"].as_u64(), "{before} {after}");
    let result = stopped(&scene, &id).await;
    assert_eq!((&result["worker"], &result["attempt"]), (&json!("b"), &json!(1)));
    let said = counts(&scene, &id).await;
    assert!(said.is_sorted_by(|one, next| one + 1 == *next), "{said:?}");
    nothing_is_left(scene, [b]).await;
}

#[tokio::test]
async fn a_bot_that_is_killed_with_its_worker_goes_on_elsewhere_with_what_was_kept() {
    let scene = Scene::new().await;
    let there = OtherHost::of(&scene).await;
    let mut a = scene.worker_with(&there.settings()).await;
    let id = scene.id("bot");
    scene.start(&bot(&scene, "bot", COUNTER).await).await;
    let before = kept_at_least(&scene, &id, 10).await;
    a.kill();
    a.wait().await;
    // Nobody writes it until the bot runs elsewhere.
    let dead = kept(&scene, &id).await.unwrap();
    let last = dead["value"]["n"].as_u64().unwrap();
    assert!(last >= before["value"]["n"].as_u64().unwrap());
    let b = scene.worker_with(&[GRACE, ("WORKER_NAME", "here")]).await;
    let container = runs_under(&scene, &id, "here").await;
    kept_at_least(&scene, &id, last + 5).await;
    let output = output_of(&scene.docker, &container).await;
    assert_eq!(numbers(&output).first(), Some(&(last + 1)), "{output}");
    let result = stopped(&scene, &id).await;
    assert_eq!((&result["worker"], &result["attempt"]), (&json!("here"), &json!(2)));
    // The worker that comes back there removes what is left.
    let again = scene.worker_with(&there.settings()).await;
    there.is_swept(&scene).await;
    nothing_is_left(scene, [b, again]).await;
}

/// The worker's bot has ended itself, and its worker does not know yet that it is another's by now. A write
/// that it sent before is still on its way.
#[tokio::test]
async fn the_late_write_of_a_stale_owner_does_not_win() {
    let scene = Scene::new().await;
    let there = OtherHost::of(&scene).await;
    let store = HttpProxy::start(s3::addr().await).await;
    let (endpoint, (proxy, url)) = (store.endpoint(), through_proxy().await);
    let cut_off = [("AMQP_URL", url.as_str()), ("MINIO_ENDPOINT", endpoint.as_str())];
    let a = scene.worker_with(&[&there.settings()[..], &cut_off].concat()).await;
    let id = scene.id("bot");
    scene.start(&bot(&scene, "bot", COUNTER).await).await;
    let before = kept_at_least(&scene, &id, 5).await;
    let b = scene.worker_with(&[GRACE, ("WORKER_NAME", "here")]).await;
    let held = store.answers_to("PUT", "/state/").len();
    store.rule(|asked| match asked {
        asked if writes_state(asked) => Deed::Slow(LATE),
        // It does not hear of the new owner either.
        asked if asked.target.contains("/owners/") => Deed::Refuse(503),
        _ => Deed::Pass,
    });
    proxy.cut();
    until("it runs elsewhere", async || {
        let record = kept(&scene, &id).await.unwrap();
        record["epoch"].as_u64() > before["epoch"].as_u64()
            && record["value"]["n"].as_u64() > Some(20)
    })
    .await;
    until("the late write has come", async || store.answers_to("PUT", "/state/").len() > held)
        .await;
    assert_eq!(store.answers_to("PUT", "/state/")[held], 412);
    until("the stale owner says so", async || a.log().contains("the state is kept no more")).await;
    let after = kept(&scene, &id).await.unwrap();
    assert!(after["epoch"].as_u64() > before["epoch"].as_u64(), "{before} {after}");
    store.restore();
    proxy.restore();
    kept_at_least(&scene, &id, after["value"]["n"].as_u64().unwrap() + 5).await;
    let result = stopped(&scene, &id).await;
    assert_eq!((&result["worker"], &result["attempt"]), (&json!("here"), &json!(2)));
    assert!(result["metadata"]["state"].is_null(), "{result:#}");
    nothing_is_left(scene, [a, b]).await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_counts_and_nothing_is_kept_twice() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let worker = scene.worker_with(&[("MINIO_ENDPOINT", &store.endpoint())]).await;
    let id = scene.id("bot");
    scene.start(&bot(&scene, "bot", PLAIN_COUNTER).await).await;
    kept_at_least(&scene, &id, 1).await;
    let mut lost = 0;
    store.rule(move |asked| {
        lost += usize::from(writes_state(asked));
        if writes_state(asked) && lost % 2 == 1 { Deed::LoseAnswer } else { Deed::Pass }
    });
    kept_at_least(&scene, &id, 4).await;
    store.restore();
    let result = stopped(&scene, &id).await;
    assert!(result["metadata"]["state"].is_null(), "{result:#}");
    let answers = store.answers_to("PUT", "/state/");
    assert!(answers.contains(&412), "no try met its own write: {answers:?}");
    assert!(!worker.log().contains("the state is kept no more"));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_result_waits_for_a_store_that_does_not_take_the_last_state() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str()), ("STORE_MAX_ATTEMPTS", "2")];
    let worker = scene.worker_with(&settings).await;
    let id = scene.id("bot");
    scene.start(&bot(&scene, "bot", COUNTER).await).await;
    let before = kept_at_least(&scene, &id, 1).await;
    store.rule(|asked| if writes_state(asked) { Deed::Refuse(503) } else { Deed::Pass });
    scene.logged(&id, "count 30").await;
    scene.stop(&json!({ "id": id })).await;
    until("its container has ended", async || {
        let container = scene.container_of(&id).await.state.unwrap();
        container.running == Some(false)
    })
    .await;
    // More than one try of the last state.
    let tried = store.answers_to("PUT", "/state/").len();
    until("it is tried again", async || store.answers_to("PUT", "/state/").len() > tried + 4).await;
    assert!(scene.events.results_of(&id).is_empty());
    store.restore();
    let result = scene.events.result_of(&id).await;
    assert!(result.expect("stopped")["metadata"]["state"].is_null());
    let after = kept(&scene, &id).await.unwrap();
    assert!(after["value"]["n"].as_u64() >= Some(30), "{before} {after}");
    scene.finish([worker]).await;
}
