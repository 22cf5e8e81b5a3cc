//! The result that the code of a terminating run left in `result.json`.

use std::fmt::Display;

use bytes::Bytes;

use super::directory::{FoundFile, JobDirectory};
use super::orchestrator::EngineError;
use super::site::Site;
use crate::job::archive::RESULT_FILE;
use crate::job::judging::ResultFile;
use crate::job::judging::result_text::read_result;
use crate::job::{JsonText, Run};
use crate::logs::Mask;
use crate::storage::{Bucket, Condition, StoreError};

/// A result file as the verdict sees it, and where it is stored.
pub(super) struct CollectedResult {
    pub(super) judged: ResultFile,
    /// The value for the event, if it fits.
    pub(super) inline: Option<JsonText>,
    /// Its key in the results bucket, or why it is not there although it should be.
    pub(super) stored: Option<Result<String, StoreError>>,
}

impl CollectedResult {
    fn of(judged: ResultFile) -> Self {
        Self { judged, inline: None, stored: None }
    }

    fn unusable(problem: impl Display) -> Self {
        Self::of(ResultFile::Unusable(format!("{RESULT_FILE} {problem}")))
    }
}

/// Collects the result of an ended run. Stores it if the message asks for that, or if it is too
/// large for the event.
pub(super) async fn collect(
    site: &Site,
    run: &Run,
    directory: &JobDirectory,
    container: &str,
    mask: Mask,
) -> CollectedResult {
    if run.job.is_long_running {
        return CollectedResult::of(ResultFile::NotExpected);
    }
    let bytes = match read(site, run, directory, container).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return CollectedResult::of(ResultFile::Absent),
        Err(problem) => return CollectedResult::unusable(problem),
    };
    // A large result takes time, which must not delay the broker's heartbeats.
    let reading = tokio::task::spawn_blocking(move || read_result(&bytes, &mask));
    let result = match reading.await {
        Ok(Ok(result)) => result,
        Ok(Err(problem)) => return CollectedResult::unusable(problem),
        Err(error) => return CollectedResult::unusable(format!("broke its reader: {error}")),
    };
    // The tables are the result of a sweep; its launcher's own words only serve the verdict.
    let is_sweep = run.job.sweep.is_some();
    let is_kept = !is_sweep && (run.job.persist_results || result.inline.is_none());
    let stored = if is_kept { Some(store(site, run, result.bytes).await) } else { None };
    let judged = ResultFile::Valid(result.said);
    CollectedResult { judged, inline: result.inline.filter(|_| !is_sweep), stored }
}

/// The file's content, or what is wrong with it.
async fn read(
    site: &Site,
    run: &Run,
    directory: &JobDirectory,
    container: &str,
) -> Result<Option<Bytes>, String> {
    let most = site.settings.max_result_bytes;
    // The directory is bound into the container. The engine starts a process for each copy, so it
    // is asked only if the file is missing or we may not read it.
    match directory.read(RESULT_FILE, most).await {
        // We put it there empty, for the code to write.
        Ok(FoundFile::Regular(bytes)) => return Ok((!bytes.is_empty()).then_some(bytes)),
        Ok(FoundFile::Unusable(problem)) => return Err(problem),
        Ok(FoundFile::Nothing) => {}
        Err(error) => {
            tracing::debug!(job.id = %run.job.id, %error, "could not read a result on the host; asking the engine for it");
        }
    }
    let path = format!("/{}/{RESULT_FILE}", run.job.entrypoint);
    match site.engine.copy_from_container(container, &path, most).await {
        Ok(bytes) => Ok(bytes),
        Err(EngineError::BadFile { problem, .. }) => Err(problem),
        Err(error) => Err(format!("could not be read: {error}")),
    }
}

async fn store(site: &Site, run: &Run, bytes: Bytes) -> Result<String, StoreError> {
    let key = format!("{}/analysis.json", run.job.id);
    let kind = "application/json";
    let stored = site.store.put(Bucket::Results, &key, bytes, kind, Condition::None).await;
    if let Err(error) = &stored {
        tracing::warn!(job.id = %run.job.id, %error, "could not store a result");
    }
    stored.map(|_| key)
}
