//! How one request can fail, and whether a retry makes sense.

use std::error::Error;
use std::io;

use s3::error::S3Error;

use crate::metrics::StoreOutcome;
use crate::storage::StoreError;
use crate::tls::TlsProblem;

/// How much of a store's own message an error repeats, in characters.
const MAX_REASON: usize = 300;

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The store answered, with an error.
    Answer {
        /// The HTTP status.
        status: u16,
        /// S3's error code; empty if the answer had none.
        code: String,
        /// What the store said about it.
        message: String,
    },
    /// There was no answer, or not all of it.
    NoAnswer(String),
    /// No TLS connection came about.
    Tls(TlsProblem),
    /// The object is over the caller's limit, in bytes.
    TooLarge(u64),
    /// A file on this machine.
    Local(io::Error),
    /// The request could not be built, or the answer is not S3's.
    Malformed(String),
}

/// What was tried, for the error.
pub(super) struct Call<'a> {
    /// As in "reading".
    pub(super) verb: &'static str,
    pub(super) endpoint: &'a str,
    pub(super) bucket: &'a str,
    /// `None` if it is about the bucket.
    pub(super) key: Option<&'a str>,
}

impl Fault {
    /// An error of the connection, with its causes.
    pub(super) fn no_answer(error: &(dyn Error + 'static)) -> Self {
        TlsProblem::of(error).map_or_else(|| Self::NoAnswer(causes(error)), Self::Tls)
    }

    /// Whether the same request may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Answer { status, code, .. } => may_pass(*status, code),
            Self::NoAnswer(_) => true,
            // Nobody replaces a certificate within the pauses of one operation.
            Self::Tls(_) | Self::TooLarge(_) | Self::Local(_) | Self::Malformed(_) => false,
        }
    }

    /// Whether the store may have carried out the request anyway.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Answer { status, .. } => *status >= 500 || *status == 408,
            Self::NoAnswer(_) => true,
            Self::Tls(_) | Self::TooLarge(_) | Self::Local(_) | Self::Malformed(_) => false,
        }
    }

    /// Whether the condition of a write did not hold.
    pub(super) fn is_condition(&self) -> bool {
        matches!(self, Self::Answer { status: 412, .. })
    }

    /// Whether the object that was asked for still has the version that we know.
    pub(super) fn is_unchanged(&self) -> bool {
        matches!(self, Self::Answer { status: 304, .. })
    }

    /// What counts it.
    pub(super) fn outcome(&self) -> StoreOutcome {
        match self {
            Self::Answer { status: 404, .. } => StoreOutcome::Missing,
            Self::Answer { status: 304 | 409 | 412, .. } => StoreOutcome::Condition,
            Self::NoAnswer(_) | Self::Tls(_) => StoreOutcome::NoAnswer,
            Self::Answer { .. } | Self::TooLarge(_) | Self::Local(_) | Self::Malformed(_) => {
                StoreOutcome::Refused
            }
        }
    }

    /// Whether a new bucket exists already, ours or not.
    pub(super) fn is_bucket_there(&self) -> bool {
        matches!(self, Self::Answer { status: 409, code, .. } if code.starts_with("BucketAlready"))
    }

    /// The error for the caller, after `attempts` attempts.
    pub(super) fn into_error(self, call: &Call<'_>, attempts: usize) -> StoreError {
        let may_pass = self.may_pass();
        let bucket = call.bucket.to_owned();
        let reason = match self {
            Self::TooLarge(max_bytes) => {
                return StoreError::TooLarge { bucket, key: call.key(), max_bytes };
            }
            Self::Tls(problem) => {
                return StoreError::Tls { endpoint: call.endpoint.to_owned(), problem };
            }
            Self::Local(source) => {
                return StoreError::LocalFile { action: call.action(), source };
            }
            Self::Answer { status: 401 | 403, code, message } => {
                return StoreError::Denied { action: call.action(), reason: join(&code, &message) };
            }
            Self::Answer { status: 404, code, .. }
                if code == "NoSuchBucket" || call.key.is_none() =>
            {
                return StoreError::NoBucket { bucket };
            }
            Self::Answer { status: 404, .. } => {
                return StoreError::NotFound { bucket, key: call.key() };
            }
            Self::Answer { status: 412, .. } => {
                return StoreError::ConditionFailed { bucket, key: call.key() };
            }
            Self::Answer { status, code, message } => {
                format!("HTTP {status} {}", join(&code, &message))
            }
            Self::NoAnswer(reason) | Self::Malformed(reason) => reason,
        };
        let (action, endpoint) = (call.action(), call.endpoint.to_owned());
        if may_pass {
            StoreError::Unavailable { endpoint, action, attempts, reason }
        } else {
            StoreError::Rejected { action, reason: format!("{reason} (from {endpoint})") }
        }
    }
}

impl From<S3Error> for Fault {
    fn from(error: S3Error) -> Self {
        match error {
            S3Error::HttpFailWithBody(400, body) if is_told_to_use_tls(&body) => {
                Self::Tls(TlsProblem::SpeaksTls)
            }
            S3Error::HttpFailWithBody(status, body) => Self::Answer {
                status,
                code: element(&body, "Code").unwrap_or_default().to_owned(),
                message: shorten(element(&body, "Message").unwrap_or_default()),
            },
            S3Error::Reqwest(error) if error.is_builder() => Self::Malformed(causes(&error)),
            S3Error::Reqwest(error) => Self::no_answer(&error),
            S3Error::Io(error) => Self::Local(error),
            other => Self::Malformed(other.to_string()),
        }
    }
}

impl Call<'_> {
    /// As in `reading "a.zip" from "custom-bots"`.
    pub(super) fn action(&self) -> String {
        match self.key {
            Some(key) => format!("{} {key:?} in the bucket {:?}", self.verb, self.bucket),
            None => format!("{} the bucket {:?}", self.verb, self.bucket),
        }
    }

    fn key(&self) -> String {
        self.key.unwrap_or_default().to_owned()
    }
}

/// 501 and 505 say that the store cannot do this at all. AWS sends `RequestTimeout` as a 400.
fn may_pass(status: u16, code: &str) -> bool {
    match status {
        408 | 429 => true,
        400 => code == "RequestTimeout",
        409 => !code.starts_with("BucketAlready"),
        501 | 505 => false,
        _ => status >= 500,
    }
}

/// What Go's server and nginx answer to a client without TLS on their TLS port: plain words, not
/// S3.
fn is_told_to_use_tls(body: &str) -> bool {
    body.contains("HTTP request to an HTTPS server")
        || body.contains("plain HTTP request was sent to HTTPS port")
}

/// The text of the first XML element of that name: S3's errors are flat.
pub(super) fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_REASON).collect()
}

fn join(code: &str, message: &str) -> String {
    match (code, message) {
        ("", "") => "it gave no reason".to_owned(),
        (code, "") => code.to_owned(),
        ("", message) => message.to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

/// The causes of an error in one line. The outermost error only says that a request failed.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut cause = error.source().unwrap_or(error);
    let mut text = cause.to_string();
    while let Some(next) = cause.source() {
        let words = next.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = next;
    }
    shorten(&text)
}

#[cfg(test)]
mod tests;
