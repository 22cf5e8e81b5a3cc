//! Publishes events, under the name of this worker.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::broker::{EventSink, ReplyTo};
use crate::job::{Event, EventData, State, Status};
use crate::logs::{Mask, Masks};

/// Who publishes, and under which name.
#[derive(Clone)]
pub struct Publisher {
    /// Where events go.
    pub sink: Arc<dyn EventSink>,
    /// What the `source` of every event begins with: `/longshore/{namespace}`.
    pub source: String,
    /// The worker's name.
    pub worker: String,
    /// What no event may show: of every job the worker's own credentials.
    pub masks: Arc<Masks>,
    /// Publishing tasks that shutdown waits for.
    pub tracker: TaskTracker,
}

impl Publisher {
    /// What must not be seen of a run with these secrets.
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
        let id = uuid::Uuid::now_v7().to_string();
        let source = self.source_of(status.segment);
        let event = Event::new(id, source, traceparent, EventData::Status(status));
        self.publish(&event, None).await;
    }

    /// Publishes the end of a run: the state `finished`, then the result. Both come from the result
    /// event alone, so that they are the same however often, and by whomever, they are published.
    /// Gives whether the broker confirmed both.
    pub async fn end(&self, result: &Event, reply: Option<&ReplyTo>) -> bool {
        let told = match finished(result) {
            Some(status) => self.publish(&status, None).await,
            None => true,
        };
        self.publish(result, reply).await && told
    }

    /// Publishes an event; gives whether it was confirmed.
    pub async fn publish(&self, event: &Event, reply: Option<&ReplyTo>) -> bool {
        match self.sink.publish(event, reply).await {
            Ok(()) => true,
            // Whoever publishes says so from time to time, and what must not be lost is published again.
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

/// The status event that goes with a result event; none where the result names no job.
fn finished(event: &Event) -> Option<Event> {
    let EventData::Result(result) = &event.data else {
        return None;
    };
    // A refusal names no run, so it is no end of one.
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
    };
    let stem = event.id.strip_suffix("/result").unwrap_or(&event.id);
    Some(Event { id: format!("{stem}/finished"), data: EventData::Status(status), ..event.clone() })
}
