//! What is left to run, into the job's directory.

use std::io;

use sha2::{Digest as _, Sha256};

use super::chunk;
use super::files::{Order, write_configs};
use crate::job::sweep::{Configs, Source, Sweep, SweepRow, read_lines};
use crate::job::{Run, Verdict};
use crate::runner::directory::JobDirectory;
use crate::runner::failure::RunFailure;
use crate::runner::site::Site;
use crate::storage::{Bucket, StoreError};

/// Writes the configs of a sweep that no stored chunk has, for the launcher. Nothing for other runs.
pub(in crate::runner) async fn prepare(
    site: &Site,
    run: &Run,
    directory: &JobDirectory,
) -> Result<(), RunFailure> {
    let Some(sweep) = run.job.sweep.clone() else { return Ok(()) };
    let configs = configs_of(site, &sweep).await?;
    let total = configs.count().unwrap_or_default();
    let mut done = Done::none_of(total);
    let unreadable = |error: StoreError| RunFailure::Unavailable(format!("reading rows: {error}"));
    for key in chunk::list(site, run).await.map_err(unreadable)? {
        done.note(&chunk::read(site, run, &key).await.map_err(unreadable)?);
    }
    if done.count > 0 {
        tracing::info!(job.id = %run.job.id, run.id = %run.job.run_id, done = done.count, total, "goes on with a sweep");
    }
    let order = Order::of(&run.job, &sweep, total, done.failed);
    let (root, turn) = (directory.root().to_owned(), directory.turn().await);
    let writing = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        write_configs(&root, &order, &configs, |index| done.has(index))
    });
    let written = writing.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    written.map_err(|error| RunFailure::Unavailable(format!("writing the configs: {error}")))
}

/// Which configs have a row already.
struct Done {
    has: Vec<bool>,
    count: u64,
    failed: u64,
}

impl Done {
    fn none_of(total: u64) -> Self {
        let has = vec![false; usize::try_from(total).unwrap_or_default()];
        Self { has, count: 0, failed: 0 }
    }

    fn note(&mut self, chunk: &[u8]) {
        for line in chunk.split(|byte| *byte == b'\n') {
            let Ok(row) = serde_json::from_slice::<SweepRow>(line) else { continue };
            let at = usize::try_from(row.index).ok().and_then(|index| self.has.get_mut(index));
            if let Some(has) = at.filter(|has| !**has) {
                *has = true;
                self.count += 1;
                self.failed += u64::from(row.verdict != Verdict::Succeeded);
            }
        }
    }

    fn has(&self, index: u64) -> bool {
        usize::try_from(index).ok().and_then(|index| self.has.get(index)).copied().unwrap_or(true)
    }
}

async fn configs_of(site: &Site, sweep: &Sweep) -> Result<Configs, RunFailure> {
    let (key, sha256) = match &sweep.source {
        Source::Message(configs) => return Ok(configs.clone()),
        Source::Object { key, sha256 } => (key, sha256),
    };
    let rejected =
        |problem: &str| RunFailure::Rejected(format!("sweep.configs_key: {key:?} {problem}"));
    let object = match site.store.get(Bucket::Code, key, sweep.bounds.max_bytes).await {
        Ok(object) => object,
        Err(StoreError::TooLarge { max_bytes, .. }) => {
            let problem = format!("has more than {} MiB (SWEEP_MAX_MB)", max_bytes >> 20);
            return Err(rejected(&problem));
        }
        Err(error @ (StoreError::NotFound { .. } | StoreError::InvalidKey { .. })) => {
            return Err(RunFailure::Rejected(format!("sweep.configs_key: {error}")));
        }
        Err(error) => return Err(RunFailure::Unavailable(error.to_string())),
    };
    if let Some(expected) = sha256
        && hex::encode(Sha256::digest(&object.bytes)) != *expected
    {
        return Err(rejected("does not have the SHA-256 that configs_sha256 names"));
    }
    let reading = tokio::task::spawn_blocking(move || read_lines(&object.bytes));
    let configs = reading.await.map_err(|error| RunFailure::Unavailable(error.to_string()))?;
    let configs = configs.map_err(|problem| rejected(&problem))?;
    sweep.admit(&configs).map_err(|problem| rejected(&problem))?;
    Ok(configs)
}
