//! An object store in memory, and what can be wrong between it and one worker.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::process::Process;
use super::world::{Sabotage, World};
use crate::storage::{Bucket, Condition, Download, ETag, Listed, Object, ObjectStore, StoreError};

/// How often a request is tried, as by the settings' default.
const ATTEMPTS: u32 = 5;

/// How long one try may take, as by the settings' default.
const TRY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is wrong between the store and a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StoreWeather {
    /// Nothing.
    #[default]
    Fine,
    /// Each request takes so many milliseconds.
    Slow(u64),
    /// Nobody listens.
    Refuses,
    /// Requests get no answer, and have not reached the store.
    Hangs,
    /// It may be read, and each write is denied.
    ReadOnly,
    /// Writes take place, and some of their answers are lost.
    LosesAnswers,
}

/// The objects of all buckets.
#[derive(Default)]
pub(super) struct Objects {
    by_key: BTreeMap<String, (Bytes, u64)>,
    versions: u64,
}

/// What is asked of the store.
#[derive(Debug, Clone)]
enum Ask {
    Get(String),
    Put(String, Bytes, Condition),
    Delete(String),
    List(String),
    ListDated(String),
    Check,
}

enum Answer {
    Object(Object),
    Written(ETag),
    Keys(Vec<String>),
    Listed(Vec<Listed>),
    Done,
}

impl Ask {
    fn is_write(&self) -> bool {
        matches!(self, Self::Put(..) | Self::Delete(_))
    }

    fn shown(&self) -> String {
        match self {
            Self::Get(key) => format!("GET {key}"),
            Self::Put(key, _, Condition::None) => format!("PUT {key}"),
            Self::Put(key, _, Condition::Absent) => format!("PUT {key} if absent"),
            Self::Put(key, _, Condition::Unchanged(etag)) => format!("PUT {key} if {}", etag.0),
            Self::Delete(key) => format!("DELETE {key}"),
            Self::List(prefix) | Self::ListDated(prefix) => format!("LIST {prefix}"),
            Self::Check => "CHECK".to_owned(),
        }
    }
}

fn failed(key: &str) -> StoreError {
    StoreError::ConditionFailed { bucket: "state".to_owned(), key: key.to_owned() }
}

fn missing(key: &str) -> StoreError {
    StoreError::NotFound { bucket: "state".to_owned(), key: key.to_owned() }
}

impl Objects {
    fn answer(&mut self, ask: &Ask) -> Result<Answer, StoreError> {
        match ask {
            Ask::Get(key) => {
                let (bytes, version) = self.by_key.get(key).ok_or_else(|| missing(key))?;
                let etag = ETag(version.to_string());
                Ok(Answer::Object(Object { bytes: bytes.clone(), etag }))
            }
            Ask::Put(key, bytes, condition) => {
                let version = self.by_key.get(key).map(|(_, version)| version.to_string());
                let holds = match condition {
                    Condition::None => true,
                    Condition::Absent => version.is_none(),
                    Condition::Unchanged(etag) => version.as_ref() == Some(&etag.0),
                };
                if !holds {
                    return Err(failed(key));
                }
                self.versions += 1;
                self.by_key.insert(key.clone(), (bytes.clone(), self.versions));
                Ok(Answer::Written(ETag(self.versions.to_string())))
            }
            Ask::Delete(key) => {
                self.by_key.remove(key);
                Ok(Answer::Done)
            }
            Ask::List(prefix) => {
                let from = self.by_key.range(prefix.clone()..);
                let keys = from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix));
                Ok(Answer::Keys(keys.cloned().collect()))
            }
            Ask::ListDated(prefix) => {
                let from = self.by_key.range(prefix.clone()..);
                let found = from.take_while(|(key, _)| key.starts_with(prefix));
                let listed = found.map(|(key, (_, version))| Listed {
                    etag: Some(ETag(version.to_string())),
                    ..Listed::new(key.clone())
                });
                Ok(Answer::Listed(listed.collect()))
            }
            Ask::Check => Ok(Answer::Done),
        }
    }

    /// The keys that begin with `prefix`.
    pub(super) fn keys(&self, prefix: &str) -> Vec<&String> {
        self.by_key
            .range(prefix.to_owned()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(prefix))
            .collect()
    }
}

