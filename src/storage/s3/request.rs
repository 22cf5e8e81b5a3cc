//! One attempt of one request, on rust-s3.
//!
//! Times: an answer must begin within the settings' time-out, and the pauses between two pieces of
//! a body must be shorter than that. The size of a whole transfer bounds its time, at the speed
//! [`SLOWEST`].

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::Response;
use s3::command::Command;
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::serde_types::ListBucketResult;
use s3::{Bucket as Handle, BucketConfiguration, Region};
use tokio::time::timeout;

use super::fault::Fault;
use super::transport::{Transport, text};
use crate::storage::part_file::PartFile;
use crate::storage::{Condition, Download, ETag, Listed, Object};

/// The slowest accepted transfer, in bytes a second.
const SLOWEST: u64 = 64 * 1024;

/// The longest answer that is read as a whole, in bytes: a page of 1,000 keys with room to spare.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The region for which S3 accepts no location when a bucket is created.
const DEFAULT_REGION: &str = "us-east-1";

/// A prefix below which there is nothing. A list of a whole bucket takes some stores long: SeaweedFS goes through
/// what was deleted lately.
const NOTHING: &str = ".longshore-check/";

/// One bucket of the store.
pub(super) struct Place {
    name: String,
    handle: Box<Handle>,
    transport: Arc<Transport>,
    timeout: Duration,
}

/// The header of an object that says what its bytes hash to.
const SHA256: &str = "x-amz-meta-sha256";

/// What is known of an object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its size.
    pub bytes: Option<u64>,
    /// The SHA-256 of its bytes, in hexadecimal, as whoever stored it said.
    pub sha256: Option<String>,
}

/// One page of a listing.
pub(super) struct Page {
    pub(super) objects: Vec<Listed>,
    /// Where the next one begins.
    pub(super) next: Option<String>,
}

