//! Many jobs at once on several workers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{QUICK, assert_one_result, nothing_is_left, says};
use longshore_testing::events::Seen;
use longshore_testing::program::{
    NODE_BACKTEST, NODE_BOT, NODE_TICKER, PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER, Program,
};
use longshore_testing::scene::Scene;

const GOOD_NODE: &str = "exports.main = async (id) => ({ id });";
const GOOD_PYTHON: &str = "def main(id, config): return {'id': id}";
const BAD_NODE: &str = "exports.main = async () => { throw new Error('no data'); };";
const BAD_PYTHON: &str = "def main(id, config): raise ValueError('no data')";

/// A kind of job: how many, and how each must end.
struct Kind {
    name: &'static str,
    program: Program,
    source: &'static str,
    count: usize,
    verdict: &'static str,
}

const KINDS: [Kind; 6] = [
    Kind {
        name: "py-good",
        program: PYTHON_BACKTEST,
        source: GOOD_PYTHON,
        count: 18,
        verdict: "succeeded",
    },
    Kind {
        name: "js-good",
        program: NODE_BACKTEST,
        source: GOOD_NODE,
        count: 16,
        verdict: "succeeded",
    },
    Kind {
        name: "py-bad",
        program: PYTHON_BACKTEST,
        source: BAD_PYTHON,
        count: 3,
        verdict: "failed",
    },
    Kind { name: "js-bad", program: NODE_BACKTEST, source: BAD_NODE, count: 3, verdict: "failed" },
    Kind {
        name: "py-bot",
        program: PYTHON_BOT,
        source: PYTHON_TICKER,
        count: 5,
        verdict: "stopped",
    },
    Kind { name: "js-bot", program: NODE_BOT, source: NODE_TICKER, count: 5, verdict: "stopped" },
];

impl Kind {
    fn jobs(&self, scene: &Scene) -> Vec<String> {
        (0..self.count).map(|number| scene.id(&format!("{}-{number}", self.name))).collect()
    }
}

#[tokio::test]
async fn fifty_mixed_jobs_at_once_on_two_workers_give_one_result_each_and_leave_nothing() {
    let scene = Scene::new().await;
    let first = scene.worker_with(&[("MAX_LONG_RUNNING", "8")]).await;
    let second = scene.worker_with(&[("MAX_LONG_RUNNING", "8")]).await;
    let mut messages: Vec<Value> = Vec::new();
    for kind in &KINDS {
        let key = scene.put_code(kind.name, &[(kind.program.script, kind.source)]).await;
        messages.extend(kind.jobs(&scene).iter().map(|id| kind.program.message(id, &key)));
    }
    assert_eq!(messages.len(), 50);
    // Mixed: neighbours are of different kinds.
    for offset in 0..7 {
        for message in messages.iter().skip(offset).step_by(7) {
            scene.start(message).await;
        }
    }
    for kind in KINDS.iter().filter(|kind| kind.program.is_long_running) {
        for id in kind.jobs(&scene) {
            scene.events.wait_state(&id, "running").await;
            scene.stop(&json!({ "id": id })).await;
        }
    }
    for kind in &KINDS {
        for id in kind.jobs(&scene) {
            scene.events.result_of(&id).await.expect(kind.verdict);
        }
    }

    for kind in &KINDS {
        for id in kind.jobs(&scene) {
            assert_one_result(&scene, &id, kind.verdict);
            let states = scene.events.states_of(&id);
            let runs = states.iter().filter(|state| *state == "running").count();
            assert_eq!(runs, 1, "{id}: {states:?}");
        }
    }
    let results = scene.events.all_results();
    assert_eq!(results.iter().map(Seen::id).collect::<BTreeSet<_>>().len(), 50);
    let workers = |is_bot: bool| -> BTreeSet<String> {
        let ours = results.iter().filter(|seen| seen.data()["is_long_running"] == is_bot);
        ours.map(|seen| seen.data()["worker"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(workers(false).len(), 2, "one worker did all backtests");
    assert_eq!(workers(true).len(), 2, "one worker ran all bots");
    nothing_is_left(scene, [first, second]).await;
}

#[tokio::test]
async fn a_start_and_a_stop_on_hearing_of_the_end_are_told_from_the_run_that_ended() {
    const ROUNDS: usize = 12;
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("again", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("again");
    let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(&id);
    scene.start(&message).await;
    for round in 1..=ROUNDS {
        let result = scene.events.wait_for_nth("next result", round, is_result).await;
        result.expect("succeeded");
        if round < ROUNDS {
            scene.start(&message).await;
        }
    }
    let states = scene.events.states_of(&id);
    assert!(!states.iter().any(|state| state == "duplicate"), "{states:?}");
    scene.stop(&json!({ "id": id })).await;
    scene.events.wait_for("answer to the stop", says(&id, "not_running")).await;
    nothing_is_left(scene, [worker]).await;
}
