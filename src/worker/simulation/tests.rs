//! Rounds of histories.

use std::time::Instant;

use super::plan::{Kind, Mix, Plan};
use super::{History, history, play};

/// What the worker survives.
pub(super) fn survived() -> Mix {
    Mix {
        kinds: Kind::ALL.into_iter().map(|(_, kind)| kind).collect(),
        stops: 30,
        has_second_runs: false,
        faults: 5..=8,
        has_room: true,
    }
}

/// Plays so many histories of a mix.
pub(super) fn round(seeds: std::ops::Range<u64>, mix: &Mix) {
    for seed in seeds {
        expect_well(&history(seed, mix));
    }
}

fn variable(name: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "asked for by whoever runs the test by hand")]
    std::env::var(name).ok()
}

fn number(name: &str, default: u64) -> u64 {
    variable(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The mix that the environment asks for: FAULTS names kinds of faults, STOPS is in a hundred jobs, RUNS is 2 where
/// a job may have a second run.
fn asked_for(default: Mix) -> Mix {
    let named = |names: String| {
        let names: Vec<_> = names.split(',').map(str::to_owned).collect();
        let kinds = Kind::ALL
            .into_iter()
            .filter(|(name, _)| names.iter().any(|one| one == name || one == "all"));
        kinds.map(|(_, kind)| kind).collect()
    };
    Mix {
        kinds: variable("FAULTS").map_or(default.kinds, named),
        stops: u32::try_from(number("STOPS", default.stops.into())).unwrap(),
        has_second_runs: number("RUNS", 1 + u64::from(default.has_second_runs)) == 2,
        faults: default.faults,
        has_room: number("ROOM", default.has_room.into()) == 1,
    }
}

/// Fails with the seed and the end of the trace.
pub(super) fn expect_well(history: &History) {
    let lines = usize::try_from(number("TRACE", 400)).unwrap();
    let skipped = history.trace.len().saturating_sub(lines);
    assert!(
        history.violations.is_empty(),
        "seed {}: {:#?}\n({skipped} lines are left out; TRACE=n shows n)\n{}",
        history.seed,
        history.violations,
        history.trace[skipped..].join("\n"),
    );
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in 0..3 {
        let plan = Plan::draw(seed, &survived());
        let (first, second) = (play(seed, plan.clone(), true, None), play(seed, plan, true, None));
        let differs = first.trace.iter().zip(&second.trace).position(|(one, other)| one != other);
        if let Some(line) = differs {
            let around = line.saturating_sub(5);
            panic!(
                "seed {seed}: {:#?}\nand\n{:#?}",
                &first.trace[around..=line],
                &second.trace[around..=line]
            );
        }
        assert_eq!(first.trace.len(), second.trace.len());
        assert!(first.trace.len() > 1_000, "{}", first.trace.len());
    }
}

#[test]
fn whatever_happens_every_start_has_one_end_and_nothing_is_left() {
    round(0..40, &survived());
}

/// In both, a worker had stood still, and another one had taken its jobs over. In the first it dropped the start of a
/// bot, which had been put back, as a repeated one. In the second it found its own claim under its new owner, and
/// removed its entry.
#[test]
fn histories_that_failed_once_pass() {
    for seed in [1000, 7596] {
        round(seed..seed + 1, &survived());
    }
}

/// By hand: SEED and SEEDS say which histories, MINUTES for how long at most, FAULTS, STOPS, RUNS and ROOM what they are like.
/// Where FAILURES is more than 1, that many are counted before it ends.
#[test]
#[ignore = "runs for as long as it is asked to"]
fn many_histories() {
    let begun = Instant::now();
    let mix = asked_for(survived());
    let (first, count) = (number("SEED", 0), number("SEEDS", 100_000));
    let (minutes, failures) = (number("MINUTES", 10), number("FAILURES", 1));
    let (mut played, mut requests, mut failed) = (0_u64, 0, 0);
    for seed in first..first + count {
        if begun.elapsed().as_secs() >= minutes * 60 {
            break;
        }
        let history = history(seed, &mix);
        (played, requests) = (played + 1, requests + history.requests);
        if !history.violations.is_empty() {
            failed += 1;
            println!("seed {seed}: {:.300}", history.violations[0]);
            if failed >= failures {
                expect_well(&history);
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{played} histories in {seconds:.1} s, {failed} failed; {} store requests each",
        requests / played.max(1)
    );
    assert_eq!(failed, 0);
}
