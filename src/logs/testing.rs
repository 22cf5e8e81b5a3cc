//! An object store in memory that fails on command.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::storage::{Bucket, Condition, Download, ETag, Object, ObjectStore, StoreError};

/// Which operation, as recorded and as failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Get,
    Put,
    List,
    Delete,
    Upload,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<(&'static str, String), (Bytes, u64)>,
    version: u64,
    log: Vec<(Op, String)>,
    failing: Option<Rule>,
    slow: Option<(String, Duration)>,
}

/// Decides whether an operation on a key fails.
type Rule = Box<dyn FnMut(Op, &str) -> bool + Send>;

#[derive(Default)]
pub(super) struct MemoryStore(Mutex<State>);

impl MemoryStore {
    /// Operations for which `rule` holds fail as unavailable from now on.
    pub(super) fn fail_where(&self, rule: impl FnMut(Op, &str) -> bool + Send + 'static) {
        self.0.lock().unwrap().failing = Some(Box::new(rule));
    }

    pub(super) fn recover(&self) {
        self.0.lock().unwrap().failing = None;
    }

    /// Every operation on a key that contains `part` takes this long before it is done, and again
    /// until it is answered.
    pub(super) fn slow_down(&self, part: &str, by: Duration) {
        self.0.lock().unwrap().slow = Some((part.to_owned(), by));
    }

    pub(super) fn text(&self, bucket: Bucket, key: &str) -> Option<String> {
        let state = self.0.lock().unwrap();
        let (bytes, _) = state.objects.get(&(name(bucket), key.to_owned()))?;
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    pub(super) fn set(&self, key: &str, text: &str) {
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let entry = (Bytes::copy_from_slice(text.as_bytes()), state.version);
        state.objects.insert((name(Bucket::Logs), key.to_owned()), entry);
    }

    /// The keys in the logs bucket with this suffix.
    pub(super) fn keys(&self, end: &str) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let logs = state.objects.keys().filter(|(bucket, _)| *bucket == name(Bucket::Logs));
        logs.filter(|(_, key)| key.ends_with(end)).map(|(_, key)| key.clone()).collect()
    }

    /// The keys that this operation was asked for, in order.
    pub(super) fn asked(&self, op: Op) -> Vec<String> {
        let state = self.0.lock().unwrap();
        state.log.iter().filter(|(done, _)| *done == op).map(|(_, key)| key.clone()).collect()
    }

    fn store(
        &self,
        bucket: Bucket,
        key: &str,
        body: Bytes,
        condition: &Condition,
    ) -> Result<u64, StoreError> {
        let mut state = self.0.lock().unwrap();
        let place = (name(bucket), key.to_owned());
        let now = state.objects.get(&place).map(|(_, version)| version.to_string());
        let holds = match condition {
            Condition::None => true,
            Condition::Absent => now.is_none(),
            Condition::Unchanged(ETag(etag)) => now.as_ref() == Some(etag),
        };
        if !holds {
            let bucket = name(bucket).to_owned();
            return Err(StoreError::ConditionFailed { bucket, key: key.to_owned() });
        }
        state.version += 1;
        let version = state.version;
        state.objects.insert(place, (body, version));
        Ok(version)
    }

    async fn enter(&self, op: Op, key: &str) -> Result<(), StoreError> {
        let delay = {
            let mut state = self.0.lock().unwrap();
            state.log.push((op, key.to_owned()));
            if state.failing.as_mut().is_some_and(|rule| rule(op, key)) {
                return Err(StoreError::Unavailable {
                    endpoint: "memory".to_owned(),
                    action: format!("{op:?} {key}"),
                    attempts: 1,
                    reason: "on command".to_owned(),
                });
            }
            state.slow.clone().filter(|(part, _)| key.contains(part.as_str())).map(|slow| slow.1)
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        Ok(())
    }

    /// The delay of the answer.
    async fn leave(&self, key: &str) {
        let slow = self.0.lock().unwrap().slow.clone();
        if let Some((_, delay)) = slow.filter(|(part, _)| key.contains(part.as_str())) {
            tokio::time::sleep(delay).await;
        }
    }
}

fn name(bucket: Bucket) -> &'static str {
    match bucket {
        Bucket::Code => "code",
        Bucket::Inputs => "inputs",
        Bucket::Results => "results",
        Bucket::Logs => "logs",
        Bucket::State => "state",
    }
}

fn not_found(bucket: Bucket, key: &str) -> StoreError {
    StoreError::NotFound { bucket: name(bucket).to_owned(), key: key.to_owned() }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn download_if_changed(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
        _: Option<&ETag>,
    ) -> Result<Download, StoreError> {
        let object = self.get(bucket, key, max_bytes).await?;
        std::fs::write(to, &object.bytes).unwrap();
        Ok(Download::Done { bytes: object.bytes.len() as u64, etag: object.etag })
    }

    async fn get(&self, bucket: Bucket, key: &str, _: u64) -> Result<Object, StoreError> {
        self.enter(Op::Get, key).await?;
        let state = self.0.lock().unwrap();
        let found = state.objects.get(&(name(bucket), key.to_owned()));
        let (bytes, version) = found.ok_or_else(|| not_found(bucket, key))?;
        Ok(Object { bytes: bytes.clone(), etag: ETag(version.to_string()) })
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        body: Bytes,
        _: &str,
        condition: Condition,
    ) -> Result<ETag, StoreError> {
        self.enter(Op::Put, key).await?;
        let stored = self.store(bucket, key, body, &condition);
        self.leave(key).await;
        Ok(ETag(stored?.to_string()))
    }

    async fn upload(
        &self,
        bucket: Bucket,
        key: &str,
        from: &Path,
        _: &str,
    ) -> Result<(), StoreError> {
        self.enter(Op::Upload, key).await?;
        let mut state = self.0.lock().unwrap();
        state.version += 1;
        let entry = (Bytes::from(std::fs::read(from).unwrap()), state.version);
        state.objects.insert((name(bucket), key.to_owned()), entry);
        Ok(())
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.enter(Op::List, prefix).await?;
        let state = self.0.lock().unwrap();
        let keys = state.objects.keys().filter(|(of, _)| *of == name(bucket));
        Ok(keys.filter(|(_, key)| key.starts_with(prefix)).map(|(_, key)| key.clone()).collect())
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError> {
        self.enter(Op::Delete, key).await?;
        self.0.lock().unwrap().objects.remove(&(name(bucket), key.to_owned()));
        Ok(())
    }

    async fn delete_unchanged(
        &self,
        bucket: Bucket,
        key: &str,
        seen: &ETag,
    ) -> Result<bool, StoreError> {
        self.enter(Op::Delete, key).await?;
        let mut state = self.0.lock().unwrap();
        let place = (name(bucket), key.to_owned());
        let is_same = state.objects.get(&place).is_none_or(|(_, now)| now.to_string() == seen.0);
        if is_same {
            state.objects.remove(&place);
        }
        Ok(is_same)
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn bucket_name(&self, bucket: Bucket) -> &str {
        name(bucket)
    }

    fn origin(&self, bucket: Bucket) -> String {
        name(bucket).to_owned()
    }
}
