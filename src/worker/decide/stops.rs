//! What a noted stop means for a later start, and for an active run.

use std::time::Duration;

use jiff::Timestamp;

use super::starts::Incoming;
use crate::job::RunId;
use crate::storage::{JobRecord, Tombstone};

/// How long a stop that found nothing to stop also counts for a start message without a time of
/// publication.
pub(in crate::worker) const STOP_MEMORY: Duration = Duration::from_mins(1);

/// Whether a noted stop cancels a start message: the stop names its run, or was sent after the
/// message was published. If both happened within one second, the stop wins, because AMQP's time
/// stamps count seconds.
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
        None => {
            !tombstone.is_spent
                && now.duration_since(tombstone.at) <= STOP_MEMORY.try_into().unwrap_or_default()
        }
    }
}

/// Whether a stop is for an active run. One that names a run is for that run. Any other is for the
/// run that is active when it comes, because the clocks of publishers may differ. If it `is_late`,
/// because it was put aside or has asked an earlier run, the job's next run may be active by now. So
/// it is then only for a run whose start was published before it.
#[must_use]
pub(in crate::worker) fn reaches(
    tombstone: &Tombstone,
    is_late: bool,
    run_id: &RunId,
    published_at: Option<Timestamp>,
) -> bool {
    if let Some(named) = &tombstone.run_id {
        return named == run_id;
    }
    let is_after = |start: Timestamp| tombstone.at.as_second() >= start.as_second();
    !is_late || published_at.is_none_or(is_after)
}

/// The sentence about a start that a noted stop cancels: which stop it was, and why it counts.
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

/// Whether an active run is about to end because of a noted stop.
#[must_use]
pub(in crate::worker) fn is_stopping(tombstone: &Tombstone, active: &JobRecord) -> bool {
    match &tombstone.run_id {
        Some(run_id) => *run_id == active.run_id,
        None => tombstone.at.as_second() >= active.claimed_at.as_second(),
    }
}

/// Whether a noted stop ends an adopted run: a stop that came while it ran, or one that its last
/// owner had no time to find after its claim.
#[must_use]
pub(crate) fn ends(tombstone: &Tombstone, record: &JobRecord) -> bool {
    let start =
        Incoming { run_id: record.run_id.clone(), published_at: record.message.published_at };
    is_stopping(tombstone, record) || cancels(tombstone, &start, record.claimed_at)
}
