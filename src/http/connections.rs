//! The server's connections, within bounds: so many at a time, each for so long, one request each.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time; more wait with the system.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, its answer included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long answers under way may take when the server ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The room for a request's head, in bytes; hyper wants 8 KiB at least.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Pause after a connection could not be accepted, as where there are no more files.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Serves until `closing`, then waits for the answers under way.
pub(super) async fn serve(listener: TcpListener, routes: Router, closing: CancellationToken) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    let accepting = async {
        // The semaphore is never closed.
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let client = accept(&listener).await;
            let serving = serve_one(client, routes.clone());
            connections.spawn(async move {
                serving.await;
                drop(permit);
            });
        }
    };
    closing.run_until_cancelled(accepting).await;
    connections.close();
    if tokio::time::timeout(CLOSE_TIMEOUT, connections.wait()).await.is_err() {
        tracing::debug!("leave health checks unanswered");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                tracing::debug!(%error, "accept a connection for health checks");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_one(client: TcpStream, routes: Router) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        // A health check asks once; a connection that is kept would take another's place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(client), TowerToHyperService::new(routes));
    match tokio::time::timeout(CONNECTION_TIMEOUT, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "answer a health check"),
        Err(_) => tracing::debug!("cut off a health check that took too long"),
    }
}
