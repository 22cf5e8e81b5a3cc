//! Series: what a program measures, said in lines of its output. Pure.

mod book;
mod point;

pub use book::{Book, SeriesBounds, SeriesSummary, Taken};
pub use point::{At, MAX_SERIES_NAME, Measured, PROGRESS_SERIES, Point, read_points};

use crate::{JobId, RunId};

/// What the keys of a run's series begin with, in the results bucket.
#[must_use]
pub fn series_prefix(job: &JobId, run: &RunId) -> String {
    format!("{job}/{run}/series/")
}

/// The key of the series of one attempt.
#[must_use]
pub fn series_key(job: &JobId, run: &RunId, attempt: u32) -> String {
    format!("{}{attempt}.jsonl", series_prefix(job, run))
}

/// The attempt whose series have this key.
#[must_use]
pub fn attempt_of(key: &str) -> Option<u32> {
    key.rsplit('/').next()?.strip_suffix(".jsonl")?.parse().ok()
}
