//! How a run of a job ended.

use super::FactsError;
use crate::job::{Event, JobId, RunId};
use crate::storage::{Journal, RecordState};

/// What the journal knows of a run.
pub enum Known {
    /// It has ended.
    Ended {
        /// The result event.
        event: Box<Event>,
        /// Whether it is the job's latest run: the objects in the store are of that one.
        is_latest: bool,
    },
    /// It goes on.
    GoesOn(RecordState),
    /// Nothing.
    Nothing,
}

/// What the journal knows of a run of a job: the latest, where none is named.
///
/// # Errors
/// When the journal cannot be read.
pub async fn find(journal: &Journal, id: &JobId, run: Option<&RunId>) -> Result<Known, FactsError> {
    let record = journal.read(id).await?.map(|(record, _)| record);
    let is_asked_for = |other: &RunId| run.is_none_or(|asked| asked == other);
    Ok(match (record, run) {
        (Some(record), _) if is_asked_for(&record.run_id) => match (record.state, record.result) {
            (RecordState::Finished, Some(event)) => {
                Known::Ended { event: Box::new(event), is_latest: true }
            }
            (state, _) => Known::GoesOn(state),
        },
        (_, Some(run)) => match journal.ended(id, run).await? {
            Some(end) => Known::Ended { event: Box::new(end.event), is_latest: false },
            None => Known::Nothing,
        },
        (_, None) => Known::Nothing,
    })
}
