//! `longshore result`.

use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::output::{print_json, warn};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::{Context, Failure, Outcome};
use crate::facts::{Known, find_outcome};
use crate::job::sweep::SweepSummary;
use crate::job::{EventData, ExecutionResult, JobId, RunId, Verdict};
use crate::storage::{Bucket, Journal, ObjectStore as _, RecordState, S3Store, StoreError};

/// Print the result of a job's latest run as JSON.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore result my-backtest-1
  longshore result my-backtest-1 | jq .sharpe
  longshore result my-backtest-1 --run-id nightly-7

It prints what the code returned, and nothing else. A result that was too large
for an event is fetched from the store. Of a sweep it prints how many configs
ended how, the best rows, and the keys of the tables.

Exit codes: 0 the run succeeded or was stopped, and here is its result; 10 to 16
it ended otherwise (see longshore --help), with its result if it has one; 1 it
ended well without a result, or there is no such run; 3 it has not ended yet.")]
pub struct ResultArguments {
    /// The job
    id: JobId,
    /// This run of it, instead of the latest
    #[arg(long, value_name = "ID")]
    run_id: Option<RunId>,
}

/// What there is of a sweep: its rows are in the tables.
#[derive(Serialize)]
struct Swept<'a> {
    sweep: &'a SweepSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    csv_key: Option<&'a str>,
}

/// The exit code while a run goes on.
const NOT_YET: u8 = 3;

pub(super) async fn run(arguments: &ResultArguments, context: &Context) -> Outcome {
    let (settings, namespace, max_bytes) = context.settings(Voice::Tool, |reader| {
        (reader.store(), reader.namespace(), reader.max_result_bytes())
    })?;
    let store = Arc::new(S3Store::new(&settings)?);
    let journal = Journal::new(Arc::clone(&store) as _, namespace);
    let id = &arguments.id;
    match find_outcome(&journal, id, arguments.run_id.as_ref()).await? {
        Known::Ended { event, is_latest } => {
            let EventData::Result(result) = event.data else {
                return Err(Failure::of(format!("the end of {id} in the journal is no result")));
            };
            tell(&store, id, &result, is_latest, max_bytes).await
        }
        Known::GoesOn(state) => {
            let why = match state {
                RecordState::Waiting => "it waits for its next attempt",
                RecordState::Active | RecordState::Finished => "a worker has it",
            };
            warn(&format!("{id} has not ended yet: {why}; longshore show {id} tells more"));
            Ok(NOT_YET)
        }
        Known::Nothing => Err(Failure::of(match &arguments.run_id {
            Some(run) => format!("the journal knows no run {run} of {id}"),
            None => {
                format!("the journal knows no run of {id}; longshore show {id} says what may be")
            }
        })),
    }
}

/// Prints the result, or says why there is none. Returns the exit code.
async fn tell(
    store: &S3Store,
    id: &JobId,
    result: &ExecutionResult,
    is_latest: bool,
    max_bytes: u64,
) -> Outcome {
    let code = result.verdict.map_or(1, Verdict::process_exit_code);
    if let Some(value) = &result.result {
        print_json(value)?;
        return Ok(code);
    }
    if let Some(sweep) = &result.sweep {
        let objects = &result.objects;
        let (rows_key, csv_key) = (objects.rows_key.as_deref(), objects.csv_key.as_deref());
        print_json(&Swept { sweep, rows_key, csv_key })?;
        return Ok(code);
    }
    let Some(key) = &result.objects.result_key else {
        let verdict = result.verdict.map_or("running", Verdict::as_str);
        let why = one_line(&result.message);
        warn(&format!("{id} has no result: {verdict}: {why}"));
        return Ok(code.max(1));
    };
    let bucket = store.bucket_name(Bucket::Results);
    if !is_latest {
        return Err(Failure::of(format!(
            "the result of this run was too large for an event, and the object {key} in {bucket} \
             is of a later run now"
        )));
    }
    let bytes = match store.get(Bucket::Results, key, max_bytes).await {
        Ok(object) => object.bytes,
        Err(error @ StoreError::TooLarge { .. }) => {
            return Err(Failure::Failed {
                error: error.into(),
                remedy: Some("set RESULT_MAX_MB as the workers have it".to_owned()),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8(bytes.to_vec()).map_err(anyhow::Error::from)?;
    print_json(&RawValue::from_string(text).map_err(anyhow::Error::from)?)?;
    Ok(code)
}
