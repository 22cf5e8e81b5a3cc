//! Publishes events, under the name of this worker.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::broker::{EventSink, ReplyTo};
use crate::job::{Event, EventData, State, Status};
use crate::logs::{Mask, Masks};
use crate::worker::ownership::machine::Machine;

/// Who publishes, and under which name.
#[derive(Clone)]
pub struct Publisher {
    /// Where events go.
    pub sink: Arc<dyn EventSink>,
    /// The prefix of the `source` of every event: `/longshore/{namespace}`.
    pub source: String,
    /// The worker's name.
    pub worker: String,
    /// What no event may show: for every job, also the worker's own credentials.
    pub masks: Arc<Masks>,
    /// Publishing tasks that shutdown waits for.
    pub tracker: TaskTracker,
    /// Where the ids of status events come from.
    pub(in crate::worker) machine: Arc<dyn Machine>,
}

impl Publisher {
    /// The mask for a run with these secrets.
    #[must_use]
    pub fn mask(&self, secrets: &[String]) -> Mask {
        self.masks.of(secrets)
    }

    /// The `source` of events about a segment's jobs.
    #[must_use]
    pub fn source_of(&self, segment: Option<u32>) -> String {
        match segment {
            Some(segment) => format!("{}/segments/{segment}", self.source),
            None => self.source.clone(),
        }
    }

    /// Publishes a status event that belongs to no run of ours.
    pub async fn status(&self, status: Status, traceparent: Option<String>) {
        let id = self.machine.ordered_id().to_string();
        let source = self.source_of(status.segment);
        let event = Event::new(id, source, traceparent, EventData::Status(status));
        self.publish(&event, None).await;
    }

    /// Publishes the end of a run: the state `finished`, then the result. Both come only from the
    /// result event, so they are the same however often, and by which worker, they are published.
    /// Returns whether the broker confirmed both.
    pub async fn end(&self, result: &Event, reply: Option<&ReplyTo>) -> bool {
        let told = match finished(result) {
            Some(status) => self.publish(&status, None).await,
            None => true,
        };
        self.publish(result, reply).await && told
    }

    /// Publishes an event. Returns whether it was confirmed.
    pub async fn publish(&self, event: &Event, reply: Option<&ReplyTo>) -> bool {
        match self.sink.publish(event, reply).await {
            Ok(()) => true,
            // The sink logs this from time to time, and events that must not be lost are published
            // again.
            Err(error) if error.is_transient => {
                tracing::debug!(event.id, %error, "the broker did not confirm an event");
                false
            }
            Err(error) => {
                tracing::error!(event.id, %error, "could not publish an event");
                false
            }
        }
    }
}

/// The status event of a result event; `None` if the result names no job.
fn finished(event: &Event) -> Option<Event> {
    let EventData::Result(result) = &event.data else {
        return None;
    };
    // A refusal names no run, so it is not the end of one.
    let run_id = result.run_id.clone()?;
    let id = result.id.clone()?;
    let status = Status {
        id,
        run_id: Some(run_id),
        state: State::Finished,
        entrypoint: result.entrypoint,
        attempt: result.attempt,
        segment: result.segment,
        worker: result.worker.clone(),
        container_id: result.container_id.clone(),
        verdict: result.verdict,
        message: Some(result.message.clone()),
        progress: None,
    };
    let stem = event.id.strip_suffix("/result").unwrap_or(&event.id);
    Some(Event { id: format!("{stem}/finished"), data: EventData::Status(status), ..event.clone() })
}
