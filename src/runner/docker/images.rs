//! Images: used unchanged if present, pulled if missing, once for all jobs that wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use indicatif::MultiProgress;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::engine::{Engine, said};
use super::progress::{Layers, Reporter};
use crate::runner::orchestrator::EngineError;
use crate::runner::progress::{PULLS, Progress};

/// How long an image that was seen counts as present. Many jobs come in a second, and hardly
/// anybody removes images then.
const SEEN_FOR: Duration = Duration::from_secs(10);

type Outcome = Option<Result<(), EngineError>>;

/// The pulls that are under way, by image.
type Pulls = Arc<Mutex<HashMap<String, watch::Receiver<Outcome>>>>;

/// The engine's images.
pub(super) struct Images {
    puller: Puller,
    pulls: Pulls,
    seen: Mutex<HashMap<String, Seen>>,
    tracker: TaskTracker,
    dropped: CancellationToken,
    _on_drop: DropGuard,
}

/// An image that was here.
struct Seen {
    at: Instant,
    id: String,
}

#[derive(Clone)]
struct Puller {
    engine: Engine,
    timeout: Duration,
    progress: Progress,
    bars: MultiProgress,
}

impl Images {
    pub(super) fn new(engine: Engine, timeout: Duration, progress: Progress) -> Self {
        let dropped = CancellationToken::new();
        Self {
            puller: Puller { engine, timeout, progress, bars: MultiProgress::new() },
            pulls: Pulls::default(),
            seen: Mutex::default(),
            tracker: TaskTracker::new(),
            _on_drop: dropped.clone().drop_guard(),
            dropped,
        }
    }

    /// Whether the image is here.
    pub(super) async fn has(&self, image: &str) -> Result<bool, EngineError> {
        self.puller.has(image).await
    }

    /// The id of the image, as far as was seen of late; `None` where it is not here.
    pub(super) async fn id(&self, image: &str) -> Result<Option<String>, EngineError> {
        if let Some(id) = self.seen_id(image) {
            return Ok(Some(id));
        }
        let found = self.puller.find(image).await?;
        if let Some(id) = &found {
            let seen = Seen { at: Instant::now(), id: id.clone() };
            self.seen.lock().insert(image.to_owned(), seen);
        }
        Ok(found)
    }

    fn seen_id(&self, image: &str) -> Option<String> {
        let seen = self.seen.lock();
        let seen = seen.get(image).filter(|seen| seen.at.elapsed() < SEEN_FOR)?;
        Some(seen.id.clone())
    }

    /// Makes sure that the image is here, as far as was seen of late.
    pub(super) async fn ensure(&self, image: &str) -> Result<(), EngineError> {
        if self.id(image).await?.is_some() {
            return Ok(());
        }
        let mut pull = self.join_or_begin(image);
        match pull.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Err(EngineError::Pull {
                image: image.to_owned(),
                reason: "it was broken off".to_owned(),
            }),
        }
    }

    /// The next request checks for the image again, because it was missing.
    pub(super) fn forget(&self, image: &str) {
        self.seen.lock().remove(image);
    }

    /// The pull runs on a separate task, because the first caller may stop waiting.
    fn join_or_begin(&self, image: &str) -> watch::Receiver<Outcome> {
        let mut pulls = self.pulls.lock();
        // If the channel is closed and its entry still exists, its task panicked.
        if let Some(pull) = pulls.get(image).filter(|pull| pull.has_changed().is_ok()) {
            return pull.clone();
        }
        let (sender, receiver) = watch::channel(None);
        pulls.insert(image.to_owned(), receiver.clone());
        let (puller, pulls) = (self.puller.clone(), Arc::clone(&self.pulls));
        let (image, dropped) = (image.to_owned(), self.dropped.clone());
        self.tracker.spawn(async move {
            let outcome = dropped.run_until_cancelled(puller.pull_if_missing(&image)).await;
            pulls.lock().remove(&image);
            sender.send_replace(outcome);
        });
        receiver
    }
}

impl Puller {
    async fn has(&self, image: &str) -> Result<bool, EngineError> {
        Ok(self.find(image).await?.is_some())
    }

