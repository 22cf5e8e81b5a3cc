//! Events: CloudEvents 1.0 in structured JSON.

use std::fmt;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Entrypoint, ExecutionResult, JobId, RunId, RunProgress, Verdict};

/// The `type` of a status event.
pub const STATUS_TYPE: &str = "longshore.job.status.v1";

/// The `type` of a result event.
pub const RESULT_TYPE: &str = "longshore.job.result.v1";

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A worker has taken the job.
    Accepted,
    /// Code and image are being fetched.
    Preparing,
    /// The container runs.
    Running,
    /// The container ended and is about to be started again.
    Restarting,
    /// The health check fails.
    Unhealthy,
    /// The job was asked to stop.
    Stopping,
    /// The run has ended; a result event says how.
    Finished,
    /// A start message was ignored, because its job is already active.
    Duplicate,
    /// A stop message was ignored, because its job is unknown or has ended.
    NotRunning,
}

impl State {
    /// Every state, in the order in which the documentation lists them.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::Preparing,
        Self::Running,
        Self::Restarting,
        Self::Unhealthy,
        Self::Stopping,
        Self::Finished,
        Self::Duplicate,
        Self::NotRunning,
    ];

    /// The state as it stands in events and routing keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Duplicate => "duplicate",
            Self::NotRunning => "not_running",
        }
    }
}

/// The kind of program in a routing key, or `unknown` if a broken message does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobKind(pub Option<Entrypoint>);

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.map_or("unknown", Entrypoint::as_str))
    }
}

/// The payload of a status event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Status")]
pub struct Status {
    /// The job.
    pub id: JobId,
    /// The run, if the message named one or it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Where the job is.
    pub state: State,
    /// The kind of program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Entrypoint>,
    /// Which attempt; the first is 1. 0 before the first.
    pub attempt: u32,
    /// The segment that owns the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
    /// The name of the worker.
    pub worker: String,
    /// The engine's id of the container, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// How the run ended, in state `finished`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// More about it, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How far the run is, in state `running`, at most once a second: what its program says, or what a
    /// sweep counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<RunProgress>,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
#[allow(
    clippy::large_enum_variant,
    reason = "events are built one at a time and serialised at once"
)]
pub enum EventData {
    /// A job moved on.
    #[serde(rename = "longshore.job.status.v1")]
    Status(Status),
    /// A run ended.
    #[serde(rename = "longshore.job.result.v1")]
    Result(#[schemars(schema_with = "settled_result")] ExecutionResult),
}

/// In an event, a result always has a verdict, and its status is never `running`.
fn settled_result(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<ExecutionResult>();
    schema.insert("required".to_owned(), json!(["verdict"]));
    schema.insert("properties".to_owned(), json!({"status": {"enum": ["success", "error"]}}));
    schema
}

/// One event, as a CloudEvent. A reader ignores what it does not know: more may come.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "Event")]
pub struct Event {
    /// Always `1.0`.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    /// The same for every publication of the same event, so readers can drop repeats. The id of a
    /// refused message begins with `refused/` and is made from the whole message, so it is never
    /// the end of a run.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The source: `/longshore/{namespace}/segments/{n}`.
    #[schemars(length(min = 1), extend("format" = "uri-reference"))]
    pub source: String,
    /// The job's id, as in the payload. Absent if the payload has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Always `application/json`.
    #[schemars(extend("const" = "application/json"))]
    pub datacontenttype: String,
    /// The trace of the message that started the run, as W3C Trace Context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The payload, with its type.
    #[serde(flatten)]
    pub data: EventData,
}

/// An event as it is on the wire. Its payload is read separately from its own text, because numbers
/// of a result would otherwise lose digits.
#[derive(Deserialize)]
struct WireEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(default)]
    subject: Option<String>,
    time: Timestamp,
    datacontenttype: String,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    data: Box<RawValue>,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = WireEvent::deserialize(deserializer)?;
        let (kind, text) = (wire.kind.as_str(), wire.data.get());
        let data = match kind {
            STATUS_TYPE => serde_json::from_str(text).map(EventData::Status),
            RESULT_TYPE => serde_json::from_str(text).map(EventData::Result),
            _ => return Err(D::Error::unknown_variant(kind, &[STATUS_TYPE, RESULT_TYPE])),
        };
        Ok(Self {
            specversion: wire.specversion,
            id: wire.id,
            source: wire.source,
            subject: wire.subject,
            time: wire.time,
            datacontenttype: wire.datacontenttype,
            traceparent: wire.traceparent,
            data: data.map_err(|error| D::Error::custom(format!("data: {error}")))?,
        })
    }
}

