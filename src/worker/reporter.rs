//! Says what happens to a run: status events in order, without holding up the run.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::broker::{EventSink, ReplyTo};
use crate::job::{Event, EventData, ExecutionResult, State, Status, Verdict};
use crate::logs::LiveTap;
use crate::runner::{Run, RunObserver};

/// Status events of one run that may wait for the broker; more are dropped and logged. A run has
/// five, and two for each restart or turn of its health.
const MAX_WAITING: usize = 256;

/// Who publishes, and under which name.
#[derive(Clone)]
pub struct Publisher {
    /// Where events go.
    pub sink: Arc<dyn EventSink>,
    /// The `source` of every event.
    pub source: String,
    /// The worker's name.
    pub worker: String,
    /// Publishing tasks that shutdown waits for.
    pub tracker: TaskTracker,
}

impl Publisher {
    /// Publishes a status event that belongs to no run of ours.
    pub async fn status(&self, status: Status, traceparent: Option<String>) {
        let id = uuid::Uuid::now_v7().to_string();
        let event = Event::new(id, self.source.clone(), traceparent, EventData::Status(status));
        self.publish(&event, None).await;
    }

    /// Publishes an event; gives whether it was confirmed.
    pub async fn publish(&self, event: &Event, reply: Option<&ReplyTo>) -> bool {
        match self.sink.publish(event, reply).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(event.id, %error, "publish event");
                false
            }
        }
    }
}

/// Publishes the status events of one run, one after the other.
pub struct Reporter {
    publisher: Publisher,
    traceparent: Option<String>,
    run: Mutex<Run>,
    waiting: mpsc::Sender<Event>,
    task: JoinHandle<()>,
    live: Option<LiveTap>,
}

impl Reporter {
    /// A reporter on `run`; `live` is where its output goes as it comes.
    #[must_use]
    pub fn new(
        publisher: Publisher,
        run: Run,
        traceparent: Option<String>,
        live: Option<LiveTap>,
    ) -> Self {
        let (waiting, mut events) = mpsc::channel::<Event>(MAX_WAITING);
        let to = publisher.clone();
        let task = publisher.tracker.spawn(async move {
            while let Some(event) = events.recv().await {
                to.publish(&event, None).await;
            }
        });
        Self { publisher, traceparent, run: Mutex::new(run), waiting, task, live }
    }

    /// The attempt that status events name from now on.
    pub fn set_attempt(&self, attempt: u32) {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).attempt = attempt;
    }

    /// Reports a state, with a sentence about it.
    pub fn report(&self, state: State, container: Option<&str>, message: Option<String>) {
        self.send(state, container, message, None);
    }

    fn send(
        &self,
        state: State,
        container: Option<&str>,
        message: Option<String>,
        verdict: Option<Verdict>,
    ) {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tracing::info!(
            job.id = %run.job.id, run.id = %run.job.run_id, attempt = run.attempt,
            state = state.as_str(), container.id = container, message, "report state"
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
            verdict,
            message,
        };
        let id = uuid::Uuid::now_v7().to_string();
        let event = Event::new(
            id,
            self.publisher.source.clone(),
            self.traceparent.clone(),
            EventData::Status(status),
        );
        if self.waiting.try_send(event).is_err() {
            tracing::error!(job.id = %run.job.id, "drop status event: too many wait for the broker");
        }
    }

    /// The result event of the run. Its id depends on the run alone, so that a reader can drop it
    /// when it comes again.
    #[must_use]
    pub fn result_event(&self, result: ExecutionResult) -> Event {
        let run_id = result.run_id.as_ref().map(ToString::to_string).unwrap_or_default();
        Event::new(
            format!("{run_id}/result"),
            self.publisher.source.clone(),
            self.traceparent.clone(),
            EventData::Result(result),
        )
    }

    /// Reports the end and publishes the result, after everything that was reported before.
    /// Gives whether the broker confirmed it.
    pub async fn finish(self, event: &Event, reply: Option<&ReplyTo>) -> bool {
        if let EventData::Result(result) = &event.data {
            let container = result.container_id.as_deref();
            self.send(State::Finished, container, Some(result.message.clone()), result.verdict);
        }
        let publisher = self.drain().await;
        publisher.publish(event, reply).await
    }

    /// Waits until everything that was reported is published.
    pub async fn drain(self) -> Publisher {
        let Self { publisher, waiting, task, .. } = self;
        drop(waiting);
        if let Err(error) = task.await {
            tracing::error!(%error, "publish status events");
        }
        publisher
    }
}

impl RunObserver for Reporter {
    fn state(&self, state: State, container: Option<&str>) {
        self.report(state, container, None);
    }

    fn live_tap(&self) -> Option<LiveTap> {
        self.live.clone()
    }
}
