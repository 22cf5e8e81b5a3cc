//! A piece of work that one worker of a namespace does once a day, and how far it came.
//!
//! One object in the state bucket says whose turn it is. It is written by compare-and-set. If a worker dies
//! during its turn, the rest is left for the next day. Somebody at a terminal needs no turn: such a pass looks
//! at everything, and disturbs no other one, because each object is removed only if it is still too old.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Bucket, Condition, ETag, Listed, ObjectStore, StoreError};

/// How many objects are checked together.
const PAGE: usize = 1000;

/// The largest size of the object, in bytes.
const MAX_TURN_BYTES: u64 = 64 << 10;

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The age, in days, that it may reach; at least 1.
    pub days: u32,
    /// How many keys are checked in one day.
    pub max_keys: usize,
}

impl Retention {
    /// Whatever its age, it stays.
    pub const FOR_EVER: u32 = u32::MAX;
}

/// What is older than this has been kept for more than so many days.
#[must_use]
pub fn oldest_kept(now: Timestamp, days: u32) -> Timestamp {
    let age = SignedDuration::from_hours(i64::from(days).saturating_mul(24));
    now.checked_sub(age).unwrap_or(Timestamp::MIN)
}

/// What a pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// One worker of a namespace makes it, once a day.
    Daily,
    /// Somebody asked for it.
    Now,
    /// Somebody asks what the one before would do.
    DryRun,
}

impl Pass {
    /// Whether it changes anything.
    #[must_use]
    pub fn removes(self) -> bool {
        self != Self::DryRun
    }
}

/// What a pass that removes old objects did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Keys that were checked.
    pub seen: usize,
    /// What these objects hold, as far as the store says it.
    pub seen_bytes: u64,
    /// Objects that were removed.
    pub removed: usize,
    /// What those held.
    pub removed_bytes: u64,
    /// What failed. The pass that comes to it next tries it again.
    pub failed: usize,
}

impl Swept {
    /// Counts an object, and whether it was removed.
    pub fn count(&mut self, object: &Listed, is_removed: bool) {
        let bytes = object.bytes.unwrap_or_default();
        self.seen += 1;
        self.seen_bytes += bytes;
        if is_removed {
            self.removed += 1;
            self.removed_bytes += bytes;
        }
    }
}

/// What failed in a pass.
#[derive(Debug, Default)]
pub struct Failures {
    /// How often something failed.
    pub all: usize,
    in_a_row: usize,
}

impl Failures {
    /// So many in a row end a pass: it is the store then, and not an object.
    pub const MAX_IN_A_ROW: usize = 20;

    /// Logs a failure of `doing` something to an object and lets the pass go on, unless everything fails.
    ///
    /// # Errors
    /// The failure, if too many came in a row.
    pub fn note<T, E: std::fmt::Display>(
        &mut self,
        doing: &str,
        object: &str,
        done: Result<T, E>,
    ) -> Result<Option<T>, E> {
        match done {
            Ok(done) => {
                self.in_a_row = 0;
                Ok(Some(done))
            }
            Err(error) => {
                tracing::warn!(object, %error, "could not {doing}; left it for the next pass");
                self.all += 1;
                self.in_a_row += 1;
                if self.in_a_row < Self::MAX_IN_A_ROW { Ok(None) } else { Err(error) }
            }
        }
    }
}

/// A turn that is ours.
pub struct Turn<'a> {
    store: &'a dyn ObjectStore,
    /// Where it is noted, and in which version; a pass that somebody asked for is noted nowhere.
    noted: Option<(String, ETag)>,
    written: Written,
    seen: usize,
    /// The page that was given last.
    page: Option<Page>,
    is_ours: bool,
}

struct Page {
    /// The key after which the next one begins; empty after the last one.
    after: String,
    is_last: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    day: String,
    /// The key after which to go on; empty at the beginning.
    after: String,
}

impl<'a> Turn<'a> {
    /// Begins a pass. A daily one takes the turn of the day; `None` if that has been taken.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn begin(
        pass: Pass,
        store: &'a dyn ObjectStore,
        key: String,
        day: String,
    ) -> Result<Option<Self>, StoreError> {
        match pass {
            Pass::Daily => Self::take(store, key, day).await,
            Pass::Now | Pass::DryRun => {
                let (noted, written, page) = (None, Written::default(), None);
                Ok(Some(Self { store, noted, written, seen: 0, page, is_ours: true }))
            }
        }
    }

    /// Takes the turn of a day; `None` if it has been taken.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    async fn take(
        store: &'a dyn ObjectStore,
        key: String,
        day: String,
    ) -> Result<Option<Self>, StoreError> {
        let (written, condition) = match store.get(Bucket::State, &key, MAX_TURN_BYTES).await {
            // If it cannot be read, begin again.
            Ok(object) => {
                let written: Written = serde_json::from_slice(&object.bytes).unwrap_or_default();
                (written, Condition::Unchanged(object.etag))
            }
            Err(StoreError::NotFound { .. }) => (Written::default(), Condition::Absent),
            Err(error) => return Err(error),
        };
        if written.day == day {
            return Ok(None);
        }
        let written = Written { day, ..written };
        let version = write(store, &key, &written, condition).await?;
        Ok(version.map(|version| {
            let noted = Some((key, version));
            Self { store, noted, written, seen: 0, page: None, is_ours: true }
        }))
    }

    /// Notes that the page before is done, and lists the next objects below a prefix. `None` after the last
    /// one, after `max_keys` objects, or if another worker has taken the turn over.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be asked.
    pub async fn next_page(
        &mut self,
        bucket: Bucket,
        prefix: &str,
        max_keys: usize,
    ) -> Result<Option<Vec<Listed>>, StoreError> {
        if let Some(Page { after, is_last }) = self.page.take() {
            self.advance(after).await?;
            if is_last || !self.is_ours {
                return Ok(None);
            }
        }
        if self.seen >= max_keys {
            return Ok(None);
        }
        let most = PAGE.min(max_keys - self.seen);
        let objects = self.store.list_page(bucket, prefix, &self.written.after, most).await?;
        self.seen += objects.len();
        let is_last = objects.len() < most;
        let after = objects.last().filter(|_| !is_last).map(|object| object.key.clone());
        self.page = Some(Page { after: after.unwrap_or_default(), is_last });
        Ok(Some(objects))
    }

    /// What the pass did that has ended; `None` if another worker has taken the turn over.
    #[must_use]
    pub fn ended<T>(self, done: T) -> Option<T> {
        self.is_ours.then_some(done)
    }

    /// Notes how far it came, and whether the turn is still ours.
    async fn advance(&mut self, after: String) -> Result<(), StoreError> {
        self.written.after = after;
        let Some((key, version)) = &mut self.noted else { return Ok(()) };
        let condition = Condition::Unchanged(version.clone());
        match write(self.store, key, &self.written, condition).await? {
            Some(new) => *version = new,
            None => self.is_ours = false,
        }
        Ok(())
    }
}

/// `None`: another worker has written it.
async fn write(
    store: &dyn ObjectStore,
    key: &str,
    written: &Written,
    condition: Condition,
) -> Result<Option<ETag>, StoreError> {
    let body = Bytes::from(serde_json::json!(written).to_string());
    match store.put(Bucket::State, key, body, "application/json", condition).await {
        Ok(version) => Ok(Some(version)),
        Err(StoreError::ConditionFailed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