impl Objects {
    /// Whether there is an object with this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// The text of an object.
    pub(super) fn text(&self, key: &str) -> String {
        String::from_utf8(self.by_key[key].0.to_vec()).expect("text")
    }

    /// Writes an object, whoever has it.
    pub(super) fn overwrite(&mut self, key: &str, bytes: Bytes) {
        self.versions += 1;
        self.by_key.insert(key.to_owned(), (bytes, self.versions));
    }
}

/// The store, as one worker reaches it.
#[derive(Clone)]
pub(super) struct SimulatedStore {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) objects: Arc<Mutex<Objects>>,
    pub(super) weather: Arc<Mutex<StoreWeather>>,
}

/// A write on its way. Where whoever asked for it does not wait any more, it may take place all the same.
struct OnItsWay<'a> {
    store: &'a SimulatedStore,
    ask: Option<&'a Ask>,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let Some(ask) = self.ask.take().filter(|ask| ask.is_write()) else { return };
        let world = &self.store.world;
        if tokio::runtime::Handle::try_current().is_ok() && world.happens(50) {
            let (store, ask, late) = (self.store.clone(), ask.clone(), world.millis(0, 20));
            world.tasks.spawn(async move {
                sleep(late).await;
                store.world.note("store", || format!("{}, although nobody waits", ask.shown()));
                drop(store.objects.lock().answer(&ask));
            });
        }
    }
}

/// Why a try failed.
enum Fault {
    /// It has not reached the store.
    NotSent(&'static str),
    /// The store may have followed it.
    InDoubt,
    Final(StoreError),
}

impl SimulatedStore {
    async fn ask(&self, ask: Ask) -> Result<Answer, StoreError> {
        self.process.runs().await;
        self.world.ledger.lock().requests.count(&self.process.name, ask.is_write());
        let (mut is_in_doubt, mut pause, mut reason) = (false, 200, "");
        let attempts = if matches!(ask, Ask::Check) { 1 } else { ATTEMPTS };
        for attempt in 1..=attempts {
            let answered = self.try_once(&ask).await;
            self.process.runs().await;
            match answered {
                Ok(answer) => return Ok(answer),
                // The write that got no answer may be what fails the condition now.
                Err(Fault::Final(error @ StoreError::ConditionFailed { .. })) if is_in_doubt => {
                    return self.written_by_us(&ask).ok_or(error);
                }
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::InDoubt) => (is_in_doubt, reason) = (true, "no answer"),
                Err(Fault::NotSent(why)) => reason = why,
            }
            if attempt < attempts {
                self.world.pause(pause, pause * 2).await;
                pause = (pause * 2).min(5_000);
            }
        }
        self.world.note(&self.process.name, || format!("{}: {reason}", ask.shown()));
        Err(StoreError::Unavailable {
            endpoint: "store".to_owned(),
            action: ask.shown(),
            attempts: 5,
            reason: reason.to_owned(),
        })
    }

    /// Whether a write is not followed on purpose.
    fn is_forgotten(&self, ask: &Ask) -> bool {
        let Ask::Put(key, bytes, _) = ask else { return false };
        let is_end = || bytes.windows(10).any(|part| part == b"\"finished\"");
        let is_mark = || !bytes.windows(8).any(|part| part == b"\"run_id\"");
        (self.world.is(Sabotage::ForgetsStops) && key.contains("/stops/"))
            || (self.world.is(Sabotage::ForgetsMarks) && key.contains("/jobs/") && is_mark())
            || (self.world.is(Sabotage::ForgetsEnds) && key.contains("/jobs/") && is_end())
    }

    fn written_by_us(&self, ask: &Ask) -> Option<Answer> {
        let Ask::Put(key, bytes, _) = ask else { return None };
        let objects = self.objects.lock();
        let (found, version) = objects.by_key.get(key)?;
        (found == bytes).then(|| Answer::Written(ETag(version.to_string())))
    }

