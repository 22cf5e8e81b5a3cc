//! Everything is broken again and again while jobs run; at the end what was asked for is reckoned
//! against what came of it.
//!
//! `make chaos` runs the long round: twenty minutes, three workers on two engines. `CHAOS_SECONDS`,
//! `CHAOS_SEED`, `CHAOS_WORKERS`, `CHAOS_ENGINES`, `CHAOS_BACKTESTS`, `CHAOS_BOTS`, `CHAOS_FAULTS` and
//! `CHAOS_KINDS` (`kill,lose,deploy,broker,store,engine,network,disk`, and the sick ones
//! `alarm,frozen,sick-store,sick-engine,standstill,outside,memory`) change it. The same seed plans
//! the same round; what the machine makes of it may differ.
//!
//! A target of its own, for a round wants the machine for itself; and one with the usual harness, so
//! that the tests of the plan and of the reckoning, and a short round, are part of `cargo test`.
//!
//! A round brings all of its servers: RabbitMQ and the store in containers on the machine's engine,
//! and engines of its own, as root. Nobody else's are touched.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod crew;
mod evidence;
mod plan;
mod programs;
mod random;
mod reckoning;
mod recovery;
mod round;
mod spool;
mod stage;
mod states;
mod watch;
mod wire;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::plan::{Kind, Scale};
use self::reckoning::Line;
use longshore_testing::variable;

/// All that a short round has the time for: whoever loses a worker waits for a survivor.
const SHORT_KINDS: [Kind; 10] = [
    Kind::Kill,
    Kind::Deploy,
    Kind::Broker,
    Kind::Store,
    Kind::Engine,
    Kind::Network,
    Kind::Disk,
    Kind::SickStore,
    Kind::SickEngine,
    Kind::Outside,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_round_loses_nothing_and_runs_nothing_twice() {
    let scale = Scale {
        seed: 1,
        duration: Duration::from_secs(35),
        workers: 2,
        engines: 1,
        backtests: 16,
        bots: 3,
        faults: SHORT_KINDS.len(),
        kinds: SHORT_KINDS.to_vec(),
    };
    play(scale).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes twenty minutes: `make chaos`"]
async fn the_long_round() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let scale = Scale {
        seed: number("CHAOS_SEED", now),
        duration: Duration::from_secs(number("CHAOS_SECONDS", 1200)),
        workers: count("CHAOS_WORKERS", 3),
        engines: count("CHAOS_ENGINES", 2),
        backtests: count("CHAOS_BACKTESTS", 300),
        bots: count("CHAOS_BOTS", 20),
        faults: count("CHAOS_FAULTS", 60),
        kinds: kinds(),
    };
    play(scale).await;
}

/// Plays a round, unless it is interrupted, and panics with its table where something is wrong.
async fn play(scale: Scale) {
    let command = command(&scale);
    eprintln!("{command}");
    let lines = tokio::select! {
        lines = Box::pin(round::run(scale)) => lines,
        _ = tokio::signal::ctrl_c() => panic!("interrupted"),
    };
    let table = reckoning::table(&lines);
    eprintln!("\n{table}\n{command}");
    let is_good = lines.iter().all(Line::is_good);
    assert!(is_good, "something was lost, repeated, left or overlapped: see the table above");
}

/// How to play a round again.
fn command(scale: &Scale) -> String {
    let named = |kind: &Kind| Kind::ALL.iter().find(|(_, one)| one == kind).unwrap().0;
    let kinds: Vec<_> = scale.kinds.iter().map(named).collect();
    format!(
        "CHAOS_SEED={} CHAOS_SECONDS={} CHAOS_WORKERS={} CHAOS_ENGINES={} CHAOS_BACKTESTS={} \
         CHAOS_BOTS={} CHAOS_FAULTS={} CHAOS_KINDS={} make chaos",
        scale.seed,
        scale.duration.as_secs(),
        scale.workers,
        scale.engines,
        scale.backtests,
        scale.bots,
        scale.faults,
        kinds.join(",")
    )
}

fn number(name: &str, default: u64) -> u64 {
    let Some(text) = variable(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number"))
}

fn count(name: &str, default: u64) -> usize {
    usize::try_from(number(name, default)).unwrap()
}

fn kinds() -> Vec<Kind> {
    let Some(names) = variable("CHAOS_KINDS") else {
        return Kind::ALL.map(|(_, kind)| kind).to_vec();
    };
    let known = Kind::ALL.map(|(name, _)| name).join(", ");
    let kind = |name: &str| {
        Kind::named(name).unwrap_or_else(|| panic!("CHAOS_KINDS: {name:?} is none of {known}"))
    };
    names.split(',').map(|name| kind(name.trim())).collect()
}
