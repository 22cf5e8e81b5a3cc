//! Says what happens to a run: status events in order, without holding up the run.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::publisher::Publisher;
use crate::broker::ReplyTo;
use crate::job::{Event, EventData, ExecutionResult, Job, Run, State, Status};
use crate::logs::{LiveTap, Mask};
use crate::runner::{RunObserver, Uptime};
use crate::worker::ownership::tenure::Tenure;

/// Status events of one run that may wait for the broker; more are dropped and logged. A run has
/// five, and two for each restart or turn of its health.
const MAX_WAITING: usize = 256;

/// How long the status events of a run that has ended may hold up its result.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes the status events of one run, one after the other.
pub struct Reporter {
    publisher: Publisher,
    traceparent: Option<String>,
    run: Mutex<Run>,
    waiting: mpsc::Sender<Event>,
    task: JoinHandle<()>,
    live: Option<LiveTap>,
    tenure: Option<Arc<Tenure>>,
    mask: Mask,
}

impl Reporter {
    /// A reporter on `run`.
    #[must_use]
    pub fn new(publisher: Publisher, run: Run, traceparent: Option<String>) -> Self {
        let (waiting, mut events) = mpsc::channel::<Event>(MAX_WAITING);
        let to = publisher.clone();
        let task = publisher.tracker.spawn(async move {
            while let Some(event) = events.recv().await {
                to.publish(&event, None).await;
            }
        });
        let mask = publisher.mask(&run.job.secrets);
        let run = Mutex::new(run);
        Self { publisher, traceparent, run, waiting, task, live: None, tenure: None, mask }
    }

    /// Also sends the run's output to `live`, as it comes.
    #[must_use]
    pub fn with_live_tap(self, live: LiveTap) -> Self {
        Self { live: Some(live), ..self }
    }

    /// Lets containers start only while `tenure` is proven.
    #[must_use]
    pub(in crate::worker) fn under(self, tenure: Arc<Tenure>) -> Self {
        Self { tenure: Some(tenure), ..self }
    }

    /// The attempt that status events name from now on.
    pub fn set_attempt(&self, attempt: u32) {
        self.run.lock().attempt = attempt;
    }

    /// Reports a state, with a sentence about it.
    pub fn report(&self, state: State, container: Option<&str>, message: Option<String>) {
        let run = self.run.lock().clone();
        let message = message.map(|message| self.mask.text(message));
        tracing::info!(
            job.id = %run.job.id, run.id = %run.job.run_id, attempt = run.attempt,
            state = state.as_str(), container.id = container, message, "a run changed its state"
        );
        let status = Status {
            id: run.job.id.clone(),
            run_id: Some(run.job.run_id.clone()),
            state,
            entrypoint: Some(run.job.entrypoint),
            attempt: run.attempt,
            segment: Some(run.segment),
            worker: self.publisher.worker.clone(),
            container_id: container.map(str::to_owned),
            verdict: None,
            message,
        };
        let id = uuid::Uuid::now_v7().to_string();
        let source = self.publisher.source_of(status.segment);
        let data = EventData::Status(status);
        let event = Event::new(id, source, self.traceparent.clone(), data);
        if self.waiting.try_send(event).is_err() {
            tracing::error!(job.id = %run.job.id, "dropped a status event, because too many wait for the broker");
        }
    }

    /// The result event of the run. Its id depends on the run alone, so that a reader can drop it
    /// when it comes again.
    #[must_use]
    pub fn result_event(&self, result: ExecutionResult) -> Event {
        let result = self.masked(result);
        let run_id = result.run_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let source = self.publisher.source_of(result.segment);
        let data = EventData::Result(result);
        Event::new(format!("{run_id}/result"), source, self.traceparent.clone(), data)
    }

    /// A result without the secrets of its run. Output and result come without them already.
    #[must_use]
    pub fn masked(&self, mut result: ExecutionResult) -> ExecutionResult {
        result.message = self.mask.text(result.message);
        result.error = result.error.map(|error| self.mask.text(error));
        for text in result.metadata.values_mut() {
            *text = self.mask.text(std::mem::take(text));
        }
        result
    }

    /// Reports the end and publishes the result, after everything that was reported before.
    /// Gives whether the broker confirmed it.
    pub async fn finish(self, event: &Event, reply: Option<&ReplyTo>) -> bool {
        let publisher = self.drain().await;
        publisher.end(event, reply).await
    }

    /// Waits until everything that was reported is published, or dropped after a while.
    pub async fn drain(self) -> Publisher {
        let Self { publisher, waiting, mut task, .. } = self;
        drop(waiting);
        match tokio::time::timeout(DRAIN_TIMEOUT, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "could not publish status events"),
            Err(_) => {
                task.abort();
                let seconds = DRAIN_TIMEOUT.as_secs();
                tracing::warn!(
                    seconds,
                    "dropped status events that the broker did not take in time"
                );
            }
        }
        publisher
    }
}

impl RunObserver for Reporter {
    fn state(&self, state: State, container: Option<&str>) {
        self.report(state, container, None);
    }

    fn may_start(&self) -> bool {
        self.tenure.as_ref().is_none_or(|tenure| tenure.is_proven())
    }

    fn proven_at(&self) -> Option<Uptime> {
        self.tenure.as_ref().and_then(|tenure| tenure.proven_at())
    }

    fn mask(&self, _: &Job) -> Mask {
        self.mask.clone()
    }

    fn live_tap(&self) -> Option<LiveTap> {
        self.live.clone()
    }
}
