use std::time::Duration;

use super::{Extra, Fault, Kind, Plan, Scale, Step, Stop, Work};

fn scale(seed: u64) -> Scale {
    Scale {
        seed,
        duration: Duration::from_mins(20),
        workers: 3,
        engines: 2,
        backtests: 300,
        bots: 20,
        faults: 60,
        kinds: Kind::ALL.map(|(_, kind)| kind).to_vec(),
    }
}

fn faults(plan: &Plan) -> Vec<(Duration, Fault)> {
    let faults = plan.steps.iter().filter_map(|(at, step)| match step {
        Step::Break(fault) => Some((*at, *fault)),
        _ => None,
    });
    faults.collect()
}

#[test]
fn the_same_seed_gives_the_same_plan_and_another_seed_another() {
    assert_eq!(Plan::new(scale(7)), Plan::new(scale(7)));
    assert_ne!(Plan::new(scale(7)).steps, Plan::new(scale(8)).steps);
}

#[test]
fn everything_that_was_asked_for_is_planned_in_order_of_time() {
    let plan = Plan::new(scale(1));
    let followers: Vec<_> = plan.jobs.iter().filter_map(|job| job.follows).collect();
    assert_eq!(plan.jobs.len() - followers.len(), 320);
    assert!(followers.len() > 20, "{followers:?}");
    assert_eq!(plan.jobs.iter().filter(|job| job.work == Work::Stamps).count(), 20);
    let with = |extra| plan.jobs.iter().filter(|job| job.extra == extra).count();
    assert_eq!(with(Extra::State), 10);
    assert!(with(Extra::Inputs) >= 100 && with(Extra::Artifacts) >= 100, "{:?}", plan.jobs);
    assert_eq!(faults(&plan).len(), 60);
    assert!(plan.steps.is_sorted_by_key(|(at, _)| *at));
    for number in 0..plan.jobs.len() {
        let is_start = |step| step == Step::Start(number) || step == Step::Follow(number);
        let starts = plan.steps.iter().filter(|(_, step)| is_start(*step));
        assert_eq!(starts.count(), 1, "starts of job {number}");
    }
}

#[test]
fn a_stop_that_is_to_come_first_comes_first() {
    let plan = Plan::new(scale(3));
    let at = |wanted: Step| plan.steps.iter().position(|(_, step)| *step == wanted);
    let early = (0..plan.jobs.len()).filter(|number| plan.jobs[*number].stop == Stop::Before);
    let early: Vec<_> = early.collect();
    assert!(!early.is_empty());
    for number in early {
        assert!(at(Step::Stop(number)) < at(Step::Start(number)), "job {number}");
    }
}

#[test]
fn nothing_is_broken_again_before_it_was_repaired() {
    for seed in 0..200 {
        let faults = faults(&Plan::new(scale(seed)));
        for (place, (at, fault)) in faults.iter().enumerate() {
            for (later, other) in &faults[place + 1..] {
                let is_free = *later >= *at + fault.away();
                let is_same = same_target(*fault, *other);
                assert!(!is_same || is_free, "seed {seed}: {fault:?} at {at:?}, {other:?}");
            }
        }
    }
}

fn same_target(one: Fault, other: Fault) -> bool {
    match (one, other) {
        (
            Fault::Worker { worker, .. }
            | Fault::Network { worker, .. }
            | Fault::SickStore { worker, .. }
            | Fault::SickEngine { worker, .. }
            | Fault::Standstill { worker, .. },
            Fault::Worker { worker: second, .. }
            | Fault::Network { worker: second, .. }
            | Fault::SickStore { worker: second, .. }
            | Fault::SickEngine { worker: second, .. }
            | Fault::Standstill { worker: second, .. },
        ) => worker == second,
        (Fault::Engine { engine, .. }, Fault::Engine { engine: second, .. })
        | (Fault::Disk { engine, .. }, Fault::Disk { engine: second, .. }) => engine == second,
        (
            Fault::Broker { .. } | Fault::Alarm { .. },
            Fault::Broker { .. } | Fault::Alarm { .. },
        )
        | (Fault::Store { .. }, Fault::Store { .. }) => true,
        _ => false,
    }
}

#[test]
fn a_round_with_as_many_faults_as_kinds_has_each_kind_once() {
    let short = Scale { faults: Kind::ALL.len(), ..scale(11) };
    let faults = faults(&Plan::new(short));
    let is_there = |is_one: fn(&Fault) -> bool| faults.iter().any(|(_, fault)| is_one(fault));
    assert!(is_there(|fault| matches!(fault, Fault::Worker { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Broker { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Store { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Engine { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Network { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Disk { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Alarm { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::SickStore { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::SickEngine { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Standstill { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Outside { .. })));
    assert!(is_there(|fault| matches!(fault, Fault::Memory { .. })));
}
