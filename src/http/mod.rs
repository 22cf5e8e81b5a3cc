//! Health and metrics over HTTP: `/healthz` says that the process is alive, `/readyz` whether it can
//! work, and what is missing if it cannot. `/metrics` has numbers for Prometheus. `/api/v1` has the
//! facts about the whole fleet, `/` a page that shows them. Only requests to the API that carry the
//! token change anything.

mod api;
mod check;
mod connections;
mod guard;
mod hosts;
mod inboxes;
mod latest;
mod page;
mod queues;
mod readiness;
mod scrape;
mod waiting;

use std::net::SocketAddr;

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
    tracing::info!(http.address = %listener.local_addr()?, "serving health checks, metrics and the API");
    let scrape = Scrape::of(readiness.clone(), metrics, tasks.clone());
    let of_worker = Router::new()
        .route("/readyz", get(ready).with_state(Latest::of(readiness.clone())))
        .route("/metrics", get(metrics_text).with_state(scrape));
    let routes = of_worker.merge(common(settings, &readiness, tasks, &closing));
    Ok(connections::serve(listener, guarded(routes, settings), closing))
}

/// The same without a worker: only the API and the page. Returns the address, too.
///
/// # Errors
/// When the address cannot be used.
pub async fn serve_dashboard(
    settings: &HttpSettings,
    readiness: &Readiness,
    tasks: &TaskTracker,
    closing: CancellationToken,
) -> std::io::Result<(SocketAddr, impl Future<Output = ()> + use<>)> {
    let listener = TcpListener::bind(settings.listen).await?;
    let address = listener.local_addr()?;
    let routes = guarded(common(settings, readiness, tasks, &closing), settings);
    Ok((address, connections::serve(listener, routes, closing)))
}

fn common(
    settings: &HttpSettings,
    readiness: &Readiness,
    tasks: &TaskTracker,
    closing: &CancellationToken,
) -> Router {
    let api = api::routes(readiness, settings.token.is_some(), tasks, closing.clone());
    Router::new().route(LIVENESS, get(async || "ok\n")).merge(page::routes()).nest(api::ROOT, api)
}

fn guarded(routes: Router, settings: &HttpSettings) -> Router {
    routes
        // The guard also stands before the fallback: without the token, nobody learns which paths exist.
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(middleware::from_fn_with_state(Guard::new(settings), guard::admit))
        .layer(middleware::map_response(async |answer: Response| page::guarded(answer)))
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
