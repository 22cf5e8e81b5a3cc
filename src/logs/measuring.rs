//! A shipper keeps what its program measures in the store, beside the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

use super::series::{MAX_SERIES_BYTES, Sending, SeriesKeeper, Stored, store};
use super::shared::Shared;
use super::shipper::{Shipper, or_never};
use crate::job::series::{Book, SeriesBounds, read_points};
use crate::storage::{Bucket, StoreError};

/// The pause after a failed attempt to store the last of it: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What a summary says about series.
pub(super) struct Told {
    pub(super) key: Option<String>,
    pub(super) problem: Option<String>,
}

impl Shipper {
    /// The bounds of the settings.
    pub(super) fn book_of(shared: &Shared) -> Book {
        let settings = &shared.settings;
        let (max_names, max_points) = (settings.max_series, settings.max_series_points);
        Book::new(SeriesBounds { max_names, max_points })
    }

    /// Goes on with what an earlier worker stored.
    pub(super) async fn restore_series(&mut self) -> Result<(), StoreError> {
        let Some(keeper) = &mut self.series else { return Ok(()) };
        match self.shared.store.get(Bucket::Results, &keeper.key, MAX_SERIES_BYTES).await {
            Ok(found) => {
                self.heard.book.restore(read_points(&found.bytes));
                keeper.version = Some(found.etag);
                Ok(())
            }
            // One that is too large is none of ours.
            Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Begins to store what has changed, if it is time, and nothing is on its way.
    pub(super) fn launch_series(&mut self) {
        let is_new = self.is_new();
        let book = &mut self.heard.book;
        let Some(keeper) = &mut self.series else { return };
        let now = Instant::now();
        if !is_new || keeper.put.is_some() || !book.has_changed() || now < keeper.due {
            return;
        }
        keeper.due = now + self.shared.settings.series_interval;
        keeper.put = Some(Box::pin(store(Arc::clone(&self.shared), Sending::of(keeper, book))));
    }

    /// Waits for what is on its way.
    pub(super) async fn series_put(keeper: &mut Option<SeriesKeeper>) -> Stored {
        or_never(keeper.as_mut().and_then(|keeper| keeper.put.as_mut())).await
    }

    pub(super) fn series_stored(&mut self, stored: Stored) {
        let Some(keeper) = &mut self.series else { return };
        keeper.put = None;
        match stored {
            Ok(version) => (keeper.version, keeper.failure) = (Some(version), None),
            Err(reason) => {
                self.heard.book.not_stored();
                if keeper.failure.is_none() {
                    warn!(job.id = %self.source.job, run.id = %self.source.run, reason, "could not store series; trying again");
                }
                keeper.failure = Some(reason);
            }
        }
    }

    /// Stores the last of it, and retries until `deadline`. `None`: there is nothing to store.
    pub(super) fn last_series(
        &mut self,
        deadline: Instant,
    ) -> impl Future<Output = Option<Stored>> + use<> {
        let shared = Arc::clone(&self.shared);
        let is_located = self.is_located();
        let book = &mut self.heard.book;
        let work = self.series.as_mut().filter(|_| is_located).and_then(|keeper| {
            let (put, has_more) = (keeper.put.take(), book.has_changed());
            (put.is_some() || has_more).then(|| (put, has_more, Sending::of(keeper, book)))
        });
        async move {
            let (put, has_more, mut sending) = work?;
            let work = async {
                if let Some(put) = put {
                    match put.await {
                        Ok(version) if !has_more => return Ok(version),
                        Ok(version) => sending.version = Some(version),
                        Err(_) => {}
                    }
                }
                let mut pause = PAUSES.0;
                loop {
                    match store(Arc::clone(&shared), sending.clone()).await {
                        Ok(version) => return Ok(version),
                        Err(reason) if Instant::now() + pause >= deadline => return Err(reason),
                        Err(_) => sleep(pause).await,
                    }
                    pause = (pause * 2).min(PAUSES.1);
                }
            };
            let late = || Err("there was no time left".to_owned());
            Some(timeout_at(deadline, work).await.unwrap_or_else(|_| late()))
        }
    }

    /// What the summary says.
    pub(super) fn told_series(&self) -> Told {
        let Some(keeper) = &self.series else { return Told { key: None, problem: None } };
        let book = &self.heard.book;
        let failure = keeper.failure.as_ref().filter(|_| !book.is_empty());
        let failure =
            failure.map(|reason| format!("the last of them could not be stored: {reason}"));
        let problems: Vec<_> = failure.into_iter().chain(book.problem()).collect();
        Told {
            key: keeper.version.as_ref().map(|_| keeper.key.clone()),
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        }
    }
}
