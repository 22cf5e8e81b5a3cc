//! The worker's decisions, pure: [`starts`] says who may run, [`stops`] what a stop means,
//! [`attempts`] what follows an attempt, [`trust`] what a worker may take after a failure.

mod attempts;
mod starts;
mod stops;
#[cfg(test)]
pub(super) mod tests;
mod trust;

pub(super) use attempts::{NextStep, Tally, after_end, may_retry, next_try, tries};
pub(super) use starts::{ClaimDecision, Incoming, claim, follows, is_same_start, undelivered};
pub(crate) use starts::{Standing, standing};
pub(crate) use stops::ends;
pub(super) use stops::{STOP_MEMORY, cancels, is_stopping, reaches, why_cancelled};
pub(super) use trust::{Level, Trust};
