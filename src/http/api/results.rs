//! What a run left: its result, its series and its artifacts.

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::ApiError;
use super::reads::{MAX_SERIES_BYTES, id_of};
use super::sources::{Body, Sources};
use crate::facts::{self, Known, find_outcome};
use crate::job::{EventData, ExecutionResult, JobId, RunId};
use crate::storage::{Bucket, StoreError};

/// The largest object that is passed on, in bytes: it is in memory meanwhile.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How many points of a series an answer has at most: more than a plot can show.
const MAX_POINTS: usize = 500;

/// Which run.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// This one, instead of the latest.
    run_id: Option<RunId>,
}

type Asked = Result<Query<Which>, axum::extract::rejection::QueryRejection>;

pub(super) async fn result(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    which: Asked,
) -> Result<Response, ApiError> {
    let id = id_of(&id)?;
    let (result, is_latest) = ended(&sources, &id, which).await?;
    let kind = [(header::CONTENT_TYPE, "application/json")];
    if let Some(value) = &result.result {
        let text = serde_json::to_vec(value).map_err(|error| ApiError::away(error.to_string()))?;
        return Ok((kind, text).into_response());
    }
    let Some(key) = &result.objects.result_key else {
        return Err(ApiError::missing(format!("{id} has no result: {}", result.message)));
    };
    if !is_latest {
        let why = "the result of this run was too large for an event, and its object is of a later \
                   run now";
        return Err(ApiError::missing(why));
    }
    Ok((kind, object(&sources, key, &format!("longshore result {id}")).await?).into_response())
}

pub(super) async fn artifact(
    State(sources): State<Sources>,
    Path((id, path)): Path<(String, String)>,
    which: Asked,
) -> Result<Response, ApiError> {
    let id = id_of(&id)?;
    let (result, _) = ended(&sources, &id, which).await?;
    let known = result.objects.artifacts.iter().find(|artifact| artifact.path == path);
    let Some(artifact) = known else {
        return Err(ApiError::missing(format!("{id} has left no artifact of this name")));
    };
    let bytes = object(&sources, &artifact.key, &format!("longshore get {id}")).await?;
    // A stranger's bytes: a browser may keep them, and must not show them as a page of ours.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"),
    ];
    Ok((headers, bytes).into_response())
}

/// What a run measured, at most [`MAX_POINTS`] points of each series.
pub(super) async fn series(
    State(sources): State<Sources>,
    Path(id): Path<String>,
    which: Asked,
) -> Result<Body, ApiError> {
    let Query(which) = which.map_err(|error| ApiError::wrong(error.body_text()))?;
    let (journal, store) = (sources.journal()?, sources.store()?);
    let (id, run) = (id_of(&id)?, which.run_id.as_ref());
    let list = facts::read_series(&journal, &*store, &id, run, MAX_SERIES_BYTES).await?;
    Body::of(&list.thinned_to(MAX_POINTS))
}

/// How a run of a job ended, and whether it is the latest.
async fn ended(
    sources: &Sources,
    id: &JobId,
    which: Asked,
) -> Result<(ExecutionResult, bool), ApiError> {
    let Query(which) = which.map_err(|error| ApiError::wrong(error.body_text()))?;
    match find_outcome(&sources.journal()?, id, which.run_id.as_ref()).await? {
        Known::Ended { event, is_latest } => match event.data {
            EventData::Result(result) => Ok((result, is_latest)),
            EventData::Status(_) => {
                Err(ApiError::missing(format!("the end of {id} in the journal is no result")))
            }
        },
        Known::GoesOn(_) => Err(ApiError::refused(format!("{id} has not ended yet"))),
        Known::Nothing => Err(ApiError::missing(format!("the journal knows no such run of {id}"))),
    }
}

async fn object(sources: &Sources, key: &str, command: &str) -> Result<Bytes, ApiError> {
    match sources.store()?.get(Bucket::Results, key, MAX_BYTES).await {
        Ok(object) => Ok(object.bytes),
        Err(StoreError::TooLarge { .. }) => Err(ApiError::refused(format!(
            "it has more than {} MiB: {command} fetches it",
            MAX_BYTES >> 20
        ))),
        Err(StoreError::NotFound { .. }) => {
            Err(ApiError::missing("it is not in the store any more"))
        }
        Err(error) => Err(error.into()),
    }
}
