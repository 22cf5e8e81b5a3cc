//! The object store on S3 and what speaks like it.
//!
//! Here is what an operation means; one attempt of each is in [`request`], what its failure means
//! in [`fault`].

mod endpoint;
mod fault;
mod request;
mod retry;
mod transport;
mod upload;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use s3::creds::Credentials;

use self::fault::{Call, Fault};
use self::request::Place;
use self::transport::Transport;
use super::{Bucket, Condition, ETag, Object, ObjectStore, StoreError, key};
use crate::settings::StoreSettings;

/// How long [`ObjectStore::check`] waits at most.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of a listing, of up to 1,000 keys: against a store that never comes to an end.
const MAX_PAGES: usize = 10_000;

/// An S3-compatible store.
pub struct S3Store {
    endpoint: String,
    code: Place,
    results: Place,
    logs: Place,
    state: Place,
    max_attempts: usize,
    timeout: Duration,
}

impl S3Store {
    /// A store as the settings say. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Settings`] for an endpoint, a key or a bucket's name that cannot be used.
    pub fn new(settings: &StoreSettings) -> Result<Self, StoreError> {
        // rust-s3 would repeat some requests by itself, which multiplies with our own attempts.
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
            results: place("MINIO_BACKTESTS_BUCKET", &settings.results_bucket)?,
            logs: place("MINIO_LOGS_BUCKET", &settings.logs_bucket)?,
            state: place("MINIO_STATE_BUCKET", &settings.state_bucket)?,
            endpoint,
            max_attempts: settings.max_attempts,
            timeout: settings.timeout,
        })
    }

    fn place(&self, bucket: Bucket) -> &Place {
        match bucket {
            Bucket::Code => &self.code,
            Bucket::Results => &self.results,
            Bucket::Logs => &self.logs,
            Bucket::State => &self.state,
        }
    }

    fn pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        retry::pauses(self.max_attempts)
    }

    /// The error of an operation that failed after so many attempts.
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

    async fn ensure_bucket(&self, bucket: Bucket) -> Result<(), StoreError> {
        let place = self.place(bucket);
        let is_there = |_| place.list_page("", None, None, Some(1));
        let looked = retry::retrying(self.pauses(), is_there).await.map_err(self.failed(
            "looking for",
            bucket,
            None,
        ));
        match looked {
            Ok(_) => return Ok(()),
            Err(StoreError::NoBucket { .. }) => {}
            Err(error) => return Err(error),
        }
        let created = retry::retrying(self.pauses(), |_| place.create()).await;
        match created {
            Ok(()) => {
                tracing::info!(bucket = self.bucket_name(bucket), "created a bucket");
                return Ok(());
            }
            // Another worker was faster, or somebody else owns the name: looking again tells.
            Err((fault, _)) if fault.is_bucket_there() => {}
            Err(failure) => return Err(self.failed("creating", bucket, None)(failure)),
        }
        retry::retrying(self.pauses(), is_there)
            .await
            .map_err(self.failed("looking for", bucket, None))
            .map(drop)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn download(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
    ) -> Result<u64, StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        let attempt = |_| place.download(key, to, max_bytes);
        retry::retrying(self.pauses(), attempt).await.map_err(self.failed(
            "downloading",
            bucket,
            Some(key),
        ))
    }

    async fn get(&self, bucket: Bucket, key: &str, max_bytes: u64) -> Result<Object, StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        retry::retrying(self.pauses(), |_| place.get(key, max_bytes)).await.map_err(self.failed(
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
                // The write that got no answer may be what fails the condition now.
                Err(fault) if fault.is_condition() && past.in_doubt => {
                    place.written_by_us(key, body).await?.ok_or(fault)
                }
                outcome => outcome,
            }
        };
        let written = retry::retrying(self.pauses(), attempt).await.map_err(self.failed(
            "writing",
            bucket,
            Some(key),
        ));
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
        key::check(key)?;
        let place = self.place(bucket);
        retry::retrying(self.pauses(), |_| place.upload(key, from, content_type))
            .await
            .map_err(self.failed("uploading", bucket, Some(key)))
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        let place = self.place(bucket);
        let mut keys = BTreeSet::new();
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let attempt = |_| place.list_page(prefix, None, token.clone(), None);
            let page = retry::retrying(self.pauses(), attempt)
                .await
                .map_err(self.failed("listing", bucket, None))?;
            // A store that keeps folders shows them as keys that end in '/'.
            keys.extend(page.keys.into_iter().filter(|key| !key.ends_with('/')));
            token = page.next;
            if token.is_none() {
                return Ok(keys.into_iter().collect());
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
    ) -> Result<Vec<String>, StoreError> {
        let place = self.place(bucket);
        let mut keys = BTreeSet::new();
        let mut after = after.to_owned();
        while keys.len() < max {
            let start = (!after.is_empty()).then(|| after.clone());
            let attempt = |_| place.list_page(prefix, start.clone(), None, Some(max));
            let page = retry::retrying(self.pauses(), attempt)
                .await
                .map_err(self.failed("listing", bucket, None))?;
            // A store that begins with the key itself, or anywhere before it, never moves on.
            let Some(last) = page.keys.iter().max().filter(|last| **last > after).cloned() else {
                break;
            };
            let is_new = |key: &String| *key > after && !key.ends_with('/');
            keys.extend(page.keys.into_iter().filter(is_new));
            after = last;
            if page.next.is_none() {
                break;
            }
        }
        Ok(keys.into_iter().take(max).collect())
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError> {
        key::check(key)?;
        let place = self.place(bucket);
        let deleted = retry::retrying(self.pauses(), |_| place.delete(key))
            .await
            .map_err(self.failed("deleting", bucket, Some(key)));
        match deleted {
            Err(StoreError::NotFound { .. }) => Ok(()),
            deleted => deleted,
        }
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        for bucket in Bucket::ALL {
            self.ensure_bucket(bucket).await?;
        }
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        let limit = CHECK_TIMEOUT.min(self.timeout);
        let asked =
            tokio::time::timeout(limit, self.state.list_page("", None, None, Some(1))).await;
        asked
            .unwrap_or_else(|_| Err(Fault::NoAnswer(format!("no answer within {limit:?}"))))
            .map(drop)
            .map_err(|fault| self.failed("looking for", Bucket::State, None)((fault, 1)))
    }

    fn bucket_name(&self, bucket: Bucket) -> &str {
        self.place(bucket).name()
    }
}

#[cfg(test)]
mod tests;
