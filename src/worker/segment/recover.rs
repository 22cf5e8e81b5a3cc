//! Adopts what a segment's last owner left: bots that still run, runs that have ended, runs whose
//! container is gone.
//!
//! Every adopted record is first rewritten under our ownership. So late writes of its last owner
//! fail.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::patience::Patience;
use super::take_up::{Found, RecoverError, take_up};
use crate::job::{JobId, Run, RunId};
use crate::storage::{IndexEntry, JobRecord, RecordState, SegmentIndex};
use crate::worker::context::{Context, Tools};
use crate::worker::message::validate::job_of;
use crate::worker::ownership::tenure::Tenure;
use crate::worker::run::ending;
use crate::worker::run::outbox::Outbox;

/// How many jobs are adopted at a time.
const AT_A_TIME: usize = 16;

/// Adopts jobs of a settled segment that are not active here. Its last owner may have written until
/// it noticed the takeover; a start that was handled at that moment may have failed; or an ended
/// run's last traces could not be removed. Returns whether nothing is left in the segment.
pub(super) async fn look_again(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
    patience: &mut Patience,
) -> Result<bool, RecoverError> {
    let index = patience.within(ctx.tools.journal.segment_index(tenure.segment)).await?;
    remember_unconfirmed(&ctx.tools.outbox, tenure, &index);
    if index.entries.iter().any(|entry| !ctx.known.active.covers(entry)) {
        recover(ctx, tenure).await?;
    }
    Ok(index.is_empty())
}

/// Adopts the segment's jobs that are not active here. Each goes on by itself. It may be called
/// again.
pub(in crate::worker) async fn recover(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
) -> Result<(), RecoverError> {
    let segment = tenure.segment;
    let Context { tools, known, .. } = &**ctx;
    let (mut containers, outdated) = by_job(tools.runner.list_managed_containers(segment).await?);
    for (info, labels) in outdated {
        if !known.active.has(&labels.id) {
            tools.runner.remove_leftover(&info.id).await;
        }
    }
    let index = tools.journal.segment_index(segment).await?;
    remember_unconfirmed(&tools.outbox, tenure, &index);
    let mut entered: BTreeMap<JobId, Vec<IndexEntry>> = BTreeMap::new();
    for entry in index.entries.into_iter().filter(|entry| !known.active.covers(entry)) {
        entered.entry(entry.job.clone()).or_default().push(entry);
    }
    let each = entered.into_iter().map(|(id, entries)| {
        // Of an active job only what an earlier claim left in the index is looked at.
        let left = if known.active.has(&id) { None } else { containers.remove(&id) };
        let left = left.unwrap_or_default();
        recover_job(ctx, tenure, id, entries, left)
    });
    let mut recovering = stream::iter(each).buffer_unordered(AT_A_TIME);
    let mut failed = None;
    while let Some(recovered) = recovering.next().await {
        match recovered {
            Ok(Recovered::Done) => {}
            Ok(Recovered::LaterOwner) => return Ok(()),
            // The others go on first.
            Err(error) => failed = Some(error),
        }
    }
    drop(recovering);
    if let Some(error) = failed {
        return Err(error);
    }
    for (job, left) in containers {
        // A job that was just adopted has its own container by now, so this one belongs to another
        // run.
        if !known.active.has(&job) {
            remove_unnamed(tools, &job, left).await;
        }
    }
    Ok(())
}

/// What became of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovered {
    /// It goes on, has ended, or was left alone.
    Done,
    /// The segment has a later owner than us.
    LaterOwner,
}

