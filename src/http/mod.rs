//! Health and metrics over HTTP: `/healthz` says that the process is alive, `/readyz` whether it can
//! work, and what is missing if it cannot. `/metrics` has numbers for Prometheus. No request changes
//! anything.

mod check;
mod connections;
mod guard;
mod hosts;
mod inboxes;
mod latest;
mod queues;
mod readiness;
mod scrape;
mod waiting;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::settings::HttpSettings;

use self::guard::{Guard, LIVENESS};
use self::latest::Latest;
use self::scrape::Scrape;
pub use check::Check;
pub use readiness::{Readiness, Report};

/// Binds to the address of the settings. Returns a future that serves until `closing`. What an answer begins and
/// does not wait for runs on `tasks`.
pub async fn serve(
    settings: &HttpSettings,
    readiness: Readiness,
    metrics: Metrics,
    tasks: &TaskTracker,
    closing: CancellationToken,
) -> std::io::Result<impl Future<Output = ()> + use<>> {
    let listener = TcpListener::bind(settings.listen).await?;
    tracing::info!(http.address = %listener.local_addr()?, "serving health checks and metrics");
    let routes = routes(&readiness, &metrics, tasks, settings);
    Ok(connections::serve(listener, routes, closing))
}

fn routes(
    readiness: &Readiness,
    metrics: &Metrics,
    tasks: &TaskTracker,
    settings: &HttpSettings,
) -> Router {
    let scrape = Scrape::of(readiness.clone(), metrics.clone(), tasks.clone());
    let guard = middleware::from_fn_with_state(Guard::new(settings), guard::admit);
    Router::new()
        .route(LIVENESS, get(async || "ok\n"))
        .route("/readyz", get(ready).with_state(Latest::of(readiness.clone())))
        .route("/metrics", get(metrics_text).with_state(scrape))
        // It also guards the fallback: without the token, nobody learns which paths exist.
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(guard)
}

async fn metrics_text(State(scrape): State<Scrape>) -> Response {
    ([(header::CONTENT_TYPE, Metrics::text_type())], scrape.text().await).into_response()
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
