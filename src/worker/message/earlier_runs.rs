//! The ends of a job's earlier runs. A job has one record, its latest run's; before that gives way to
//! the next run's, its end is kept, so that a start of it that comes later is answered with it and
//! does not run again.
//!
//! Which run the job is at is decided by the write of the record alone. A run has given way if its end
//! is kept *and* the record is another run's: whoever kept an end and then was not the one to write the
//! record has changed nothing.

use std::sync::Arc;

use super::validate::job_of;
use crate::job::{Event, ExecutionResult, MessageError, Run, RunId, Verdict, sentence};
use crate::storage::{JobRecord, JournalError};
use crate::worker::context::Tools;
use crate::worker::ownership::tenure::Tenure;
use crate::worker::run::ending;
use crate::worker::run::reporter::Reporter;

/// Keeps the end of a run whose record is about to give way to that of the run `by`.
///
/// Publishes a result that its owner may have died before it published: who takes up the segment
/// would not find it any more. A run without one waits to be tried again, and its message is with the
/// broker: when it comes, it is told that it was cancelled.
pub(in crate::worker) async fn keep_end(
    tools: &Tools,
    tenure: &Arc<Tenure>,
    old: &JobRecord,
    by: &RunId,
) -> Result<(), JournalError> {
    if let Some(event) = &old.result {
        tools.journal.keep_end(old, event).await?;
        if tools.journal.is_in_segment(old.segment, &old.id).await? {
            ending::publish_again(tools, tenure, old).await;
        }
        return Ok(());
    }
    match cancelled(tools, old, by) {
        Ok(event) => tools.journal.keep_first_end(old, &event).await,
        Err(error) => {
            // Its message is refused when it comes, too.
            tracing::warn!(job.id = %old.id, run.id = %old.run_id, %error, "could not keep the result of a job's previous run");
            Ok(())
        }
    }
}

fn cancelled(tools: &Tools, old: &JobRecord, by: &RunId) -> Result<Event, MessageError> {
    let (job, _) = job_of(tools, old)?;
    let run = Run { job: Arc::new(job), attempt: old.attempt, segment: old.segment };
    let result = ExecutionResult::failed(
        &run,
        tools.runner.worker(),
        Verdict::Cancelled,
        sentence::gave_way(by),
    );
    let traceparent = old.message.traceparent.clone();
    Ok(Reporter::new(tools.publisher.clone(), run, traceparent).result_event(result))
}
