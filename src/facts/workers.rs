//! The workers that hold segments. Pure.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{SegmentReport, SegmentState};

/// A worker that holds segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WorkerReport {
    /// Its name.
    pub worker: String,
    /// The segments that it holds.
    pub segments: Vec<u32>,
    /// How many jobs it has.
    pub jobs: usize,
    /// The host of its containers.
    pub host: String,
    /// The engine of its containers.
    pub engine: String,
    /// Since when it has held its first segment.
    pub since: Timestamp,
}

/// The workers of these segments, by their names.
#[must_use]
pub fn by_worker(segments: Vec<SegmentReport>) -> Vec<WorkerReport> {
    let mut workers: Vec<WorkerReport> = Vec::new();
    for segment in segments.into_iter().filter(|one| one.state == SegmentState::Held) {
        let known = workers
            .iter_mut()
            .find(|known| known.worker == segment.worker && known.host == segment.host);
        match known {
            Some(known) => {
                known.segments.push(segment.segment);
                known.jobs += segment.jobs;
                known.since = known.since.min(segment.claimed_at);
            }
            None => workers.push(WorkerReport {
                worker: segment.worker,
                segments: vec![segment.segment],
                jobs: segment.jobs,
                host: segment.host,
                engine: segment.engine,
                since: segment.claimed_at,
            }),
        }
    }
    workers.sort_by(|a, b| a.worker.cmp(&b.worker));
    workers
}
