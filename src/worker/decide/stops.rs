//! What a stop that has been noted means for a start that comes, and for a run that goes on.

use std::time::Duration;

use jiff::Timestamp;

use super::starts::Incoming;
use crate::storage::{JobRecord, Tombstone};

/// How long a stop that found nothing to stop also holds for a start message that does not say
/// when it was published.
pub(in crate::worker) const STOP_MEMORY: Duration = Duration::from_mins(1);

/// Whether a stop that has been noted cancels a start message: one that names its run, or one that
/// came after the message was published. Where both happened within one second, the stop wins, for
/// AMQP's time stamps count seconds.
#[must_use]
pub(in crate::worker) fn cancels(
    tombstone: &Tombstone,
    incoming: &Incoming,
    now: Timestamp,
) -> bool {
    if let Some(run_id) = &tombstone.run_id {
        return *run_id == incoming.run_id;
    }
    match incoming.published_at {
        Some(published_at) => tombstone.at.as_second() >= published_at.as_second(),
        None => now.duration_since(tombstone.at) <= STOP_MEMORY.try_into().unwrap_or_default(),
    }
}

/// What is said of a start that a noted stop cancels: which stop that was, and why it counts.
#[must_use]
pub(in crate::worker) fn why_cancelled(tombstone: &Tombstone, incoming: &Incoming) -> String {
    let reason = tombstone.reason.as_deref().map(|reason| format!(" ({reason})"));
    let stop = format!("a stop of {:.0}{}", tombstone.at, reason.unwrap_or_default());
    let why = match (&tombstone.run_id, incoming.published_at) {
        (Some(_), _) => "which names this run".to_owned(),
        (None, Some(published_at)) => {
            format!("which came after the start was published, at {published_at:.0}")
        }
        (None, None) => format!(
            "which counts because the start has no AMQP timestamp: a stop then holds for {} s",
            STOP_MEMORY.as_secs()
        ),
    };
    format!("cancelled before it ran by {stop}, {why}")
}

/// Whether an active run is about to end because of a stop that has been noted.
#[must_use]
pub(in crate::worker) fn is_stopping(tombstone: &Tombstone, active: &JobRecord) -> bool {
    match &tombstone.run_id {
        Some(run_id) => *run_id == active.run_id,
        None => tombstone.at.as_second() >= active.claimed_at.as_second(),
    }
}

/// Whether a stop that has been noted ends a run that is taken up: one that came while it ran, or one
/// that its last owner had no time to find when it claimed it.
#[must_use]
pub(in crate::worker) fn ends(tombstone: &Tombstone, record: &JobRecord) -> bool {
    let start =
        Incoming { run_id: record.run_id.clone(), published_at: record.message.published_at };
    is_stopping(tombstone, record) || cancels(tombstone, &start, record.claimed_at)
}
