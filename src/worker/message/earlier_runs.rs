//! The ends of a job's earlier runs. A job has one record: that of its latest run. Before the next
//! run's record replaces it, its end is stored. So a later start of the earlier run gets that end
//! and does not run again.
//!
//! The write of the record alone decides which run is the job's current one. A run is replaced if
//! its end is stored *and* the record belongs to another run. So storing an end without then
//! writing the record changes nothing.

use std::sync::Arc;

use super::validate::job_of;
use crate::job::{Event, ExecutionResult, MessageError, Run, RunId, Verdict, sentence};
use crate::storage::{JobRecord, JournalError};
use crate::worker::context::Tools;
use crate::worker::ownership::tenure::Tenure;
use crate::worker::run::ending;
use crate::worker::run::reporter::Reporter;

/// Stores the end of a run whose record will be replaced by that of the run `by`.
///
/// Publishes its result again, because its owner may have died before publishing it, and the
/// segment's next owner would no longer find it. A run without a result waits to be tried again,
/// and the broker has its message. When that comes, its answer is that the run was cancelled.
pub(in crate::worker) async fn keep_end(
    tools: &Tools,
    tenure: &Arc<Tenure>,
    old: &JobRecord,
    by: &RunId,
) -> Result<(), JournalError> {
    if let Some(event) = &old.result {
        tools.journal.keep_end(old, event).await?;
        if tools.journal.is_entered(old).await? {
            ending::publish_again(tools, tenure, old).await;
        }
        return Ok(());
    }
    match cancelled(tools, old, by) {
        Ok(event) => tools.journal.keep_first_end(old, &event).await,
        Err(error) => {
            // Its message is also refused when it comes.
            tracing::warn!(job.id = %old.id, run.id = %old.run_id, %error, "could not keep the result of a job's previous run");
            Ok(())
        }
    }
}

fn cancelled(tools: &Tools, old: &JobRecord, by: &RunId) -> Result<Event, MessageError> {
    let (job, _) = job_of(tools, old)?;
    let run = Run { job: Arc::new(job), attempt: old.attempt, segment: old.segment, is_new: false };
    let result = ExecutionResult::failed(
        &run,
        tools.runner.worker(),
        Verdict::Cancelled,
        sentence::gave_way(by),
    );
    let traceparent = old.message.traceparent.clone();
    Ok(Reporter::new(tools.publisher.clone(), run, traceparent).result_event(result))
}