/// Adopts one job that is not active here, of which the index has these entries, and of which these
/// containers are left.
async fn recover_job(
    ctx: &Arc<Context>,
    tenure: &Arc<Tenure>,
    id: JobId,
    entries: Vec<IndexEntry>,
    mut left: BTreeMap<RunId, Found>,
) -> Result<Recovered, RecoverError> {
    let (segment, tools) = (tenure.segment, &ctx.tools);
    let found = match tools.journal.read(&id).await {
        Err(error) if error.is_corrupt() => {
            // Its container is left alone, for nobody knows what it is.
            tracing::error!(segment, job.id = %id, %error, "left a job alone, because its record cannot be read");
            return Ok(Recovered::Done);
        }
        found => found?,
    };
    if found.as_ref().is_some_and(|(record, _)| is_a_later_owners(record, tenure)) {
        tracing::info!(segment, job.id = %id, "left a job to the segment's next owner");
        return Ok(Recovered::LaterOwner);
    }
    // A record of another claim is another segment's, or of a run that has ended or is about to begin. A
    // claim without a record was not finished: its start comes again.
    let is_entered = |record: &JobRecord| entries.contains(&record.entry());
    let ours = found.filter(|(record, _)| record.segment == segment && is_entered(record));
    // The listing may be older than the end of the run. A run of ours is removed from the index
    // before it is no longer active. So a run that is not in the index needs nothing.
    if let Some((record, _)) = &ours
        && record.state != RecordState::Active
        && !tools.journal.is_entered(record).await?
    {
        return Ok(Recovered::Done);
    }
    let container = ours.as_ref().and_then(|(record, _)| left.remove(&record.run_id));
    remove_unnamed(tools, &id, left).await;
    match ours {
        Some((record, etag)) if record.state != RecordState::Finished => {
            match take_up(ctx, tenure, record, etag, container).await {
                Err(RecoverError::Journal(error)) if error.is_corrupt() => {
                    tracing::error!(segment, job.id = %id, %error, "left a job alone, because its stops cannot be read");
                }
                taken => taken?,
            }
        }
        finished => {
            if let Some((info, _)) = container {
                tools.runner.remove_leftover(&info.id).await;
            }
            if let Some((record, _)) = finished
                && !tidy_finished(tools, tenure, &record).await
            {
                return Ok(Recovered::Done);
            }
            // The next owner looks after what is left.
            if tenure.proven().await.is_err() {
                return Ok(Recovered::LaterOwner);
            }
            for entry in &entries {
                tools.journal.leave(segment, entry).await?;
            }
        }
    }
    Ok(Recovered::Done)
}

/// Removes containers of a job's runs that its record does not name.
async fn remove_unnamed(tools: &Tools, job: &JobId, left: BTreeMap<RunId, Found>) {
    for (info, _) in left.into_values() {
        tracing::warn!(job.id = %job, container.id = %info.id, "removing a container that no record names");
        tools.runner.remove_leftover(&info.id).await;
    }
}

/// Whether a later owner of the segment wrote a record. Until we notice that owner, we must not
/// take its jobs.
fn is_a_later_owners(record: &JobRecord, tenure: &Tenure) -> bool {
    record.segment == tenure.segment && record.epoch > tenure.epoch
}

/// Notes which results of the segment the broker has not confirmed.
fn remember_unconfirmed(outbox: &Outbox, tenure: &Arc<Tenure>, index: &SegmentIndex) {
    for key in &index.unconfirmed {
        outbox.remember(tenure, key);
    }
}

/// Finishes what the last owner began with a run that it settled: its directories, its result
/// event. Returns whether the event is safe.
async fn tidy_finished(tools: &Tools, tenure: &Arc<Tenure>, record: &JobRecord) -> bool {
    if let Ok((job, _)) = job_of(tools, record) {
        let run = Run {
            job: Arc::new(job),
            attempt: record.attempt,
            segment: record.segment,
            is_new: false,
        };
        tools.runner.remove_leftover_directories(&run, None).await;
    }
    ending::publish_again(tools, tenure, record).await
}

/// The newest container of each run of each job, and those of earlier attempts.
fn by_job(found: Vec<Found>) -> (BTreeMap<JobId, BTreeMap<RunId, Found>>, Vec<Found>) {
    let mut newest: BTreeMap<JobId, BTreeMap<RunId, Found>> = BTreeMap::new();
    let mut outdated = Vec::new();
    for one in found {
        match newest.entry(one.1.id.clone()).or_default().entry(one.1.run_id.clone()) {
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
