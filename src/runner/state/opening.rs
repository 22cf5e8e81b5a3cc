//! The state before a run has begun: made ours, and put where the program finds it.

use std::fs;
use std::io;

use jiff::Timestamp;

use super::kept::Kept;
use super::record::Owner;
use crate::job::Run;
use crate::job::state::STATE_FILE;
use crate::runner::directory::JobDirectory;
use crate::runner::failure::RunFailure;
use crate::runner::managed::Managed;
use crate::runner::observer::RunObserver;
use crate::runner::site::Site;
use crate::storage::JournalError;

/// How often somebody else may write the record while we make it ours.
const MAX_CROSSINGS: usize = 10;

/// Why a state could not be made ours.
pub(super) enum NotTaken {
    /// Nobody can show whose the run is.
    NotShown,
    /// Others wrote it again and again.
    Contended,
    /// The store failed, or the record cannot be read.
    Journal(JournalError),
}

impl From<JournalError> for NotTaken {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// Makes the state of a run ours, and writes it into its file. Nothing for a run that keeps none.
pub(in crate::runner) async fn restore(
    site: &Site,
    managed: &Managed,
    directory: &JobDirectory,
    observer: &dyn RunObserver,
) -> Result<(), RunFailure> {
    let run = &managed.run;
    let Some(state) = run.job.state else { return Ok(()) };
    let kept = take(site, run, observer).await.map_err(|why| match why {
        NotTaken::NotShown => RunFailure::not_shown(),
        NotTaken::Contended => {
            RunFailure::Unavailable("the job's state is written by others, too".to_owned())
        }
        NotTaken::Journal(error) => RunFailure::Unavailable(format!("the job's state: {error}")),
    })?;
    if let Some(value) = &kept.record.value {
        let (bytes, most) = (value.as_str().len() as u64, state.max_kb << 10);
        if bytes > most {
            return Err(RunFailure::Rejected(format!(
                "state.max_kb: is {}, but the job's state has {bytes} bytes: allow more, set \
                 state.reset, or run longshore state {} --clear",
                state.max_kb, run.job.id
            )));
        }
        let (text, path) = (value.as_str().to_owned(), directory.root().join(STATE_FILE));
        let turn = directory.turn().await;
        let writing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            fs::write(path, text)
        });
        let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        written.map_err(|error| RunFailure::Unavailable(format!("writing the state: {error}")))?;
        tracing::info!(job.id = %run.job.id, bytes, seq = kept.record.seq, "restored the state of a job");
    }
    *managed.state.lock().await = Some(kept);
    Ok(())
}

/// Rewrites the record of a run's state as ours. From then on, writes of its last owner fail.
pub(super) async fn take(
    site: &Site,
    run: &Run,
    observer: &dyn RunObserver,
) -> Result<Kept, NotTaken> {
    let (owner, id) = (owner_of(run, observer), &run.job.id);
    let reset = run.job.state.is_some_and(|state| state.reset);
    for _ in 0..MAX_CROSSINGS {
        let (found, version) = site.states.state(id).await?.unzip();
        // After it was read: until now, nobody else can have made it theirs. If somebody does from now
        // on, our write meets another version than we know.
        let is_outdated = found.as_ref().is_some_and(|found| owner.is_outdated_by(found));
        if is_outdated || !observer.may_start() {
            return Err(NotTaken::NotShown);
        }
        let record = owner.takes(found.as_ref(), reset, Timestamp::now());
        if let Some(version) = site.states.write_state(id, &record, version.as_ref()).await? {
            let (is_superseded, problem, has_told) = (false, None, false);
            return Ok(Kept { record, version, is_superseded, problem, has_told });
        }
    }
    Err(NotTaken::Contended)
}

/// Whose the state is while the run is ours.
pub(super) fn owner_of(run: &Run, observer: &dyn RunObserver) -> Owner {
    Owner { segment: run.segment, epoch: observer.epoch(), run: run.job.run_id.clone() }
}

#[cfg(test)]
mod tests;
