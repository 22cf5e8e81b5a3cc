//! Bounds every request to the broker: by a time, and by the end of the connection.
//!
//! The library's futures may never resolve, for example when a connection is cut between the answer
//! to a `basic.get` and the content of the message. So every await is bounded: see
//! [`Channel`](super::channel::Channel), the only place that makes requests on a channel.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::lapin_error::{describe, reply_code};

/// How long the broker may take to answer one request. A busy broker takes a few seconds to declare
/// a quorum queue. A longer time does not help: heartbeats notice a dead connection at about the
/// same time.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long it may take to write a frame that the broker does not answer, such as an ack.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The broker refused it, or the library gave up.
    #[error("{}", describe(.0))]
    Failed(#[from] lapin::Error),
    /// The connection ended first.
    #[error("the connection was lost")]
    Lost,
    /// There was no answer in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// There was no answer in time, because the broker reads nothing from this connection.
    #[error("RabbitMQ is short of memory or disk and takes nothing from this connection for now")]
    Blocked,
}

impl RequestError {
    /// Whether the outcome of the request is unknown: an answer may still come.
    pub(super) fn is_undecided(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Blocked)
    }

    /// As [`reply_code`].
    pub(super) fn reply_code(&self) -> Option<u16> {
        match self {
            Self::Failed(error) => reply_code(error),
            Self::Lost | Self::NoAnswer(_) | Self::Blocked => None,
        }
    }
}

/// Awaits a request, at most for `limit` and at most until `gone` is cancelled.
pub(super) async fn within<T>(
    gone: &CancellationToken,
    limit: Duration,
    request: impl Future<Output = lapin::Result<T>>,
) -> Result<T, RequestError> {
    tokio::select! {
        biased;
        answer = request => Ok(answer?),
        () = gone.cancelled() => Err(RequestError::Lost),
        () = tokio::time::sleep(limit) => Err(RequestError::NoAnswer(limit)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_never_answered_ends_by_time_or_with_its_connection() {
        let gone = CancellationToken::new();
        let never = || pending::<lapin::Result<()>>();
        let late = within(&gone, ANSWER_TIMEOUT, never()).await.unwrap_err();
        assert!(late.is_undecided(), "{late}");
        assert_eq!(late.to_string(), "no answer within 10 s");
        gone.cancel();
        let lost = within(&gone, ANSWER_TIMEOUT, never()).await.unwrap_err();
        assert!(!lost.is_undecided(), "{lost}");
        assert!(within(&gone, ANSWER_TIMEOUT, ready(Ok(()))).await.is_ok(), "it was there already");
    }

    /// Code that only the named files may contain. Elsewhere it would be a request without a bound.
    const BARE: &[(&str, &[&str])] = &[
        ("lapin::options", &["channel.rs"]),
        ("lapin::Channel", &["channel.rs"]),
        (".acker", &["channel.rs"]),
        ("create_channel", &["channel.rs"]),
        ("PublisherConfirm", &["channel.rs"]),
        ("lapin::Consumer", &["channel.rs"]),
        ("lapin::Connection", &["link.rs", "dial.rs", "dial_any.rs", "connection.rs"]),
    ];

    #[test]
    fn only_the_bounded_channel_makes_requests_of_the_library() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/broker");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() || name == "bounded.rs" {
                continue;
            }
            // `use lapin::{Channel, …}` is the same as `lapin::Channel`.
            let text = std::fs::read_to_string(&path).unwrap();
            let grouped: Vec<_> = text
                .split("use lapin::{")
                .skip(1)
                .flat_map(|rest| rest.split('}').next().unwrap_or_default().split(','))
                .map(|item| format!("lapin::{}", item.trim()))
                .collect();
            read += 1;
            for (word, allowed) in BARE {
                let is_there = text.contains(word) || grouped.iter().any(|item| item == word);
                assert!(!is_there || allowed.contains(&name.as_str()), "{word} in {name}");
            }
        }
        assert!(read > 10, "the folder has moved");
    }
}
