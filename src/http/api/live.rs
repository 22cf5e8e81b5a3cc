//! Live answers: the log of a job and its events, as server-sent events.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream as FutureStream, StreamExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::ApiError;
use super::reads::id_of;
use super::root::ANSWER_TIMEOUT;
use super::sources::{Body, Sources};
use crate::broker::{Binding, Feed};
use crate::facts::{self, FactsError, Following, LineSink, Tracked};
use crate::job::JobId;
use crate::logs::{LogQuery, StoredLine, Stream};

/// How many lines come first if the request does not say it, and at most.
const USUAL_TAIL: usize = 200;
const MAX_TAIL: usize = 5_000;

/// How many lines wait for a slow viewer. One that is slower must connect again.
const MAX_WAITING: usize = 20_000;

/// How often a quiet connection says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Which lines.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lines {
    /// So many of the last stored lines: 200 if it is absent, 5000 at most.
    tail: Option<usize>,
    /// Only what was written to `stdout`, or to `stderr`.
    stream: Option<String>,
    /// Go on with new lines until the run ends, as server-sent events. A request that accepts
    /// `text/event-stream` means the same.
    #[serde(default)]
    follow: bool,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct LogLine {
    /// When it was written.
    time: String,
    /// `stdout` or `stderr`.
    stream: Option<String>,
    /// What was written. It is a stranger's text.
    text: String,
}

/// A part of a log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Log {
    /// Its last lines.
    lines: Vec<LogLine>,
}

impl LogLine {
    fn of(line: &StoredLine<'_>) -> Self {
        Self {
            time: line.time.to_owned(),
            stream: line.stream.map(|stream| stream.as_str().to_owned()),
            text: line.text.to_owned(),
        }
    }
}

pub(super) async fn logs(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    headers: HeaderMap,
    lines: Result<Query<Lines>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(lines) = lines.map_err(|error| ApiError::wrong(error.body_text()))?;
    let id = id_of(&id)?;
    let stream = match lines.stream.as_deref() {
        None => None,
        Some("stdout") => Some(Stream::Stdout),
        Some("stderr") => Some(Stream::Stderr),
        Some(_) => return Err(ApiError::wrong("stream is stdout or stderr")),
    };
    let tail = Some(lines.tail.unwrap_or(USUAL_TAIL).min(MAX_TAIL));
    let query = LogQuery { tail, stream, ..LogQuery::default() };
    if lines.follow || accepts_events(&headers) {
        return follow(&sources, id, query).map(IntoResponse::into_response);
    }
    let mut kept = Tracked::new(Kept::default());
    let store = sources.store()?;
    let reading = kept.stored(&*store, &id, &query);
    tokio::time::timeout(ANSWER_TIMEOUT, reading).await.map_err(|_| ApiError::slow())??;
    Ok(Body::of(&Log { lines: kept.into_sink().0 })?.into_response())
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/event-stream"))
}

/// Keeps lines. A query's tail bounds them.
#[derive(Default)]
struct Kept(Vec<LogLine>);

impl LineSink for Kept {
    fn line(&mut self, line: &StoredLine<'_>) -> io::Result<()> {
        self.0.push(LogLine::of(line));
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn say(&mut self, _sentence: &str) {}
}

/// Passes lines on to a viewer.
struct Viewer(mpsc::Sender<Sent>);

impl Viewer {
    fn send(&self, name: &str, value: &impl Serialize) -> io::Result<()> {
        let event = Sent::default().event(name).json_data(value).map_err(io::Error::other)?;
        self.0.try_send(event).map_err(|error| {
            let kind = match error {
                mpsc::error::TrySendError::Full(_) => io::ErrorKind::WouldBlock,
                mpsc::error::TrySendError::Closed(_) => io::ErrorKind::BrokenPipe,
            };
            kind.into()
        })
    }
}

impl LineSink for Viewer {
    fn line(&mut self, line: &StoredLine<'_>) -> io::Result<()> {
        self.send("line", &LogLine::of(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn say(&mut self, sentence: &str) {
        // A viewer that has gone ends the log at its next line.
        drop(self.send("note", &sentence));
    }
}

fn follow(
    sources: &Sources,
    id: JobId,
    mut query: LogQuery,
) -> Result<impl IntoResponse + use<>, ApiError> {
    let (store, broker) = (sources.store()?, sources.broker()?);
    let (place, closing) = sources.live()?;
    let (lines, viewer) = mpsc::channel(MAX_WAITING);
    sources.tasks().spawn(async move {
        let _place = place;
        let gone = lines.clone();
        let mut shown = Tracked::new(Viewer(lines));
        let what = Following { id: &id, store: &store, broker: &broker };
        let following = Box::pin(facts::follow(what, &mut query, &mut shown));
        let ended = tokio::select! {
            ended = following => ended,
            () = gone.closed() => return,
            () = closing.cancelled() => return,
        };
        let (name, sentence) = match ended {
            Ok(()) => ("end", "the run has ended".to_owned()),
            Err(FactsError::Output(_)) => {
                ("error", "this viewer was too slow: open the log again".to_owned())
            }
            Err(error) => ("error", error.to_string()),
        };
        if let Ok(event) = Sent::default().event(name).json_data(sentence) {
            // A viewer that has gone does not need to hear of the end.
            drop(gone.send(event).await);
        }
    });
    Ok(streamed(ReceiverStream::new(viewer).map(Ok)))
}

fn streamed(
    events: impl FutureStream<Item = Result<Sent, Infallible>> + Send + 'static,
) -> impl IntoResponse {
    let headers =
        [(header::CACHE_CONTROL, "no-store"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// The status and result events of a job, as they come.
pub(super) async fn events(
    State(sources): State<Sources>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let id = id_of(&id)?;
    let broker = sources.broker()?;
    let (place, closing) = sources.live()?;
    let bindings = [Feed::Status, Feed::Results].map(|feed| Binding::of_job(feed, &id)).into();
    let ends = closing.clone();
    let subscribing = broker.subscribe(bindings, closing);
    let mut events =
        tokio::time::timeout(ANSWER_TIMEOUT, subscribing).await.map_err(|_| ApiError::slow())??;
    let (told, viewer) = mpsc::channel(MAX_WAITING);
    sources.tasks().spawn(async move {
        let _place = place;
        let _ends = ends.drop_guard();
        loop {
            let next = tokio::select! {
                next = events.next() => next,
                () = told.closed() => return,
            };
            let sent = match next {
                None => return,
                Some(Ok(event)) => Sent::default().event("event").json_data(&event),
                Some(Err(error)) => Sent::default().event("note").json_data(error.to_string()),
            };
            let Ok(sent) = sent else { continue };
            if told.try_send(sent).is_err() {
                return;
            }
        }
    });
    Ok(streamed(ReceiverStream::new(viewer).map(Ok)))
}
