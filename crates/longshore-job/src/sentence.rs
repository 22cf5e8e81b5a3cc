//! The sentences in results about runs that did not end by themselves, for the publisher of the
//! job. The sentences about a container's end are in `judging`.

use super::{MessageError, RunId};

/// The container of a long-running job is up.
pub const RUNNING: &str = "the container is running";

/// A local run whose container another process took over.
pub const TAKEN_OVER: &str = "the run was taken over";

/// A start whose time to live was over.
pub const EXPIRED: &str =
    "cancelled before it ran: its time to live was over before a worker took it";

/// A start that the broker has delivered as often as it may.
pub const DELIVERED_TOO_OFTEN: &str =
    "given up: the broker delivered it again and again, and no worker could take it on";

/// A start that the broker gave up for another reason, if it says which.
#[must_use]
pub fn undeliverable(reason: Option<&str>) -> String {
    let reason = reason.unwrap_or("it does not say why");
    format!("given up: the broker could not deliver it ({reason})")
}

/// A run for which the infrastructure failed at its last try.
#[must_use]
pub fn gave_up(tries: u32, reason: &str) -> String {
    let tries = if tries == 1 { "1 attempt".to_owned() } else { format!("{tries} attempts") };
    format!("gave up after {tries}: {reason}")
}

/// A terminating run whose last attempt was lost, too.
#[must_use]
pub fn all_attempts_lost(attempts: u32) -> String {
    format!("all {attempts} attempts died with their hosts")
}

/// A run that was accepted under other settings and would have to begin again.
#[must_use]
pub fn beyond_the_settings(error: &MessageError) -> String {
    format!("cannot run again under the settings of now: {error}")
}

/// A run that waited to be tried again while the run `by` of its job began.
#[must_use]
pub fn gave_way(by: &RunId) -> String {
    format!("the run {by} of the same job began before this one could be tried again")
}

/// A run that was asked to stop between two attempts; `before` is how the last one ended.
#[must_use]
pub fn stopped_between_attempts(reason: Option<&str>, before: &str) -> String {
    let reason = because(reason);
    format!("stopped as requested before it ran again{reason}; before that: {before}")
}

/// A run that was asked to stop before its container ran.
#[must_use]
pub fn cancelled(reason: Option<&str>) -> String {
    format!("cancelled before it ran{}", because(reason))
}

/// A result that could not be stored, and is too large for an event.
#[must_use]
pub fn not_stored(error: &str) -> String {
    format!("the result could not be stored: {error}")
}

/// An image in which nothing of ours began; `said` is what its container wrote.
#[must_use]
pub fn image_cannot_run(image: &str, said: &str) -> String {
    format!("the image {image} cannot run a job: {said}")
}

/// The end of a sentence: the reason, if there is one.
fn because(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_counts_attempts_and_gives_a_reason_where_there_is_one() {
        assert_eq!(gave_up(1, "no store"), "gave up after 1 attempt: no store");
        assert_eq!(gave_up(3, "no store"), "gave up after 3 attempts: no store");
        assert_eq!(cancelled(None), "cancelled before it ran");
        assert_eq!(cancelled(Some("enough")), "cancelled before it ran: enough");
    }
}
