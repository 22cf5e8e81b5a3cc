//! Changes the states of bots, while they do not run.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::FactsError;
use crate::job::{JobId, JsonText, RunId};
use crate::storage::{ETag, Journal, RecordState, StateRecord};

/// In place of the run that wrote a state, if a command did.
const BY_COMMAND: &str = "command-line";

/// What is kept of a bot, without the state itself: it may have secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StateReport {
    /// When it was written.
    pub written_at: Timestamp,
    /// The run that wrote it, or `command-line`.
    pub run_id: RunId,
    /// Its size.
    pub bytes: usize,
    /// How often it was written.
    pub number: u64,
}

impl StateReport {
    /// `None` if nothing has been kept yet.
    #[must_use]
    pub fn of(record: &StateRecord) -> Option<Self> {
        let bytes = record.value.as_ref()?.as_str().len();
        let (written_at, run_id) = (record.written_at, record.run.clone());
        Some(Self { written_at, run_id, bytes, number: record.seq })
    }
}

/// Sets the state that the next run of a job finds.
///
/// # Errors
/// When the journal cannot be read or written, when the job runs, or when somebody else writes its state at
/// the same time.
pub async fn set(journal: &Journal, id: &JobId, value: JsonText) -> Result<(), FactsError> {
    let (found, version) = read_while_it_rests(journal, id).await?.unzip();
    let wrong = |error: &dyn std::fmt::Display| FactsError::Refused(error.to_string());
    let record = StateRecord {
        segment: 0,
        epoch: 0,
        seq: found.map_or(0, |found| found.seq).saturating_add(1),
        run: BY_COMMAND.parse::<RunId>().map_err(|error| wrong(&error))?,
        written_at: Timestamp::now(),
        value: Some(value),
    };
    let written = journal.write_state(id, &record, version.as_ref()).await?;
    written.map(drop).ok_or_else(|| crossed(id))
}

/// Removes the state of a job.
///
/// # Errors
/// As for [`set`], and when there is none.
pub async fn clear(journal: &Journal, id: &JobId) -> Result<(), FactsError> {
    let Some((_, version)) = read_while_it_rests(journal, id).await? else {
        return Err(FactsError::Missing(format!("{id} has no state")));
    };
    let is_done = journal.remove_state(id, &version).await?;
    if is_done { Ok(()) } else { Err(crossed(id)) }
}

/// The state, and only then whether the job runs: a run that begins later rewrites the state, so our write
/// meets another version than we know.
async fn read_while_it_rests(
    journal: &Journal,
    id: &JobId,
) -> Result<Option<(StateRecord, ETag)>, FactsError> {
    let found = journal.state(id).await?;
    let record = journal.read(id).await?;
    if record.is_some_and(|(record, _)| record.state != RecordState::Finished) {
        let problem = format!("{id} has not ended: its state can be changed once it is stopped");
        return Err(FactsError::Refused(problem));
    }
    Ok(found)
}

fn crossed(id: &JobId) -> FactsError {
    let problem =
        format!("the state of {id} was written by somebody else meanwhile; nothing was changed");
    FactsError::Refused(problem)
}
