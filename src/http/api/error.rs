//! What is wrong with a request, or with what it asks about: one sentence as JSON.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::broker::{BrokerError, PublishError};
use crate::facts::FactsError;
use crate::logs::ReadError;
use crate::storage::{JournalError, StoreError};

/// The body of every answer that is no success.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(in crate::http) struct ErrorBody {
    /// What is wrong, in one sentence.
    pub(in crate::http) error: String,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub(in crate::http) struct ApiError {
    status: StatusCode,
    sentence: String,
}

impl ApiError {
    fn new(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self { status, sentence: sentence.into() }
    }

    pub(in crate::http) fn wrong(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, sentence)
    }

    pub(in crate::http) fn missing(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, sentence)
    }

    pub(in crate::http) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
    }

    pub(in crate::http) fn unauthorized() -> Self {
        let sentence = "send the header Authorization: Bearer <HTTP_TOKEN>";
        Self::new(StatusCode::UNAUTHORIZED, sentence)
    }

    pub(in crate::http) fn off() -> Self {
        let sentence = "the API is off, because HTTP_TOKEN is not set: set it for this worker, or run \
                        longshore dashboard";
        Self::new(StatusCode::FORBIDDEN, sentence)
    }

    pub(in crate::http) fn from_elsewhere() -> Self {
        let sentence = "a page of another site sent this request: only the page of this server may";
        Self::new(StatusCode::FORBIDDEN, sentence)
    }

    pub(in crate::http) fn slow() -> Self {
        let sentence = "the broker or the store did not answer in time: try again, or ask \
                        longshore doctor";
        Self::new(StatusCode::GATEWAY_TIMEOUT, sentence)
    }

    pub(in crate::http) fn away(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, sentence)
    }

    pub(in crate::http) fn refused(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, sentence)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.sentence })).into_response()
    }
}

impl From<FactsError> for ApiError {
    fn from(error: FactsError) -> Self {
        match error {
            FactsError::Missing(sentence) => Self::missing(sentence),
            FactsError::Refused(sentence) => Self::refused(sentence),
            error => Self::away(error.to_string()),
        }
    }
}

macro_rules! away {
    ($($error:ty),*) => {
        $(impl From<$error> for ApiError {
            fn from(error: $error) -> Self {
                Self::away(error.to_string())
            }
        })*
    };
}

away!(BrokerError, PublishError, JournalError, StoreError, ReadError);
