//! The object store on S3 and compatible servers.
//!
//! This file has the operations. [`request`] makes one attempt of each, and [`fault`] says what a
//! failure means.

mod buckets;
mod described;
mod endpoint;
mod fault;
mod request;
mod retry;
mod transport;
mod upload;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use s3::creds::Credentials;

use self::fault::{Call, Fault};
pub use self::request::Described;
use self::request::Place;
use self::transport::Transport;
use super::{Bucket, Condition, Download, ETag, Listed, Object, ObjectStore, StoreError, key};
use crate::metrics::{Metrics, StoreOutcome};
use crate::settings::StoreSettings;

/// How long [`ObjectStore::check`] waits at most.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The most pages of a listing, each of up to 1,000 keys: a guard against a store whose listing
/// never ends.
const MAX_PAGES: usize = 10_000;

/// An S3-compatible store.
pub struct S3Store {
    endpoint: String,
    code: Place,
    inputs: Place,
    results: Place,
    logs: Place,
    state: Place,
    max_attempts: usize,
    timeout: Duration,
    metrics: Metrics,
}

impl S3Store {
    /// A store with these settings. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Settings`] for an endpoint, a key or a bucket's name that cannot be used.
    pub fn new(settings: &StoreSettings) -> Result<Self, StoreError> {
        // rust-s3 would retry some requests by itself, and multiply our own attempts.
        s3::set_retries(0);
        let refuse = |variable, reason| StoreError::Settings { variable, reason };
        let endpoint = endpoint::endpoint_url(&settings.endpoint, settings.ssl)
            .map_err(|reason| refuse("MINIO_ENDPOINT", reason))?;
        for (variable, text) in [
            ("MINIO_ACCESS_KEY", &settings.access_key),
            ("MINIO_SECRET_KEY", &settings.secret_key),
            ("MINIO_REGION", &settings.region),
        ] {
            if !endpoint::is_header_text(text) {
                let reason = "is empty or has a character that is not visible ASCII".to_owned();
                return Err(refuse(variable, reason));
            }
        }
        let (access, secret) = (&settings.access_key, &settings.secret_key);
        let credentials = Credentials::new(Some(access), Some(secret), None, None, None)
            .map_err(|error| refuse("MINIO_ACCESS_KEY", error.to_string()))?;
        let transport = Arc::new(Transport::new(&endpoint, &settings.tls)?);
        let region =
            s3::Region::Custom { region: settings.region.clone(), endpoint: endpoint.clone() };
        let place = |variable, name: &str| {
            if !endpoint::is_bucket_name(name) {
                return Err(refuse(variable, format!("is {name:?}, which cannot name a bucket")));
            }
            let (region, credentials) = (region.clone(), credentials.clone());
            Place::new(name, region, credentials, Arc::clone(&transport), settings.timeout)
                .map_err(|error| refuse(variable, error.to_string()))
        };
        Ok(Self {
            code: place("MINIO_CODE_BUCKET", &settings.code_bucket)?,
            inputs: place("MINIO_INPUTS_BUCKET", &settings.inputs_bucket)?,
            results: place("MINIO_BACKTESTS_BUCKET", &settings.results_bucket)?,
            logs: place("MINIO_LOGS_BUCKET", &settings.logs_bucket)?,
            state: place("MINIO_STATE_BUCKET", &settings.state_bucket)?,
            endpoint,
            max_attempts: settings.max_attempts,
            timeout: settings.timeout,
            metrics: Metrics::default(),
        })
    }

