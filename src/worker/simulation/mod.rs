//! The worker's own code under a simulation: several workers in one thread and in a time that passes at once, with
//! a broker, a store, engines and clocks in memory, and a seed that decides about everything.
//!
//! A [`plan`] is drawn from a seed: what is published when, and what goes wrong. [`play`] plays it, [`reckoning`]
//! says what must hold in the end, and the [`ledger`] what must hold at each step. A history that fails prints its
//! seed and its trace. The same seed gives the same history: so it can be played again. [`directed`] has histories
//! that are written by hand; [`sabotage`] breaks things on purpose, to see that it is noticed.
//!
//! What is real: all of `worker/` from the deliveries to the events, the journal, the topology of the broker, and
//! what is sent and stored. What is not: RabbitMQ ([`broker`]), S3 ([`store`]), what `DockerRunner` does ([`runner`])
//! and Docker ([`engine`]); logs and HTTP are left out.

mod broker;
mod crossed;
mod directed;
mod end;
mod engine;
mod ledger;
mod machine;
mod plan;
mod play;
mod process;
mod reckoning;
mod runner;
mod sabotage;
mod scale;
mod store;
mod tests;
mod worker;
mod world;

use std::sync::Arc;
use std::time::Duration;

use self::plan::{Mix, Plan};
use self::play::Stage;
use self::world::{Sabotage, World};

/// How long a history may take, in its own time.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What came of a history.
pub(super) struct History {
    pub(super) seed: u64,
    /// What should not have been.
    pub(super) violations: Vec<String>,
    /// What happened, where that was asked for.
    pub(super) trace: Vec<String>,
    /// How many requests to the store there were.
    pub(super) requests: u64,
}

/// Runs something in a world that is over at once.
fn run<T>(seed: u64, whole: impl Future<Output = T>) -> T {
    // The pauses of back-offs are drawn from this.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(whole)
}

/// Has a history that is written by hand.
fn on_stage(plan: Plan, history: impl AsyncFnOnce(Arc<Stage>)) {
    on_a_stage_with(None, plan, history);
}

/// Has such a history, with something that is broken on purpose.
fn on_a_stage_with<T>(
    sabotage: Option<Sabotage>,
    plan: Plan,
    history: impl AsyncFnOnce(Arc<Stage>) -> T,
) -> T {
    run(0, async {
        let world = Arc::new(World::new(0, false, sabotage));
        let seen = history(Stage::new(&world, plan)).await;
        assert_eq!(world.ledger.lock().violations, Vec::<String>::new());
        seen
    })
}

/// Plays the history of a plan.
fn play(seed: u64, plan: Plan, is_traced: bool, sabotage: Option<Sabotage>) -> History {
    run(seed, async {
        let world = Arc::new(World::new(seed, is_traced, sabotage));
        let stage = Stage::new(&world, plan);
        let whole = async {
            stage.play().await;
            stage.reckon().await;
        };
        if tokio::time::timeout(LONGEST, whole).await.is_err() {
            world.see(|ledger, at| {
                ledger.blame(at, "the history does not come to its end");
            });
        }
        let ledger = world.ledger.lock();
        let (violations, requests) = (ledger.violations.clone(), ledger.requests.all());
        drop(ledger);
        History { seed, violations, trace: world.trace(), requests }
    })
}

/// Plays the history of a seed; once more, with its trace, where something is wrong.
fn history(seed: u64, mix: &Mix) -> History {
    let plan = Plan::draw(seed, mix);
    let history = play(seed, plan.clone(), false, None);
    if history.violations.is_empty() { history } else { play(seed, plan, true, None) }
}
