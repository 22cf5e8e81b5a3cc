//! The result that the code of a terminating run left in `result.json`.

use bytes::Bytes;
use serde_json::Value;

use super::archive::RESULT_FILE;
use super::directory::{FoundFile, JobDirectory};
use super::docker_runner::DockerRunner;
use super::managed::Run;
use super::orchestrator::EngineError;
use super::verdict::{self, ResultFile};
use crate::logs::{MASKED, Mask};
use crate::storage::{Bucket, Condition, StoreError};

/// A result file as the verdict sees it, and what became of it.
pub(super) struct CollectedResult {
    pub(super) judged: ResultFile,
    /// Whether it fits into the event.
    fits: bool,
    /// Its key in the results bucket, or why it is not there, where it should be.
    pub(super) stored: Option<Result<String, StoreError>>,
}

impl CollectedResult {
    fn of(judged: ResultFile) -> Self {
        Self { judged, fits: false, stored: None }
    }

    fn unusable(problem: String) -> Self {
        Self::of(ResultFile::Unusable(problem))
    }

    /// The value for the event, where it fits.
    pub(super) fn take_inline(&mut self) -> Option<Value> {
        match std::mem::replace(&mut self.judged, ResultFile::Absent) {
            ResultFile::Valid(value) if self.fits => Some(value),
            _ => None,
        }
    }
}

/// Collects the result of a run that has ended, and stores it where it is to be kept or too large
/// for the event.
pub(super) async fn collect(
    runner: &DockerRunner,
    run: &Run,
    directory: &JobDirectory,
    container: &str,
    mask: Mask,
) -> CollectedResult {
    if run.job.is_long_running {
        return CollectedResult::of(ResultFile::NotExpected);
    }
    let bytes = match read(runner, run, directory, container).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return CollectedResult::of(ResultFile::Absent),
        Err(problem) => return CollectedResult::unusable(format!("{RESULT_FILE} {problem}")),
    };
    // A large result is work for a while, which must not hold up the broker's heartbeats.
    let read = tokio::task::spawn_blocking(move || masked(bytes, &mask)).await;
    let (judged, bytes) = match read {
        Ok(read) => read,
        Err(error) => {
            return CollectedResult::unusable(format!("{RESULT_FILE} broke its reader: {error}"));
        }
    };
    let fits = match &judged {
        ResultFile::Valid(value) => verdict::fits_inline(&bytes, value),
        _ => false,
    };
    let is_kept = matches!(judged, ResultFile::Valid(_)) && (run.job.persist_results || !fits);
    let stored = if is_kept { Some(store(runner, run, bytes).await) } else { None };
    CollectedResult { judged, fits, stored }
}

/// A result without the run's secrets: as the code wrote it where there are none in it. Pure.
fn masked(bytes: Bytes, mask: &Mask) -> (ResultFile, Bytes) {
    let mut value = match verdict::read_result(Some(&bytes)) {
        ResultFile::Valid(value) => value,
        unusable => return (unusable, bytes),
    };
    let bytes = if mask.json(&mut value) { Bytes::from(value.to_string()) } else { bytes };
    if mask.is_in(&bytes) {
        // Its values spell a secret together.
        value = MASKED.into();
        return (ResultFile::Valid(value), Bytes::from(format!("\"{MASKED}\"")));
    }
    (ResultFile::Valid(value), bytes)
}

/// The file's content, or what is wrong with it.
async fn read(
    runner: &DockerRunner,
    run: &Run,
    directory: &JobDirectory,
    container: &str,
) -> Result<Option<Bytes>, String> {
    let most = runner.settings.max_result_bytes;
    // The directory is bound into the container. The engine, which starts a process of its own for
    // a copy, is asked only where the file is not there or not ours to read.
    match directory.read(RESULT_FILE, most).await {
        // It was put there empty, for the code to write.
        Ok(FoundFile::Regular(bytes)) => return Ok((!bytes.is_empty()).then_some(bytes)),
        Ok(FoundFile::Unusable(problem)) => return Err(problem),
        Ok(FoundFile::Nothing) => {}
        Err(error) => tracing::debug!(job.id = %run.job.id, %error, "read result on the host"),
    }
    let path = format!("/{}/{RESULT_FILE}", run.job.entrypoint);
    match runner.engine.copy_from_container(container, &path, most).await {
        Ok(bytes) => Ok(bytes),
        Err(EngineError::BadFile { problem, .. }) => Err(problem),
        Err(error) => Err(format!("could not be read: {error}")),
    }
}

async fn store(runner: &DockerRunner, run: &Run, bytes: Bytes) -> Result<String, StoreError> {
    let key = format!("{}/analysis.json", run.job.id);
    let kind = "application/json";
    let stored = runner.store.put(Bucket::Results, &key, bytes, kind, Condition::None).await;
    if let Err(error) = &stored {
        tracing::warn!(job.id = %run.job.id, %error, "store result");
    }
    stored.map(|_| key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str, secrets: &[&str]) -> (Value, String) {
        let mask = Mask::new(secrets.iter().copied());
        let (judged, bytes) = masked(Bytes::from(text.to_owned()), &mask);
        let ResultFile::Valid(value) = judged else { panic!("{judged:?}") };
        (value, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_result_without_secrets_stays_as_the_code_wrote_it() {
        let text = "{ \"b\": 1.50,\n \"a\": \"hunter\" }";
        let (value, bytes) = read(text, &["hunter22"]);
        assert_eq!((value, bytes.as_str()), (json!({"b": 1.5, "a": "hunter"}), text));
    }

    #[test]
    fn secrets_are_masked_in_what_is_judged_and_in_what_is_stored() {
        let text = r#"{"message": "with \u0068unter22", "hunter22": [1]}"#;
        let (value, bytes) = read(text, &["hunter22"]);
        assert_eq!(value, json!({"message": "with [masked]", "[masked]": [1]}));
        assert_eq!(serde_json::from_str::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn values_that_spell_a_secret_together_are_masked_as_one() {
        let (value, bytes) = read("{\"a\": [1,2,3,4]}", &["1,2,3"]);
        assert_eq!((value, bytes.as_str()), (json!("[masked]"), "\"[masked]\""));
    }

    #[test]
    fn what_is_no_json_says_where_and_not_what() {
        let (judged, _) =
            masked(Bytes::from_static(b"{\"a\": hunter22}"), &Mask::new(["hunter22"]));
        let ResultFile::Unusable(problem) = judged else { panic!("{judged:?}") };
        assert!(problem.contains("line 1") && !problem.contains("hunter"), "{problem}");
    }
}
