//! Each thing that a history must show is broken on purpose once, to see that it is noticed.

use super::directed::{SICK_SLOTS, attempts_of_a_sick_worker, beside_free_segments};
use super::plan::{Kind, Mix, Plan};
use super::play;
use super::tests::survived;
use super::world::Sabotage;

/// Breaks something on purpose: one of the first histories must say so.
fn expect_to_see(sabotage: Sabotage, kinds: Vec<Kind>, said: &str) {
    expect_to_see_in(sabotage, &Mix { kinds, ..survived() }, said);
}

/// The same, in histories of a mix.
fn expect_to_see_in(sabotage: Sabotage, mix: &Mix, said: &str) {
    let mut seen = Vec::new();
    for seed in 0..20 {
        let history = play(seed, Plan::draw(seed, mix), false, Some(sabotage));
        seen.extend(history.violations);
        if seen.iter().any(|one| one.contains(said)) {
            return;
        }
    }
    panic!("{sabotage:?} is not seen, only {seen:#?}");
}

#[test]
fn a_start_that_is_lost_is_seen() {
    expect_to_see(Sabotage::LosesStarts, vec![], "have no end");
}

#[test]
fn a_result_that_is_contradicted_is_seen() {
    expect_to_see(Sabotage::ContradictsResults, vec![], "is contradicted");
}

#[test]
fn a_dead_letter_that_is_lost_is_seen() {
    expect_to_see(Sabotage::LosesDeadLetters, vec![], "has 0 dead letters");
}

#[test]
fn a_message_that_goes_in_circles_is_seen() {
    expect_to_see(Sabotage::SendsAgain, vec![], "goes in circles");
}

#[test]
fn a_lock_that_is_left_is_seen() {
    expect_to_see(Sabotage::KeepsLocks, vec![], "are left");
}

#[test]
fn a_run_that_begins_although_it_was_stopped_is_seen() {
    expect_to_see(Sabotage::ForgetsStops, vec![Kind::EngineFails, Kind::Kill], "begins, although");
}

#[test]
fn a_start_that_does_not_see_an_earlier_stop_is_seen() {
    let mix = Mix { kinds: vec![], stops: 100, has_room: false, ..survived() };
    expect_to_see_in(Sabotage::ForgetsMarks, &mix, "begins, although");
}

#[test]
fn a_job_that_cannot_be_started_again_is_seen() {
    expect_to_see(Sabotage::ForgetsEnds, vec![], "cannot be started again");
}

#[test]
fn two_containers_of_a_bot_are_seen() {
    expect_to_see(Sabotage::IgnoresLeases, vec![Kind::Kill, Kind::Unreachable], "beside");
}

#[test]
fn an_attempt_that_begins_twice_is_seen() {
    expect_to_see(Sabotage::StartsTwice, vec![], "begins a second time");
}

#[test]
fn an_attempt_too_many_is_seen() {
    expect_to_see(Sabotage::RunsOnceMore, vec![], "more than it may have");
}

#[test]
fn requests_for_free_segments_are_seen() {
    let requests = beside_free_segments(Some(Sabotage::HidesVersions));
    assert!(requests > 100, "only {requests} in ten minutes");
}

#[test]
fn attempts_of_a_worker_that_starts_nothing_are_seen() {
    let attempts = attempts_of_a_sick_worker(Some(Sabotage::RehearsesNothing));
    assert!(attempts > SICK_SLOTS + 2, "only {attempts}");
}

#[test]
fn a_container_that_is_left_is_seen() {
    expect_to_see(Sabotage::RemovesNothing, vec![], "this is left");
}

#[test]
fn bots_that_do_not_come_back_are_seen() {
    expect_to_see(Sabotage::StartsNothing, vec![], "bots are not back");
}
