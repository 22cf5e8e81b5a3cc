//! Images: used as they are when present, pulled when missing, once for all who wait.

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
use super::progress::{Layers, PULLS, Progress, Reporter};
use crate::runner::orchestrator::EngineError;

/// How long an image that was seen counts as here: jobs come many a second, and hardly anybody removes
/// images while they do.
const SEEN_FOR: Duration = Duration::from_secs(10);

type Outcome = Option<Result<(), EngineError>>;

/// The pulls that are under way, by image.
type Pulls = Arc<Mutex<HashMap<String, watch::Receiver<Outcome>>>>;

/// The engine's images.
pub(super) struct Images {
    puller: Puller,
    pulls: Pulls,
    seen: Mutex<HashMap<String, Instant>>,
    tracker: TaskTracker,
    dropped: CancellationToken,
    _on_drop: DropGuard,
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

    /// Makes sure that the image is here, as far as was seen of late.
    pub(super) async fn ensure(&self, image: &str) -> Result<(), EngineError> {
        let is_fresh = |seen: &Instant| seen.elapsed() < SEEN_FOR;
        if self.seen.lock().get(image).is_some_and(is_fresh) {
            return Ok(());
        }
        if self.has(image).await? {
            self.seen.lock().insert(image.to_owned(), Instant::now());
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

    /// The next one who asks looks for the image anew: it was missed.
    pub(super) fn forget(&self, image: &str) {
        self.seen.lock().remove(image);
    }

    /// The pull runs on a task of its own, for whoever asked first may stop waiting.
    fn join_or_begin(&self, image: &str) -> watch::Receiver<Outcome> {
        let mut pulls = self.pulls.lock();
        // A closed channel with its entry still there is one whose task panicked.
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
        match self.engine.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(false),
            Err(error @ Error::DockerResponseServerError { status_code: 400, .. }) => {
                Err(EngineError::ImageMissing { image: image.to_owned(), reason: said(&error) })
            }
            Err(error) => Err(self.engine.failed("inspecting the image", image)(error)),
        }
    }

    async fn pull_if_missing(&self, image: &str) -> Result<(), EngineError> {
        // Another pull may have ended between the caller's look and this task.
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
        // To its end, for errors come as messages too.
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

/// The engine pulls every tag of a name that has none.
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

/// What passes by itself: limits of rate, and everything that is about the way to the registry.
/// Looked for first, for such a text may hold one of the words below as well.
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

/// What stays wrong however often it is asked for. There are no codes, only texts, and the same
/// one comes with the answer or inside its stream.
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
    fn what_asking_again_does_not_mend_is_told_from_what_passes() {
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
