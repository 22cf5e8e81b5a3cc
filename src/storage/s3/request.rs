//! One attempt of one request, on rust-s3.
//!
//! Times: an answer must begin within the settings' time-out, and between two pieces of a body no
//! more than that may pass. A whole transfer is bounded by its size at [`SLOWEST`].

use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use s3::command::Command;
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::request::Request;
use s3::request::tokio_backend::ReqwestRequest;
use s3::{Bucket as Handle, BucketConfiguration, Region};
use tokio::time::timeout;

use super::fault::Fault;
use crate::storage::part_file::PartFile;
use crate::storage::{Condition, ETag, Object};

/// The slowest transfer that is waited for, in bytes a second.
const SLOWEST: u64 = 64 * 1024;

/// The size of an upload's parts in rust-s3, in bytes; a smaller file is one plain PUT.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Parts of one upload in flight; each takes its size twice in memory.
const CONCURRENT_PARTS: usize = 2;

/// The region in which S3 wants no location named when a bucket is created.
const DEFAULT_REGION: &str = "us-east-1";

type Answer = <ReqwestRequest<'static> as Request>::Response;

/// One bucket of the store.
pub(super) struct Place {
    name: String,
    handle: Handle,
    /// For an upload, whose requests rust-s3 sends by itself: with a limit for each.
    uploads: Handle,
    timeout: Duration,
}

/// One page of a listing.
pub(super) struct Page {
    pub(super) keys: Vec<String>,
    /// Where the next one begins.
    pub(super) next: Option<String>,
}

