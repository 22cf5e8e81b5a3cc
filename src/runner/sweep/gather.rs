//! Gathers the rows of a running sweep: from the launcher's file to chunks in the store.
//!
//! It goes on only while the worker waits for the container. So a worker that has lost the run to
//! another one gathers no more.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::chunk::{self, Chunk};
use super::rows::Rows;
use crate::job::{Run, RunProgress};
use crate::logs::Mask;
use crate::runner::observer::RunObserver;
use crate::runner::site::Site;
use crate::storage::StoreError;

/// Pause between two looks at what the launcher has written.
const LOOK: Duration = Duration::from_millis(100);

/// How often it is told how far the sweep is, at most.
const TELL: Duration = Duration::from_secs(1);

/// Pause after a failure of the store.
const RETRY: Duration = Duration::from_secs(2);

/// The rows of a sweep that runs here.
pub(in crate::runner) struct Gathering<'a> {
    site: &'a Site,
    run: &'a Run,
    root: PathBuf,
    mask: Mask,
    rows: Option<Arc<Mutex<Rows>>>,
    /// A chunk that is not stored yet.
    unsent: Option<Chunk>,
    /// Whether the last try to reach the store failed.
    is_failing: bool,
}

impl<'a> Gathering<'a> {
    /// The rows of this attempt; `None` if it is no sweep.
    pub(in crate::runner) fn of(site: &'a Site, run: &'a Run, mask: Mask) -> Option<Self> {
        run.job.sweep.as_ref()?;
        let root = site.directory_of(run).root().to_owned();
        Some(Self { site, run, root, mask, rows: None, unsent: None, is_failing: false })
    }

    /// Gathers rows as they come, and tells `observer` how far the sweep is. It never ends, and may be
    /// dropped at any time.
    pub(in crate::runner) async fn follow(&mut self, observer: &dyn RunObserver) -> Infallible {
        let (mut told, mut told_at) = (0, Instant::now());
        loop {
            if let Err(problem) = self.step(false).await {
                if !self.is_failing {
                    tracing::warn!(job.id = %self.run.job.id, problem, "could not gather the rows of a sweep; trying again");
                }
                self.is_failing = true;
                sleep(RETRY).await;
                continue;
            }
            self.is_failing = false;
            if let Some(rows) = &self.rows
                && told_at.elapsed() >= TELL
            {
                told_at = Instant::now();
                let progress = rows.lock().tally.progress(told_at);
                if progress.done != told {
                    told = progress.done;
                    observer.progress(RunProgress::Sweep(progress));
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Gathers what is left of an ended container. It takes at most `within`.
    pub(in crate::runner) async fn finish(mut self, within: Duration) -> Result<Gathered, String> {
        let deadline = Instant::now() + within;
        loop {
            let problem = match timeout_at(deadline, self.step(true)).await {
                Ok(Ok(())) => break,
                Ok(Err(problem)) => problem,
                Err(_) => "it took too long".to_owned(),
            };
            if deadline.saturating_duration_since(Instant::now()) < RETRY {
                return Err(problem);
            }
            sleep(RETRY).await;
        }
        self.rows.map(Gathered).ok_or_else(|| "there are none".to_owned())
    }

    /// Takes all that is there. `to_the_end`: also stores all of it.
    async fn step(&mut self, to_the_end: bool) -> Result<(), String> {
        let rows = match &self.rows {
            Some(rows) => Arc::clone(rows),
            None => self.open().await?,
        };
        loop {
            if let Some(chunk) = &self.unsent {
                chunk.store(self.site).await.map_err(|error| error.to_string())?;
                self.unsent = None;
            }
            let is_more = blocking(&rows, Rows::read_more).await?;
            self.unsent = rows.lock().chunk(to_the_end && !is_more);
            if !is_more && self.unsent.is_none() {
                return Ok(());
            }
        }
    }

    /// The rows that are stored already.
    async fn open(&mut self) -> Result<Arc<Mutex<Rows>>, String> {
        let (root, folder) = (self.root.clone(), self.site.settings.temp_dir.clone());
        let (run, worker, mask) = (self.run.clone(), self.site.worker.clone(), self.mask.clone());
        let opening =
            tokio::task::spawn_blocking(move || Rows::open(&root, &folder, run, worker, mask));
        let opened = opening.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let rows = Arc::new(Mutex::new(opened.map_err(|error| error.to_string())?));
        let unreadable = |error: StoreError| error.to_string();
        for key in chunk::list(self.site, self.run).await.map_err(unreadable)? {
            let bytes = chunk::read(self.site, self.run, &key).await.map_err(unreadable)?;
            blocking(&rows, move |rows| rows.take_stored(&bytes)).await?;
        }
        self.rows = Some(Arc::clone(&rows));
        Ok(rows)
    }
}

/// All rows of an ended attempt.
pub(in crate::runner) struct Gathered(Arc<Mutex<Rows>>);

impl Gathered {
    /// Works with them.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Rows) -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        blocking(&self.0, work).await
    }
}

async fn blocking<T: Send + 'static>(
    rows: &Arc<Mutex<Rows>>,
    work: impl FnOnce(&mut Rows) -> io::Result<T> + Send + 'static,
) -> Result<T, String> {
    let rows = Arc::clone(rows);
    let working = tokio::task::spawn_blocking(move || work(&mut rows.lock()));
    match working.await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
