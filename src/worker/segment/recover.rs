//! Takes up what a segment's last owner left: bots that run on, runs that ended meanwhile, runs whose
//! container is gone.
//!
//! Every record that is taken up is written anew under our ownership first. So whatever its last
//! owner still has in mind for it comes to nothing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::continuation::{Continuation, continuation};
use crate::job::{JobId, Run, Verdict, sentence};
use crate::runner::labels::Identity;
use crate::runner::orchestrator::{ContainerInfo, EngineError};
use crate::storage::{ETag, JobRecord, Journal, JournalError, RecordState, SegmentIndex};
use crate::worker::active::StopOrder;
use crate::worker::context::{Context, Tools};
use crate::worker::decide;
use crate::worker::message::validate::job_of;
use crate::worker::ownership::tenure::Tenure;
use crate::worker::recipe::run_claimed;
use crate::worker::run::account::Claimed;
use crate::worker::run::ending;
use crate::worker::run::execute::Begin;
use crate::worker::run::outbox::Outbox;

/// Between SIGTERM and SIGKILL where a stop is followed whose message is gone: the default of one.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a segment could not be taken up. It is tried again, for its jobs wait.
#[derive(Debug, thiserror::Error)]
pub(in crate::worker) enum RecoverError {
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine could not be asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Takes up what a settled segment has that nobody has in hand. Its last owner may have written on
/// until it noticed that it was none any more; a start that was looked at just then may have come to
/// nothing; or an ended run's last traces could not be removed.
pub(in crate::worker) async fn look_again(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
) -> Result<(), RecoverError> {
    let index = ctx.tools.journal.segment_index(tenure.segment).await?;
    remember_unconfirmed(&ctx.tools.outbox, tenure, &index);
    if index.jobs.iter().any(|id| !ctx.known.active.has(id)) {
        recover(ctx, tenure).await
    } else {
        Ok(())
    }
}

/// Takes up the segment's jobs that nobody has in hand; each goes on by itself. May be called again.
pub(in crate::worker) async fn recover(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
) -> Result<(), RecoverError> {
    let segment = tenure.segment;
    let Context { tools, known, .. } = &**ctx;
    let (mut containers, outdated) = by_run(tools.runner.list_managed_containers(segment).await?);
    for (info, labels) in outdated {
        if !known.active.has(&labels.id) {
            tools.runner.site().remove_leftover(&info.id).await;
        }
    }
    let index = tools.journal.segment_index(segment).await?;
    remember_unconfirmed(&tools.outbox, tenure, &index);
    let mut looked_at = HashSet::new();
    for id in index.jobs {
        if known.active.has(&id) {
            containers.retain(|(job, _), _| *job != id);
            continue;
        }
        looked_at.insert(id.clone());
        let found = tools.journal.read(&id).await?;
        if found.as_ref().is_some_and(|(record, _)| is_a_later_owners(record, tenure)) {
            tracing::info!(segment, job.id = %id, "left a job to the segment's next owner");
            return Ok(());
        }
        let ours = found.filter(|(record, _)| record.segment == segment);
        let container = ours
            .as_ref()
            .and_then(|(record, _)| containers.remove(&(id.clone(), record.run_id.to_string())));
        match ours {
            Some((record, etag)) if record.state != RecordState::Finished => {
                take_up(ctx, tenure, record, etag, container).await?;
            }
            finished => {
                if let Some((info, _)) = container {
                    tools.runner.site().remove_leftover(&info.id).await;
                }
                if let Some((record, _)) = finished
                    && !tidy_finished(tools, tenure, &record).await
                {
                    continue;
                }
                // What somebody else enters after us is not ours to remove.
                if tenure.proven().await.is_err() {
                    return Ok(());
                }
                tools.journal.remove_from_segment(segment, &id).await?;
            }
        }
    }
    for ((job, _), (info, _)) in containers {
        // A job that was taken up just now has its own container by now: this one is another run's.
        if looked_at.contains(&job) || !known.active.has(&job) {
            tracing::warn!(job.id = %job, container.id = %info.id, "removing a container that no record names");
            tools.runner.site().remove_leftover(&info.id).await;
        }
    }
    Ok(())
}

/// Whether a record was written by an owner of the segment who came after us. Until we notice, we
/// must not take from it what it has in hand.
fn is_a_later_owners(record: &JobRecord, tenure: &Tenure) -> bool {
    record.segment == tenure.segment && record.epoch > tenure.epoch
}

/// Takes into mind which results of the segment the broker has not confirmed.
fn remember_unconfirmed(outbox: &Outbox, tenure: &Arc<Tenure>, index: &SegmentIndex) {
    for key in &index.unconfirmed {
        outbox.remember(tenure, key);
    }
}

/// Ends what the last owner began with a run that it settled: its directories, its result event.
/// Gives whether the event is safe.
async fn tidy_finished(tools: &Tools, tenure: &Arc<Tenure>, record: &JobRecord) -> bool {
    if let Ok((job, _)) = job_of(tools, record) {
        let run = Run { job: Arc::new(job), attempt: record.attempt, segment: record.segment };
        tools.runner.site().remove_leftover_directories(&run, None).await;
    }
    ending::publish_again(tools, tenure, record).await
}

type Found = (ContainerInfo, Identity);

/// The newest container of each run, and those of earlier attempts.
fn by_run(found: Vec<Found>) -> (HashMap<(JobId, String), Found>, Vec<Found>) {
    let mut newest: HashMap<(JobId, String), Found> = HashMap::new();
    let mut outdated = Vec::new();
    for one in found {
        let key = (one.1.id.clone(), one.1.run_id.to_string());
        match newest.entry(key) {
            Entry::Vacant(place) => {
                place.insert(one);
            }
            Entry::Occupied(mut place) if place.get().1.attempt < one.1.attempt => {
                outdated.push(place.insert(one));
            }
            Entry::Occupied(_) => outdated.push(one),
        }
    }
    (newest, outdated)
}

async fn take_up(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
    record: JobRecord,
    etag: ETag,
    container: Option<Found>,
) -> Result<(), RecoverError> {
    let (job, beyond) = match job_of(&ctx.tools, &record) {
        Ok((job, beyond)) => (Arc::new(job), beyond),
        Err(error) => {
            tracing::error!(job.id = %record.id, %error, "skipped a record whose message is no longer valid");
            return Ok(());
        }
    };
    let Ok(guard) = ctx.known.active.begin(&job.id, &job.run_id) else {
        return Ok(());
    };
    let left =
        container.as_ref().map(|(info, labels)| (info.id.as_str(), info.state, labels.attempt));
    let next = continuation(&job, &record, left);
    let Some((record, etag)) = make_ours(&ctx.tools.journal, tenure, record, &etag, &next).await?
    else {
        tracing::info!(job.id = %job.id, "left a job to the worker that claimed it first");
        return Ok(());
    };
    guard.run.claim(tenure);
    // After the job is ours, for a stop is noted before it looks whose the job is.
    if let Some(stop) = ctx.tools.journal.tombstone(&job.id).await?
        && decide::ends(&stop, &record)
    {
        guard.run.request_stop(StopOrder { reason: stop.reason, timeout: STOP_TIMEOUT });
    }
    tracing::info!(job.id = %job.id, continuation = ?next, "took up a job");
    let segment = tenure.segment;
    let before = Run { job: Arc::clone(&job), attempt: record.attempt, segment };
    let kept = match &next {
        Continuation::Adopt { attempt, .. } => Some(*attempt),
        Continuation::Launch { .. } | Continuation::Lost => None,
    };
    if let Some((info, _)) = container.filter(|_| kept.is_none()) {
        ctx.tools.runner.site().remove_leftover(&info.id).await;
    }
    ctx.tools.runner.site().remove_leftover_directories(&before, kept).await;
    let (begin, attempt) = match next {
        Continuation::Adopt { container, attempt } => (Begin::Adopt(container), attempt),
        Continuation::Launch { attempt } => {
            if let Some(error) = beyond {
                let claimed = Claimed { run: before, tenure: Arc::clone(tenure), record, etag };
                let why = sentence::beyond_the_settings(&error);
                ending::settle_unrun(ctx, &guard.run, claimed, Verdict::Rejected, why).await;
                return Ok(());
            }
            (Begin::Launch, attempt)
        }
        Continuation::Lost => {
            let message = sentence::all_attempts_lost(record.attempt);
            let claimed = Claimed { run: before, tenure: Arc::clone(tenure), record, etag };
            ending::settle_unrun(ctx, &guard.run, claimed, Verdict::Lost, message).await;
            return Ok(());
        }
    };
    let run = Run { job: Arc::clone(&job), attempt, segment };
    let claimed = Claimed { run, tenure: Arc::clone(tenure), record, etag };
    let (is_long_running, ctx) = (job.is_long_running, Arc::clone(ctx));
    ctx.clone().drain.spawn_run(is_long_running, async move {
        // What runs already runs on, whatever the limits say now; what must start waits its turn.
        guard.run.occupy(match begin {
            Begin::Adopt(_) => ctx.known.slots.try_take(is_long_running),
            Begin::Launch => ctx.known.slots.take(is_long_running).await,
        });
        run_claimed(ctx, claimed, begin, guard).await;
    });
    Ok(())
}

/// Writes the record under our ownership; none where somebody else has written it meanwhile. A run
/// that was put aside is active again: its message may be on its way all the same, and must find
/// that somebody has it.
async fn make_ours(
    journal: &Journal,
    tenure: &Tenure,
    mut record: JobRecord,
    etag: &ETag,
    next: &Continuation,
) -> Result<Option<(JobRecord, ETag)>, RecoverError> {
    record.epoch = tenure.epoch;
    if record.state == RecordState::Active
        && let Continuation::Adopt { attempt, .. } | Continuation::Launch { attempt } = next
    {
        // How many tries had failed is not known: the last owner may have died of something else.
        record.first_try = *attempt;
    }
    record.state = RecordState::Active;
    let written = journal.replace(&record, etag).await?;
    Ok(written.map(|etag| (record, etag)))
}