impl Place {
    pub(super) fn new(
        name: &str,
        region: Region,
        credentials: Credentials,
        timeout: Duration,
    ) -> Result<Self, S3Error> {
        let mut handle = *Handle::new(name, region, credentials)?.with_path_style();
        // Its own limit would cut off a long body that is still coming.
        handle.set_request_timeout(None);
        let mut uploads = handle.clone();
        uploads.set_request_timeout(Some(transfer_time(timeout, PART_BYTES)));
        Ok(Self { name: name.to_owned(), handle, uploads, timeout })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, Fault> {
        let mut body = self.open(key, max_bytes).await?;
        let etag = body.etag.clone();
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(Object { bytes: bytes.freeze(), etag })
    }

    pub(super) async fn download(
        &self,
        key: &str,
        to: &Path,
        max_bytes: u64,
    ) -> Result<u64, Fault> {
        let mut body = self.open(key, max_bytes).await?;
        let mut file = PartFile::create(to).map_err(Fault::Local)?;
        while let Some(piece) = body.next().await? {
            file.write(&piece).await.map_err(Fault::Local)?;
        }
        file.finish().await.map_err(Fault::Local)?;
        Ok(body.received)
    }

    pub(super) async fn put(
        &self,
        key: &str,
        body: &Bytes,
        content_type: &str,
        condition: &Condition,
    ) -> Result<ETag, Fault> {
        let command = Command::PutObject {
            content: body,
            content_type,
            custom_headers: condition_headers(condition)?,
            multipart: None,
        };
        let limit = transfer_time(self.timeout, body.len() as u64);
        let answer = self.send(&path(key), command, limit).await?;
        etag_of(answer.headers())
    }

    /// The version of the object where its bytes are `body`.
    pub(super) async fn written_by_us(
        &self,
        key: &str,
        body: &Bytes,
    ) -> Result<Option<ETag>, Fault> {
        match self.get(key, body.len() as u64).await {
            Ok(object) => Ok((object.bytes == *body).then_some(object.etag)),
            Err(Fault::TooLarge(_) | Fault::Answer { status: 404, .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(super) async fn upload(
        &self,
        key: &str,
        from: &Path,
        content_type: &str,
    ) -> Result<(), Fault> {
        let mut file = tokio::fs::File::open(from).await.map_err(Fault::Local)?;
        self.uploads
            .put_object_stream_builder(path(key))
            .with_content_type(content_type)
            .with_max_concurrent_chunks(CONCURRENT_PARTS)
            .execute_stream(&mut file)
            .await?;
        Ok(())
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.send(&path(key), Command::DeleteObject, self.timeout).await.map(drop)
    }

    pub(super) async fn create(&self) -> Result<(), Fault> {
        let mut config = BucketConfiguration::default();
        let region = self.handle.region();
        if region.to_string() != DEFAULT_REGION {
            config.set_region(region);
        }
        self.send("", Command::CreateBucket { config }, self.timeout).await.map(drop)
    }

    pub(super) async fn list_page(
        &self,
        prefix: &str,
        after: Option<String>,
        token: Option<String>,
        max_keys: Option<usize>,
    ) -> Result<Page, Fault> {
        let page = self.handle.list_page(prefix.to_owned(), None, token, after, max_keys);
        let (page, _) = within(self.timeout, page).await??;
        let keys = page.contents.into_iter().map(|object| object.key).collect();
        Ok(Page { keys, next: page.next_continuation_token })
    }

    async fn open(&self, key: &str, max_bytes: u64) -> Result<Body, Fault> {
        let answer = self.send(&path(key), Command::GetObject, self.timeout).await?;
        let declared = answer.content_length();
        if declared.is_some_and(|bytes| bytes > max_bytes) {
            return Err(Fault::TooLarge(max_bytes));
        }
        let limit = transfer_time(self.timeout, declared.unwrap_or(max_bytes));
        let etag = etag_of(answer.headers())?;
        let ends = tokio::time::Instant::now() + limit;
        Ok(Body { answer, etag, received: 0, max_bytes, timeout: self.timeout, ends })
    }

    /// Sends a request; the answer's body is still to be read.
    async fn send(
        &self,
        path: &str,
        command: Command<'_>,
        limit: Duration,
    ) -> Result<Answer, Fault> {
        let exchange =
            async { ReqwestRequest::new(&self.handle, path, command).await?.response().await };
        Ok(within(limit, exchange).await??)
    }
}

/// The body of an object, piece by piece.
struct Body {
    answer: Answer,
    etag: ETag,
    received: u64,
    max_bytes: u64,
    timeout: Duration,
    ends: tokio::time::Instant,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let left = self.ends.saturating_duration_since(tokio::time::Instant::now());
        let piece = within(self.timeout.min(left), self.answer.chunk()).await?;
        let Some(piece) = piece.map_err(|error| Fault::no_answer(&error))? else {
            return Ok(None);
        };
        self.received += piece.len() as u64;
        if self.received > self.max_bytes {
            return Err(Fault::TooLarge(self.max_bytes));
        }
        Ok(Some(piece))
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Fault> {
    timeout(limit, work)
        .await
        .map_err(|_| Fault::NoAnswer(format!("nothing came within {limit:.1?}")))
}

/// How long `bytes` may take.
fn transfer_time(timeout: Duration, bytes: u64) -> Duration {
    timeout.saturating_add(Duration::from_secs(bytes / SLOWEST))
}

/// rust-s3 takes one slash off the front of a path: ours, not the key's.
fn path(key: &str) -> String {
    format!("/{key}")
}

fn condition_headers(condition: &Condition) -> Result<Option<HeaderMap>, Fault> {
    let header = match condition {
        Condition::None => return Ok(None),
        Condition::Absent => (header::IF_NONE_MATCH, HeaderValue::from_static("*")),
        Condition::Unchanged(ETag(etag)) => {
            let value = HeaderValue::from_str(etag)
                .map_err(|_| Fault::Malformed(format!("{etag:?} is not a version")))?;
            (header::IF_MATCH, value)
        }
    };
    Ok(Some(HeaderMap::from_iter([header])))
}

fn etag_of(headers: &HeaderMap) -> Result<ETag, Fault> {
    headers
        .get(header::ETAG)
        .and_then(|value| value.to_str().ok())
        .map(|etag| ETag(etag.to_owned()))
        .ok_or_else(|| Fault::Malformed("the answer has no ETag".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_transfer_may_take_longer() {
        let timeout = Duration::from_secs(45);
        assert_eq!(transfer_time(timeout, 0), timeout);
        assert_eq!(transfer_time(timeout, PART_BYTES), timeout + Duration::from_secs(128));
        assert!(transfer_time(Duration::MAX, u64::MAX) == Duration::MAX);
    }

    #[test]
    fn a_condition_is_a_header_and_never_a_panic() {
        assert!(condition_headers(&Condition::None).unwrap().is_none());
        let absent = condition_headers(&Condition::Absent).unwrap().unwrap();
        assert_eq!(absent[header::IF_NONE_MATCH], "*");
        let etag = |text: &str| Condition::Unchanged(ETag(text.to_owned()));
        let unchanged = condition_headers(&etag("\"a1\"")).unwrap().unwrap();
        assert_eq!(unchanged[header::IF_MATCH], "\"a1\"");
        assert!(matches!(condition_headers(&etag("a\nb")), Err(Fault::Malformed(_))));
    }

    #[test]
    fn the_slash_before_a_key_stays_the_keys() {
        assert_eq!(path("a"), "/a");
        assert_eq!(path("/a"), "//a");
    }
}