impl Place {
    pub(super) fn new(
        name: &str,
        region: Region,
        credentials: Credentials,
        transport: Arc<Transport>,
        timeout: Duration,
    ) -> Result<Self, S3Error> {
        let handle = Handle::new(name, region, credentials)?.with_path_style();
        Ok(Self { name: name.to_owned(), handle, transport, timeout })
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, Fault> {
        let mut body = self.open(key, max_bytes, None).await?;
        let etag = body.etag.clone();
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(Object { bytes: bytes.freeze(), etag })
    }

    /// What is known of an object; `None` if there is none, or if this user may not look.
    pub(super) async fn describe(&self, key: &str) -> Result<Option<Described>, Fault> {
        let answer = match self.send(&path(key), Command::HeadObject, self.timeout).await {
            Err(Fault::Answer { status: 403 | 404, .. }) => return Ok(None),
            answer => answer?,
        };
        let text = |name: &str| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
        Ok(Some(Described {
            bytes: text("content-length").and_then(|length| length.parse().ok()),
            sha256: text(SHA256),
        }))
    }

    pub(super) async fn download(
        &self,
        key: &str,
        to: &Path,
        max_bytes: u64,
        known: Option<&ETag>,
    ) -> Result<Download, Fault> {
        let mut body = match self.open(key, max_bytes, known).await {
            Err(fault) if known.is_some() && fault.is_unchanged() => {
                return Ok(Download::Unchanged);
            }
            opened => opened?,
        };
        let mut file = PartFile::create(to).map_err(Fault::Local)?;
        while let Some(piece) = body.next().await? {
            file.write(&piece).await.map_err(Fault::Local)?;
        }
        file.finish().await.map_err(Fault::Local)?;
        Ok(Download::Done { bytes: body.received, etag: body.etag })
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

    /// The version of the object if its bytes are `body`.
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

    /// Removes an object; with `seen`, only if it still has this version.
    pub(super) async fn delete(&self, key: &str, seen: Option<&ETag>) -> Result<(), Fault> {
        let Some(seen) = seen else {
            return self.send(&path(key), Command::DeleteObject, self.timeout).await.map(drop);
        };
        let only = [(header::IF_MATCH, version(&seen.0)?)];
        let handle = self.handle.with_extra_headers(HeaderMap::from_iter(only))?;
        let path = path(key);
        let sent = self.transport.send(&handle, &path, Command::DeleteObject);
        within(self.timeout, sent).await?.map(drop)
    }

    pub(super) async fn create(&self) -> Result<(), Fault> {
        let mut config = BucketConfiguration::default();
        let region = self.handle.region();
        if region.to_string() != DEFAULT_REGION {
            config.set_region(region);
        }
        self.send("", Command::CreateBucket { config }, self.timeout).await.map(drop)
    }

    /// Whether the bucket can be reached.
    pub(super) async fn look(&self) -> Result<(), Fault> {
        self.list_page(NOTHING, None, None, Some(1)).await.map(drop)
    }

    pub(super) async fn list_page(
        &self,
        prefix: &str,
        after: Option<String>,
        token: Option<String>,
        max_keys: Option<usize>,
    ) -> Result<Page, Fault> {
        let command = Command::ListObjectsV2 {
            prefix: prefix.to_owned(),
            delimiter: None,
            continuation_token: token,
            start_after: after,
            max_keys,
        };
        let said = self.ask("/", command, self.timeout).await?;
        let page: ListBucketResult = quick_xml::de::from_str(&said)
            .map_err(|error| Fault::Malformed(format!("its list cannot be read: {error}")))?;
        let listed = page.contents.into_iter().map(|object| Listed {
            written_at: object.last_modified.parse().ok(),
            etag: object.e_tag.map(ETag),
            bytes: Some(object.size),
            key: object.key,
        });
        Ok(Page { objects: listed.collect(), next: page.next_continuation_token })
    }

    /// Asks for an object. One that still has the version `known` is a [`Fault::is_unchanged`].
    async fn open(&self, key: &str, max_bytes: u64, known: Option<&ETag>) -> Result<Body, Fault> {
        let (path, get) = (path(key), Command::GetObject);
        let answer = match known {
            None => self.send(&path, get, self.timeout).await?,
            Some(ETag(known)) => {
                let unless = [(header::IF_NONE_MATCH, version(known)?)];
                let handle = self.handle.with_extra_headers(HeaderMap::from_iter(unless))?;
                within(self.timeout, self.transport.send(&handle, &path, get)).await??
            }
        };
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
    pub(super) async fn send(
        &self,
        path: &str,
        command: Command<'_>,
        limit: Duration,
    ) -> Result<Response, Fault> {
        within(limit, self.transport.send(&self.handle, path, command)).await?
    }

    /// Sends a request and reads the answer's body, which is short.
    pub(super) async fn ask(
        &self,
        path: &str,
        command: Command<'_>,
        limit: Duration,
    ) -> Result<String, Fault> {
        self.ask_with(None, path, command, limit).await
    }

    /// The same with more headers.
    pub(super) async fn ask_with(
        &self,
        headers: Option<HeaderMap>,
        path: &str,
        command: Command<'_>,
        limit: Duration,
    ) -> Result<String, Fault> {
        let with_more;
        let handle = match headers {
            Some(headers) => {
                with_more = self.handle.with_extra_headers(headers)?;
                &with_more
            }
            None => &self.handle,
        };
        let exchange = async {
            let answer = self.transport.send(handle, path, command).await?;
            text(answer, MAX_ANSWER_BYTES).await
        };
        within(limit, exchange).await?
    }
}

/// The body of an object, piece by piece.
struct Body {
    answer: Response,
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
pub(super) fn transfer_time(timeout: Duration, bytes: u64) -> Duration {
    timeout.saturating_add(Duration::from_secs(bytes / SLOWEST))
}

/// rust-s3 removes one slash from the front of a path, so we add one.
pub(super) fn path(key: &str) -> String {
    format!("/{key}")
}

fn condition_headers(condition: &Condition) -> Result<Option<HeaderMap>, Fault> {
    let header = match condition {
        Condition::None => return Ok(None),
        Condition::Absent => (header::IF_NONE_MATCH, HeaderValue::from_static("*")),
        Condition::Unchanged(ETag(etag)) => (header::IF_MATCH, version(etag)?),
    };
    Ok(Some(HeaderMap::from_iter([header])))
}

/// The headers of an object whose bytes hash to this.
pub(super) fn description(sha256: &str) -> Result<HeaderMap, Fault> {
    let value = HeaderValue::from_str(sha256)
        .map_err(|_| Fault::Malformed(format!("{sha256:?} is no hash")))?;
    Ok(HeaderMap::from_iter([(HeaderName::from_static(SHA256), value)]))
}

fn version(etag: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(etag).map_err(|_| Fault::Malformed(format!("{etag:?} is not a version")))
}

pub(super) fn etag_of(headers: &HeaderMap) -> Result<ETag, Fault> {
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
        assert_eq!(transfer_time(timeout, 8 << 20), timeout + Duration::from_secs(128));
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
