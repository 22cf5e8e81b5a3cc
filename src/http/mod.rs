//! Health over HTTP: `/healthz` says that the process lives, `/readyz` whether it can work, and
//! what is missing when it cannot. Nothing here changes anything, whoever asks.

mod check;
mod connections;
mod guard;
mod hosts;
mod inboxes;
mod latest;
mod readiness;
mod waiting;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::settings::HttpSettings;

use self::guard::{Guard, LIVENESS};
use self::latest::Latest;
pub use check::Check;
pub use readiness::{Readiness, Report};

/// Binds to the address of the settings; what it gives serves until `closing`.
pub async fn serve(
    settings: &HttpSettings,
    readiness: Readiness,
    closing: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + use<>> {
    let listener = TcpListener::bind(settings.listen).await?;
    tracing::info!(http.address = %listener.local_addr()?, "serving health checks");
    let routes = routes(readiness, settings);
    Ok(connections::serve(listener, routes, closing))
}

fn routes(readiness: Readiness, settings: &HttpSettings) -> Router {
    let guard = middleware::from_fn_with_state(Guard::new(settings), guard::admit);
    Router::new()
        .route(LIVENESS, get(async || "ok\n"))
        .route("/readyz", get(ready))
        // The layer of a fallback, too: without the token nobody learns which paths there are.
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(guard)
        .with_state(Latest::of(readiness))
}

async fn ready(State(latest): State<Latest>) -> Response {
    let Some(report) = latest.report().await else {
        let words = "too many ask at a time\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], words)
            .into_response();
    };
    let code = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(report)).into_response()
}
