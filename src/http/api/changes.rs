//! Requests that change something. They run to their end, even if their client has gone.

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::reads::{id_of, key_of};
use super::sources::Sources;
use crate::broker::{Broker, DeadLetters};
use crate::facts::{self, FactsError, Key, Replayed, Start};
use crate::job::{JobId, RunId, parse_executable};

/// How many letters a list of failures names.
const MAX_NAMED: usize = 100;

/// A start that is on its way.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Started {
    /// The job.
    id: JobId,
    /// Its run.
    run_id: Option<RunId>,
    /// The identity of the message.
    message_id: String,
    /// Why it waits, as far as that is known at once.
    waits_because: Option<String>,
}

pub(super) async fn start(
    State(sources): State<Sources>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let body = body.map_err(|error| ApiError::wrong(error.body_text()))?;
    let is_json = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !is_json.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(ApiError::wrong("send a start message with Content-Type: application/json"));
    }
    let executable = parse_executable(&body)
        .map_err(|error| ApiError::wrong(format!("the start message is wrong: {error}")))?;
    let broker = sources.broker()?;
    let start = Start::new(executable)?;
    start.publish(&broker).await?;
    let obstacle = facts::obstacle(&broker, start.executable.is_long_running).await;
    sources.jobs().forget(&start.executable.id);
    let started = Started {
        id: start.executable.id,
        run_id: start.executable.run_id,
        message_id: start.message_id,
        waits_because: obstacle.map(|obstacle| obstacle.to_string()),
    };
    Ok((StatusCode::ACCEPTED, Json(started)))
}

/// How to stop a job.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Stop {
    /// Only this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
    /// Why, for the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How long the program may take to end, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u64>,
}

/// A stop message, as a worker will read it.
#[derive(Serialize)]
struct StopMessage {
    id: JobId,
    #[serde(flatten)]
    stop: Stop,
}

/// A stop that is on its way.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Stopping {
    /// The job.
    id: JobId,
    /// The identity of the message.
    message_id: String,
}

pub(super) async fn stop(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    body: Result<Json<Stop>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(stop) = body.map_err(|error| ApiError::wrong(error.body_text()))?;
    let message = StopMessage { id: id_of(&id)?, stop };
    let request =
        facts::checked_stop(&message).map_err(|error| ApiError::wrong(error.to_string()))?;
    let message_id = facts::publish_stop(&sources.broker()?, &request).await?;
    sources.jobs().forget(&request.id);
    Ok((StatusCode::ACCEPTED, Json(Stopping { id: request.id, message_id })))
}

/// Which letters to publish again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// This one.
    key: Option<String>,
    /// All that are there now.
    #[serde(default)]
    all: bool,
    /// Keep the run that a start names: if it has ended, its result comes again.
    #[serde(default)]
    same_run: bool,
}

/// What was published again.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct ReplayedLetters {
    /// How many.
    count: usize,
    /// The first hundred of them.
    replayed: Vec<Replayed>,
    /// How many could not be replayed. They are still there.
    failed: usize,
    /// Why, for the first hundred of them.
    reasons: Vec<String>,
}

pub(super) async fn replay(
    State(sources): State<Sources>,
    body: Result<Json<Replay>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(asked) = body.map_err(|error| ApiError::wrong(error.body_text()))?;
    let (key, same_run) = (which(asked.key.as_deref(), asked.all)?, asked.same_run);
    let work = {
        let sources = sources.clone();
        async move {
            let broker = sources.broker()?;
            let _only_one = sources.letters().await;
            let mut letters = facts::open_letters(&broker).await?;
            let done = replay_some(&broker, &mut letters, key.as_ref(), same_run).await;
            settle(&sources, letters, done).await
        }
    };
    to_its_end(&sources, work).await.map(Json)
}

async fn replay_some(
    broker: &Broker,
    letters: &mut DeadLetters,
    key: Option<&Key>,
    same_run: bool,
) -> Result<ReplayedLetters, FactsError> {
    let mut told = ReplayedLetters::default();
    let Some(key) = key else {
        let mut tell = |replayed| {
            told.note(replayed);
            true
        };
        facts::replay_all(broker.topology(), letters, same_run, &mut tell).await?;
        return Ok(told);
    };
    let letter = facts::find_letter(letters, key).await?;
    match facts::replay(broker.topology(), letters, &letter, same_run).await {
        Ok(replayed) => told.note(Ok(replayed)),
        Err(error) => {
            letters.hold(letter);
            return Err(error);
        }
    }
    Ok(told)
}

impl ReplayedLetters {
    fn note(&mut self, replayed: Result<Replayed, FactsError>) {
        match replayed {
            Ok(replayed) => {
                self.count += 1;
                if self.replayed.len() < MAX_NAMED {
                    self.replayed.push(replayed);
                }
            }
            Err(error) => {
                self.failed += 1;
                if self.reasons.len() < MAX_NAMED {
                    self.reasons.push(error.to_string());
                }
            }
        }
    }
}

/// Which letters to remove.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Purge {
    /// This one.
    key: Option<String>,
    /// All that are there now.
    #[serde(default)]
    all: bool,
}

/// What was removed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Purged {
    /// How many.
    removed: u32,
}

pub(super) async fn purge(
    State(sources): State<Sources>,
    body: Result<Json<Purge>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(asked) = body.map_err(|error| ApiError::wrong(error.body_text()))?;
    let key = which(asked.key.as_deref(), asked.all)?;
    let work = {
        let sources = sources.clone();
        async move {
            let broker = sources.broker()?;
            let _only_one = sources.letters().await;
            let mut letters = facts::open_letters(&broker).await?;
            let done = remove_some(&mut letters, key.as_ref()).await;
            settle(&sources, letters, done).await
        }
    };
    to_its_end(&sources, work).await.map(Json)
}

async fn remove_some(letters: &mut DeadLetters, key: Option<&Key>) -> Result<Purged, FactsError> {
    let Some(key) = key else { return Ok(Purged { removed: letters.purge().await? }) };
    let letter = facts::find_letter(letters, key).await?;
    letters.remove(&letter).await?;
    Ok(Purged { removed: 1 })
}

/// One letter, or all (`None`).
fn which(key: Option<&str>, all: bool) -> Result<Option<Key>, ApiError> {
    match (key, all) {
        (Some(key), false) => key_of(key).map(Some),
        (None, true) => Ok(None),
        _ => Err(ApiError::wrong("say which: either key or all")),
    }
}

/// Puts back the letters that are left, whatever was done.
async fn settle<T>(
    sources: &Sources,
    letters: DeadLetters,
    done: Result<T, FactsError>,
) -> Result<T, ApiError> {
    let back = letters.put_back().await.map_err(FactsError::from);
    sources.dead().forget_all();
    let done = done?;
    back?;
    Ok(done)
}

/// Does work to its end, even if its client goes away.
async fn to_its_end<T: Send + 'static>(
    sources: &Sources,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let done = sources.tasks().spawn(work).await;
    done.unwrap_or_else(|_| Err(ApiError::away("it was ended before it was done")))
}