/// A topic exchange's routing key: `{state or verdict}.{entrypoint}.{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingKey(String);

impl RoutingKey {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Event {
    /// The run of the event, if it names one.
    #[must_use]
    pub fn run_id(&self) -> Option<&RunId> {
        match &self.data {
            EventData::Status(status) => status.run_id.as_ref(),
            EventData::Result(result) => result.run_id.as_ref(),
        }
    }

    /// An event about `data`, happening now.
    #[must_use]
    pub fn new(id: String, source: String, traceparent: Option<String>, data: EventData) -> Self {
        let subject = match &data {
            EventData::Status(status) => Some(status.id.to_string()),
            EventData::Result(result) => result.id.as_ref().map(ToString::to_string),
        };
        Self {
            specversion: "1.0".to_owned(),
            id,
            source,
            subject,
            time: Timestamp::now(),
            datacontenttype: "application/json".to_owned(),
            traceparent,
            data,
        }
    }

    /// The key under which the event is published.
    #[must_use]
    pub fn routing_key(&self) -> RoutingKey {
        let (first, kind) = match &self.data {
            EventData::Status(status) => (status.state.as_str(), status.entrypoint),
            EventData::Result(result) => {
                (result.verdict.map_or("running", Verdict::as_str), result.entrypoint)
            }
        };
        let subject = self.subject.as_deref().unwrap_or("unknown");
        RoutingKey(format!("{first}.{}.{subject}", JobKind(kind)))
    }

    /// Whether this is the event that ends a run.
    #[must_use]
    pub fn is_result(&self) -> bool {
        matches!(self.data, EventData::Result(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(entrypoint: Option<Entrypoint>) -> Event {
        let data = EventData::Status(Status {
            id: "job-1".parse().unwrap(),
            run_id: None,
            state: State::NotRunning,
            entrypoint,
            attempt: 0,
            segment: Some(2),
            worker: "w".to_owned(),
            container_id: None,
            verdict: None,
            message: None,
            progress: None,
        });
        Event::new("e".to_owned(), "/longshore/ns/segments/2".to_owned(), None, data)
    }

    #[test]
    fn the_routing_key_has_three_words() {
        assert_eq!(status(Some(Entrypoint::Bot)).routing_key().as_str(), "not_running.bot.job-1");
        assert_eq!(status(None).routing_key().as_str(), "not_running.unknown.job-1");
    }

    #[test]
    fn a_result_keeps_its_digits_and_the_order_of_its_keys_on_the_wire() {
        let text = r#"{"zeta":123456789012345678901,"wei":1e-400,"alpha":1.50,"list":[1E2]}"#;
        let wire = json!({
            "specversion": "1.0", "id": "r/result", "source": "/x", "time": "2026-01-01T00:00:00Z",
            "datacontenttype": "application/json", "type": RESULT_TYPE, "from": "a later version",
            "data": {
                "status": "success", "message": "", "output": "", "duration_seconds": 0.5,
                "is_long_running": false, "attempt": 1, "worker": "w", "result": "HERE",
                "finished_at": "2026-01-01T00:00:00Z",
            },
        });
        let wire = wire.to_string().replace("\"HERE\"", text);
        let event: Event = serde_json::from_str(&wire).unwrap();
        let again = serde_json::to_string(&event).unwrap();
        assert!(again.contains(&format!("\"result\":{text}")), "{again}");
        assert_eq!(serde_json::from_str::<Event>(&again).unwrap(), event);
    }

    #[test]
    fn an_event_is_a_cloud_event_and_survives_the_wire() {
        let event = status(None);
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["type"], STATUS_TYPE);
        assert_eq!(json["data"]["state"], "not_running");
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }
}