    /// The id of the image; `None` where it is not here.
    async fn find(&self, image: &str) -> Result<Option<String>, EngineError> {
        match self.engine.docker.inspect_image(image).await {
            Ok(found) => Ok(Some(found.id.unwrap_or_else(|| image.to_owned()))),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error @ Error::DockerResponseServerError { status_code: 400, .. }) => {
                Err(EngineError::ImageMissing { image: image.to_owned(), reason: said(&error) })
            }
            Err(error) => Err(self.engine.failed("inspecting the image", image)(error)),
        }
    }

    async fn pull_if_missing(&self, image: &str) -> Result<(), EngineError> {
        // Another pull may have ended between the caller's check and this task.
        if self.has(image).await? {
            return Ok(());
        }
        let begun = Instant::now();
        let failed = |reason| EngineError::Pull { image: image.to_owned(), reason };
        let pull = tokio::time::timeout(self.timeout, self.pull(image));
        pull.await.unwrap_or_else(|_| {
            Err(failed(format!("it took longer than {} s", self.timeout.as_secs())))
        })?;
        if !self.has(image).await? {
            return Err(failed("the engine ended the pull, and the image is not here".to_owned()));
        }
        let duration_seconds = begun.elapsed().as_secs_f64();
        tracing::info!(target: PULLS, image, duration_seconds, "pulled image");
        Ok(())
    }

    async fn pull(&self, image: &str) -> Result<(), EngineError> {
        let options = CreateImageOptionsBuilder::default().from_image(&with_tag(image)).build();
        let mut messages =
            std::pin::pin!(self.engine.docker.create_image(Some(options), None, None));
        let mut reporter = Reporter::new(self.progress, &self.bars, image);
        let mut layers = Layers::default();
        // Read to its end, because errors come as messages, too.
        while let Some(message) =
            messages.try_next().await.map_err(|error| pull_error(image, &error))?
        {
            if let Some(detail) = &message.error_detail {
                let said = detail.message.as_deref().unwrap_or("the engine gave no reason");
                return Err(judged(image, said));
            }
            layers.update(&message);
            reporter.show(layers.amount());
        }
        Ok(())
    }
}

/// If a name has no tag, the engine pulls every tag.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

fn pull_error(image: &str, error: &Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => {
            judged(image, &said(error))
        }
        _ => EngineError::Pull { image: image.to_owned(), reason: said(error) },
    }
}

/// Errors that pass by themselves: rate limits, and everything about the way to the registry.
/// Checked first, because such a text may also have one of the words below.
const PASSING: [&str; 9] = [
    "toomanyrequests",
    "rate limit",
    "dial tcp",
    "timeout",
    "timed out",
    "connection re",
    "no such host",
    "unexpected eof",
    "tls handshake",
];

/// Errors that stay, however often we ask. There are no codes, only texts, and they come in the
/// answer or inside its stream.
const LASTING: [&str; 6] = [
    "manifest unknown",
    "not found",
    "denied",
    "unauthorized",
    "does not exist",
    "invalid reference format",
];

fn judged(image: &str, said: &str) -> EngineError {
    let text = said.to_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let (image, reason) = (image.to_owned(), said.to_owned());
    if !holds(&PASSING) && holds(&LASTING) {
        EngineError::ImageMissing { image, reason }
    } else {
        EngineError::Pull { image, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_means_the_latest() {
        for (image, expected) in [
            ("python", "python:latest"),
            ("python:3.11-slim", "python:3.11-slim"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("localhost:5000/a/x:1", "localhost:5000/a/x:1"),
            ("x@sha256:00", "x@sha256:00"),
        ] {
            assert_eq!(with_tag(image), expected);
        }
    }

    #[test]
    fn permanent_errors_of_a_pull_differ_from_transient_ones() {
        for (said, is_lasting) in [
            ("manifest for x:1 not found: manifest unknown: manifest unknown", true),
            ("pull access denied for x, repository does not exist or may require login", true),
            ("unauthorized: authentication required", true),
            ("invalid reference format", true),
            ("toomanyrequests: You have reached your pull rate limit. denied", false),
            ("Get \"https://r/v2/\": dial tcp: lookup r: no such host", false),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                false,
            ),
            ("net/http: TLS handshake timeout", false),
            ("unexpected EOF", false),
            ("received unexpected HTTP status: 500 Internal Server Error", false),
        ] {
            let error = judged("x:1", said);
            let found = matches!(error, EngineError::ImageMissing { .. });
            assert_eq!(found, is_lasting, "{said}");
            assert!(error.to_string().contains(said));
        }
    }
}
