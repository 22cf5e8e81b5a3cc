//! Keeps the series of one container in the store, whoever else writes them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::shared::{PUT_PATIENCE, Shared};
use crate::job::series::{Book, SeriesBounds, read_points};
use crate::storage::{Bucket, Condition, ETag, StoreError};

/// The content type of series.
const TYPE: &str = "application/x-ndjson";

/// The largest object of series that is read again, in bytes. The largest that the settings allow is smaller.
pub(super) const MAX_SERIES_BYTES: u64 = 128 << 20;

/// How often storing begins again because another worker was writing.
const MAX_CONFLICTS: usize = 3;

/// What became of storing: the version that is in the store now.
pub(super) type Stored = Result<ETag, String>;

/// Keeps the series of one container in the store.
pub(super) struct SeriesKeeper {
    pub(super) key: String,
    /// The version that is in the store, if it is known.
    pub(super) version: Option<ETag>,
    /// What is on its way.
    pub(super) put: Option<BoxFuture<'static, Stored>>,
    pub(super) due: Instant,
    /// Why the store does not have them.
    pub(super) failure: Option<String>,
}

impl SeriesKeeper {
    pub(super) fn new(key: String) -> Self {
        Self { key, version: None, put: None, due: Instant::now(), failure: None }
    }
}

/// What is to be stored.
#[derive(Clone)]
pub(super) struct Sending {
    key: String,
    bytes: Bytes,
    seen: u64,
    pub(super) version: Option<ETag>,
}

impl Sending {
    pub(super) fn of(keeper: &SeriesKeeper, book: &mut Book) -> Self {
        let (key, version) = (keeper.key.clone(), keeper.version.clone());
        Self { key, bytes: book.lines().into(), seen: book.seen(), version }
    }
}

/// Stores series, unless the store has what is as new: from us, by a request whose answer was lost, or
/// from another worker, which read the output of the same container.
pub(super) async fn store(shared: Arc<Shared>, sending: Sending) -> Stored {
    let work = async {
        let Sending { key, bytes, seen, mut version } = sending;
        for _ in 0..MAX_CONFLICTS {
            let condition = version.take().map_or(Condition::Absent, Condition::Unchanged);
            let put = shared.store.put(Bucket::Results, &key, bytes.clone(), TYPE, condition);
            match put.await {
                Ok(version) => return Ok(version),
                Err(StoreError::ConditionFailed { .. } | StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.to_string()),
            }
            match shared.store.get(Bucket::Results, &key, MAX_SERIES_BYTES).await {
                Ok(found) if seen_in(&found.bytes) >= seen => return Ok(found.etag),
                Ok(found) => version = Some(found.etag),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("another worker writes them again and again".to_owned())
    };
    let late = || Err(format!("no answer in {} seconds", PUT_PATIENCE.as_secs()));
    timeout(PUT_PATIENCE, work).await.unwrap_or_else(|_| late())
}

/// How many points those had that are stored.
fn seen_in(text: &[u8]) -> u64 {
    let mut book = Book::new(SeriesBounds { max_names: usize::MAX, max_points: usize::MAX });
    book.restore(read_points(text));
    book.seen()
}
