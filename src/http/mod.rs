//! Health over HTTP: `/healthz` says that the process lives, `/readyz` whether it can work, and
//! what is missing when it cannot.

mod readiness;

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use readiness::{Check, Readiness, Report};

/// Binds to `listen`; what it gives serves until `closing`.
pub async fn serve(
    listen: SocketAddr,
    readiness: Readiness,
    closing: CancellationToken,
) -> std::io::Result<impl Future<Output = ()>> {
    let listener = TcpListener::bind(listen).await?;
    tracing::info!(http.address = %listener.local_addr()?, "serve health checks");
    let routes = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(readiness);
    Ok(async move {
        let served =
            axum::serve(listener, routes).with_graceful_shutdown(closing.cancelled_owned());
        if let Err(error) = served.await {
            tracing::error!(%error, "serve health checks");
        }
    })
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, Json<Report>) {
    let report = readiness.report().await;
    let code = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(report))
}