    async fn try_once(&self, ask: &Ask) -> Result<Answer, Fault> {
        let weather = *self.weather.lock();
        let denied = |reason: &str| {
            let (action, reason) = (ask.shown(), reason.to_owned());
            Fault::Final(StoreError::Denied { action, reason })
        };
        let (there, back) = match weather {
            StoreWeather::Refuses => return Err(Fault::NotSent("connection refused")),
            StoreWeather::Hangs => {
                self.hang(weather).await;
                return Err(Fault::NotSent("timed out"));
            }
            StoreWeather::ReadOnly if ask.is_write() => return Err(denied("AccessDenied")),
            StoreWeather::Slow(millis) => (millis / 2, millis / 2 + 1),
            _ => (3, 3),
        };
        let mut on_its_way = OnItsWay { store: self, ask: Some(ask) };
        self.world.pause(1, there.max(1)).await;
        self.process.runs().await;
        on_its_way.ask = None;
        drop(on_its_way);
        let answer = if self.is_forgotten(ask) {
            Ok(Answer::Written(ETag("0".to_owned())))
        } else {
            self.objects.lock().answer(ask)
        };
        self.world.note(&self.process.name, || {
            let said = match &answer {
                Ok(Answer::Written(etag)) => format!(" -> {}", etag.0),
                Ok(Answer::Object(object)) => format!(" -> version {}", object.etag.0),
                Ok(Answer::Keys(keys)) => format!(" -> {} keys", keys.len()),
                Ok(Answer::Listed(listed)) => format!(" -> {} keys", listed.len()),
                Ok(Answer::Done) => String::new(),
                Err(StoreError::NotFound { .. }) => " -> not there".to_owned(),
                Err(_) => " -> condition failed".to_owned(),
            };
            format!("{}{said}", ask.shown())
        });
        if weather == StoreWeather::LosesAnswers && ask.is_write() && self.world.happens(50) {
            self.world.note(&self.process.name, || "the answer is lost".to_owned());
            self.world.pause(1_000, 8_000).await;
            return Err(Fault::InDoubt);
        }
        self.world.pause(1, back.max(1)).await;
        answer.map_err(Fault::Final)
    }

    /// Gets no answer: for as long as one try may take, or until a little after the store is well again.
    async fn hang(&self, weather: StoreWeather) {
        let until = tokio::time::Instant::now() + TRY_TIMEOUT;
        while tokio::time::Instant::now() < until && *self.weather.lock() == weather {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

#[async_trait]
impl ObjectStore for SimulatedStore {
    async fn download_if_changed(
        &self,
        _: Bucket,
        key: &str,
        _: &Path,
        _: u64,
        _: Option<&ETag>,
    ) -> Result<Download, StoreError> {
        Err(missing(key))
    }

    async fn get(&self, _: Bucket, key: &str, _: u64) -> Result<Object, StoreError> {
        match self.ask(Ask::Get(key.to_owned())).await? {
            Answer::Object(object) => Ok(object),
            _ => Err(missing(key)),
        }
    }

    async fn put(
        &self,
        _: Bucket,
        key: &str,
        body: Bytes,
        _: &str,
        condition: Condition,
    ) -> Result<ETag, StoreError> {
        match self.ask(Ask::Put(key.to_owned(), body, condition)).await? {
            Answer::Written(etag) => Ok(etag),
            _ => Err(missing(key)),
        }
    }

    async fn upload(&self, _: Bucket, key: &str, _: &Path, _: &str) -> Result<(), StoreError> {
        Err(missing(key))
    }

    async fn list(&self, _: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        match self.ask(Ask::List(prefix.to_owned())).await? {
            Answer::Keys(keys) => Ok(keys),
            _ => Err(missing(prefix)),
        }
    }

    async fn list_dated(
        &self,
        _: Bucket,
        prefix: &str,
        max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        match self.ask(Ask::ListDated(prefix.to_owned())).await? {
            Answer::Listed(mut listed) => {
                listed.truncate(max);
                if self.world.is(Sabotage::HidesVersions) {
                    for object in &mut listed {
                        object.etag = None;
                    }
                }
                Ok(listed)
            }
            _ => Err(missing(prefix)),
        }
    }

    async fn delete(&self, _: Bucket, key: &str) -> Result<(), StoreError> {
        self.ask(Ask::Delete(key.to_owned())).await.map(drop)
    }

    async fn delete_unchanged(&self, _: Bucket, _: &str, _: &ETag) -> Result<bool, StoreError> {
        unreachable!("nothing that is simulated is that old")
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.ask(Ask::Check).await.map(drop)
    }

    fn bucket_name(&self, bucket: Bucket) -> &str {
        bucket.default_name()
    }

    fn origin(&self, bucket: Bucket) -> String {
        bucket.default_name().to_owned()
    }
}
