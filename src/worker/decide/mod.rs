//! The worker's decisions, pure: [`starts`] says who may run, [`stops`] what a stop means, [`attempts`] what
//! comes after an attempt has ended.

mod attempts;
mod starts;
mod stops;
#[cfg(test)]
pub(super) mod tests;

pub(super) use attempts::{NextStep, Tally, after_end, may_retry, tries};
pub(super) use starts::{
    ClaimDecision, Incoming, Standing, claim, follows, is_same_start, standing, undelivered,
};
pub(super) use stops::{STOP_MEMORY, cancels, ends, is_stopping, why_cancelled};
