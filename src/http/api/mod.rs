//! The API: facts as JSON, live ones as server-sent events, and a few changes. Every query is bounded
//! in time and number, and its answer is shared for a moment by all who ask.

mod changes;
mod error;
mod live;
mod openapi;
mod own_page;
mod reads;
mod results;
mod root;
mod shared;
mod sources;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::error::ApiError;
use self::root::ANSWER_TIMEOUT;
pub(super) use self::root::{ROOT, has};
use self::sources::Sources;
use super::readiness::Readiness;
use crate::settings::MAX_MESSAGE_BYTES;

/// A refusal before the API is reached.
pub(super) enum Refusal {
    /// The token is missing or wrong.
    Unauthorized,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthorized => ApiError::unauthorized().into_response(),
        }
    }
}

/// The API's routes. Live answers end at `closing`. Without `has_token` the API is off: it shows
/// what other programs on this machine must not see.
pub(super) fn routes(
    readiness: &Readiness,
    has_token: bool,
    tasks: &TaskTracker,
    closing: CancellationToken,
) -> Router {
    let sources = Sources::new(readiness.clone(), tasks.clone(), closing);
    let described = get(async || Json(openapi::document()));
    let lasting = Router::new()
        .route("/jobs/{id}/logs", get(live::logs))
        .route("/jobs/{id}/events", get(live::events));
    let prompt = Router::new()
        .route("/workers", get(reads::workers))
        .route("/segments", get(reads::segments))
        .route("/queues", get(reads::queues))
        .route("/jobs", get(reads::jobs).post(changes::start))
        .route("/jobs/{id}", get(reads::job))
        .route("/jobs/{id}/stop", post(changes::stop))
        .route("/jobs/{id}/result", get(results::result))
        .route("/jobs/{id}/series", get(results::series))
        .route("/jobs/{id}/artifacts/{*path}", get(results::artifact))
        .route("/dead", get(reads::dead))
        .route("/dead/{key}", get(reads::letter))
        .route("/dead/replay", post(changes::replay))
        .route("/dead/purge", post(changes::purge))
        .route("/openapi.json", described)
        .layer(middleware::from_fn(in_time));
    prompt
        .merge(lasting)
        .fallback(async || {
            ApiError::missing("there is no such path in the API: /api/v1/openapi.json lists them")
        })
        .method_not_allowed_fallback(async || ApiError::method())
        .layer(middleware::from_fn(own_page::only))
        .layer(middleware::from_fn_with_state(has_token, needs_token))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .with_state(sources)
}

/// An answer, or a sentence that it took too long.
async fn in_time(request: Request, next: Next) -> Result<Response, ApiError> {
    tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await.map_err(|_| ApiError::slow())
}

/// Refuses everything where no token is set.
async fn needs_token(
    State(has_token): State<bool>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if has_token { Ok(next.run(request).await) } else { Err(ApiError::off()) }
}
