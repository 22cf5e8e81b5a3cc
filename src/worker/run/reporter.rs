//! Reports what happens to a run: status events in order, without delaying the run.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::publisher::Publisher;
use crate::broker::ReplyTo;
use crate::job::{
    Event, EventData, ExecutionResult, Job, Run, RunProgress, RuntimeName, State, Status,
};
use crate::logs::{LiveTap, Mask};
use crate::runner::{RunObserver, Uptime};
use crate::worker::ownership::tenure::Tenure;

/// How many status events of one run may wait for the broker. More are dropped, and the log says
/// so. A run has five, and two for each restart or change of its health. How far a run is takes at
/// most half of this.
const MAX_WAITING: usize = 256;

/// How long the status events of an ended run may delay its result.
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
    runs: watch::Sender<bool>,
    /// What was reported last.
    last: Mutex<Option<State>>,
}

impl Reporter {
    /// A reporter for `run`.
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
        let runs = watch::Sender::new(false);
        let (live, tenure, last) = (None, None, Mutex::new(None));
        Self { publisher, traceparent, run, waiting, task, live, tenure, mask, runs, last }
    }

    /// Also sends the run's output to `live`.
    #[must_use]
    pub fn with_live_tap(self, live: LiveTap) -> Self {
        Self { live: Some(live), ..self }
    }

    /// Lets containers start only while `tenure` has a fresh proof.
    #[must_use]
    pub(in crate::worker) fn under(self, tenure: Arc<Tenure>) -> Self {
        Self { tenure: Some(tenure), ..self }
    }

    /// The attempt that status events name from now on.
    pub fn set_attempt(&self, attempt: u32) {
        self.run.lock().attempt = attempt;
    }

    /// Waits until the code runs.
    pub(in crate::worker) async fn runs(&self) {
        // Its sender is ours.
        let mut runs = self.runs.subscribe();
        let _runs = runs.wait_for(|runs| *runs).await;
    }

    /// Reports a state, with a sentence about it.
    pub fn report(&self, state: State, container: Option<&str>, message: Option<String>) {
        if state == State::Running {
            self.runs.send_replace(true);
        }
        // Held, so that what is told in between is in the right order.
        let mut last = self.last.lock();
        *last = Some(state);
        let run = self.run.lock().clone();
        let message = message.map(|message| self.mask.text(message));
        tracing::info!(
            job.id = %run.job.id, run.id = %run.job.run_id, attempt = run.attempt,
            state = state.as_str(), container.id = container, detail = message, "a run changed its state"
        );
        self.publish(Status { message, ..self.status(state, container) });
    }

    fn status(&self, state: State, container: Option<&str>) -> Status {
        let run = self.run.lock().clone();
        Status {
            id: run.job.id.clone(),
            run_id: Some(run.job.run_id.clone()),
            state,
            entrypoint: Some(run.job.entrypoint),
            attempt: run.attempt,
            segment: Some(run.segment),
            worker: self.publisher.worker.clone(),
            container_id: container.map(str::to_owned),
            verdict: None,
            message: None,
            progress: None,
        }
    }

    fn publish(&self, status: Status) {
        let id = self.publisher.machine.ordered_id().to_string();
        let source = self.publisher.source_of(status.segment);
        let data = EventData::Status(status);
        let event = Event::new(id, source, self.traceparent.clone(), data);
        if self.waiting.try_send(event).is_err() {
            tracing::error!(job.id = %self.run.lock().job.id, "dropped a status event, because too many wait for the broker");
        }
    }

    /// The result event of the run. Its id depends only on the run, so a reader can drop repeats.
    #[must_use]
    pub fn result_event(&self, result: ExecutionResult) -> Event {
        let result = self.masked(result);
        let run_id = result.run_id.as_ref().map(ToString::to_string).unwrap_or_default();
        let source = self.publisher.source_of(result.segment);
        let data = EventData::Result(result);
        Event::new(format!("{run_id}/result"), source, self.traceparent.clone(), data)
    }

    /// What its script is run by.
    #[must_use]
    pub fn runtime(&self) -> RuntimeName {
        self.run.lock().job.runtime.name.clone()
    }

    /// A result without the secrets of its run. Output and result have no secrets already.
    #[must_use]
    pub fn masked(&self, mut result: ExecutionResult) -> ExecutionResult {
        result.message = self.mask.text(result.message);
        result.error = result.error.map(|error| self.mask.text(error));
        for text in result.metadata.values_mut() {
            *text = self.mask.text(std::mem::take(text));
        }
        result
    }

    /// Reports the end and publishes the result, after all earlier reports. Returns whether the
    /// broker confirmed it.
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

    fn note(&self, state: State, container: Option<&str>, message: String) {
        self.report(state, container, Some(message));
    }

    fn epoch(&self) -> u64 {
        self.tenure.as_ref().map_or(0, |tenure| tenure.epoch)
    }

    fn progress(&self, progress: RunProgress) {
        // A run that is unhealthy or stopping must not seem to be only running.
        let last = self.last.lock();
        // What changes the run's state must always find room.
        if *last == Some(State::Running) && self.waiting.capacity() > MAX_WAITING / 2 {
            let progress = Some(progress);
            self.publish(Status { progress, ..self.status(State::Running, None) });
        }
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