    /// The same store, with its requests counted.
    #[must_use]
    pub fn counted(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// As [`ObjectStore::upload`]; `sent` hears how many bytes are in the store, whenever a part is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the file is not in the store.
    pub async fn upload_showing(
        &self,
        bucket: Bucket,
        key: &str,
        from: &Path,
        content_type: &str,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        self.retrying("upload", |_| place.upload(key, from, content_type, None, sent))
            .await
            .map_err(self.failed("uploading", bucket, Some(key)))
    }

    fn place(&self, bucket: Bucket) -> &Place {
        match bucket {
            Bucket::Code => &self.code,
            Bucket::Inputs => &self.inputs,
            Bucket::Results => &self.results,
            Bucket::Logs => &self.logs,
            Bucket::State => &self.state,
        }
    }

    /// Tries until it works, and counts each try as an `operation`.
    async fn retrying<T, A>(
        &self,
        operation: &'static str,
        mut attempt: impl FnMut(retry::Past) -> A,
    ) -> Result<T, (Fault, usize)>
    where
        A: Future<Output = Result<T, Fault>>,
    {
        let counted = |past| self.count(operation, attempt(past));
        retry::retrying(retry::pauses(self.max_attempts), counted).await
    }

    async fn count<T>(
        &self,
        operation: &'static str,
        attempt: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let begun = tokio::time::Instant::now();
        let outcome = attempt.await;
        let how = outcome.as_ref().err().map_or(StoreOutcome::Ok, Fault::outcome);
        self.metrics.store_request(operation, how, begun.elapsed());
        outcome
    }

    /// The error of an operation that failed after this many attempts.
    fn failed<'a>(
        &'a self,
        verb: &'static str,
        bucket: Bucket,
        key: Option<&'a str>,
    ) -> impl FnOnce((Fault, usize)) -> StoreError + use<'a> {
        let bucket = self.bucket_name(bucket);
        let call = Call { verb, endpoint: &self.endpoint, bucket, key };
        move |(fault, attempts)| fault.into_error(&call, attempts)
    }

    /// Returns whether the object is gone; it stays if it no longer has the version `seen`.
    async fn remove(
        &self,
        bucket: Bucket,
        key: &str,
        seen: Option<&ETag>,
    ) -> Result<bool, StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        let removed = self.retrying("delete", |_| place.delete(key, seen)).await;
        match removed.map_err(self.failed("deleting", bucket, Some(key))) {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(true),
            Err(StoreError::ConditionFailed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn download_if_changed(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
        known: Option<&ETag>,
    ) -> Result<Download, StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        let attempt = |_| place.download(key, to, max_bytes, known);
        self.retrying("download", attempt).await.map_err(self.failed(
            "downloading",
            bucket,
            Some(key),
        ))
    }

    async fn get(&self, bucket: Bucket, key: &str, max_bytes: u64) -> Result<Object, StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        self.retrying("get", |_| place.get(key, max_bytes)).await.map_err(self.failed(
            "reading",
            bucket,
            Some(key),
        ))
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        body: Bytes,
        content_type: &str,
        condition: Condition,
    ) -> Result<ETag, StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        let (body, condition) = (&body, &condition);
        let attempt = |past: retry::Past| async move {
            match place.put(key, body, content_type, condition).await {
                // The earlier write, which got no answer, may be the reason why the condition fails
                // now.
                Err(fault) if fault.is_condition() && past.in_doubt => {
                    place.written_by_us(key, body).await?.ok_or(fault)
                }
                outcome => outcome,
            }
        };
        let written =
            self.retrying("put", attempt).await.map_err(self.failed("writing", bucket, Some(key)));
        match (written, condition) {
            // An object that is gone has no version to be unchanged.
            (Err(StoreError::NotFound { bucket, key }), Condition::Unchanged(_)) => {
                Err(StoreError::ConditionFailed { bucket, key })
            }
            (written, _) => written,
        }
    }

    async fn upload(
        &self,
        bucket: Bucket,
        key: &str,
        from: &Path,
        content_type: &str,
    ) -> Result<(), StoreError> {
        self.upload_showing(bucket, key, from, content_type, &|_| {}).await
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.list_dated(bucket, prefix, usize::MAX).await?;
        Ok(listed.into_iter().map(|object| object.key).collect())
    }

    async fn list_dated(
        &self,
        bucket: Bucket,
        prefix: &str,
        max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let place = self.place(bucket);
        let mut found = BTreeMap::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let attempt = |_| place.list_page(prefix, None, token.clone(), None);
            let page = self
                .retrying("list", attempt)
                .await
                .map_err(self.failed("listing", bucket, None))?;
            // A store that keeps folders shows them as keys that end in '/'.
            let objects = page.objects.into_iter().filter(|object| !object.key.ends_with('/'));
            found.extend(objects.map(|object| (object.key.clone(), object)));
            token = page.next;
            if token.is_none() || found.len() >= max {
                return Ok(found.into_values().take(max).collect());
            }
        }
        Err(StoreError::Rejected {
            action: format!("listing {prefix:?} in the bucket {:?}", self.bucket_name(bucket)),
            reason: format!("it does not come to an end within {MAX_PAGES} pages"),
        })
    }

    async fn list_page(
        &self,
        bucket: Bucket,
        prefix: &str,
        after: &str,
        max: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let place = self.place(bucket);
        let mut found = BTreeMap::new();
        let mut after = after.to_owned();
        while found.len() < max {
            let start = (!after.is_empty()).then(|| after.clone());
            let attempt = |_| place.list_page(prefix, start.clone(), None, Some(max));
            let page = self
                .retrying("list", attempt)
                .await
                .map_err(self.failed("listing", bucket, None))?;
            // A store that begins with the key itself, or anywhere before it, never moves on.
            let last = page.objects.iter().map(|object| &object.key).max().cloned();
            let Some(last) = last.filter(|last| *last > after) else { break };
            let is_new = |object: &Listed| object.key > after && !object.key.ends_with('/');
            let new = page.objects.into_iter().filter(is_new);
            found.extend(new.map(|object| (object.key.clone(), object)));
            after = last;
            if page.next.is_none() {
                break;
            }
        }
        Ok(found.into_values().take(max).collect())
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError> {
        self.remove(bucket, key, None).await.map(drop)
    }

    async fn delete_unchanged(
        &self,
        bucket: Bucket,
        key: &str,
        seen: &ETag,
    ) -> Result<bool, StoreError> {
        self.remove(bucket, key, Some(seen)).await
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        for bucket in Bucket::ALL {
            match self.ensure_bucket(bucket).await {
                Err(error) if bucket == Bucket::Inputs => {
                    tracing::warn!(%error, "the bucket of inputs cannot be used; jobs that have inputs fail (MINIO_INPUTS_BUCKET)");
                }
                ensured => ensured?,
            }
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        let limit = CHECK_TIMEOUT.min(self.timeout);
        let asked = async {
            let looked = tokio::time::timeout(limit, self.state.look()).await;
            looked.unwrap_or_else(|_| Err(Fault::NoAnswer(format!("no answer within {limit:?}"))))
        };
        self.count("check", asked)
            .await
            .map(drop)
            .map_err(|fault| self.failed("looking for", Bucket::State, None)((fault, 1)))
    }

    fn bucket_name(&self, bucket: Bucket) -> &str {
        self.place(bucket).name()
    }

    fn origin(&self, bucket: Bucket) -> String {
        format!("{}/{}", self.endpoint, self.bucket_name(bucket))
    }
}

#[cfg(test)]
mod tests;
