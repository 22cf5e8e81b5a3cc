//! The server's connections, within bounds: their number, their duration, and one request each.

use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::waiting::{Seat, Waiting};

/// How long a client may take to send its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last, its answer included.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection may last whose answer is live. A client that wants more connects again.
const LIVE_TIMEOUT: Duration = Duration::from_hours(12);

/// How long answers under way may take when the server ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The room for a request's head, in bytes; hyper wants 8 KiB at least.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Pause after a connection could not be accepted, for example because there are no more file
/// descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Serves until `closing`, then waits for the answers under way.
pub(super) async fn serve(listener: TcpListener, routes: Router, closing: CancellationToken) {
    let waiting = Waiting::default();
    let connections = TaskTracker::new();
    let accepting = async {
        loop {
            waiting.make_room().await;
            let client = accept(&listener).await;
            connections.spawn(serve_one(client, routes.clone(), waiting.enter()));
        }
    };
    closing.run_until_cancelled(accepting).await;
    connections.close();
    if tokio::time::timeout(CLOSE_TIMEOUT, connections.wait()).await.is_err() {
        tracing::debug!("left health checks unanswered at shutdown");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((client, _)) => return client,
            Err(error) => {
                tracing::debug!(%error, "could not accept a connection for health checks");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve_one(client: TcpStream, routes: Router, seat: Seat) {
    let (gives_way, routes) = (seat.gives_way(), TowerToHyperService::new(routes));
    let (says_live, live) = watch::channel(false);
    let service = service_fn(move |request| {
        seat.leave();
        let (answer, says_live) = (routes.call(request), says_live.clone());
        async move {
            let answer = answer.await;
            if let Ok(answer) = &answer {
                says_live.send_replace(is_live(answer));
            }
            answer
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        // A health check asks once. A connection that stays open would take another one's place.
        .keep_alive(false)
        .serve_connection(TokioIo::new(client), service);
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::debug!(%error, "could not answer a request");
            }
        }
        () = time_is_up(live) => tracing::debug!("closed a connection that took too long"),
        () = gives_way.cancelled() => {
            tracing::debug!("closed the connection of an idle client, because too many are open");
        }
    }
}

/// Whether an answer goes on and on.
fn is_live(answer: &Response) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes() == b"text/event-stream")
}

/// Returns when a connection has lasted too long for its answer.
async fn time_is_up(live: watch::Receiver<bool>) {
    tokio::time::sleep(CONNECTION_TIMEOUT).await;
    if *live.borrow() {
        tokio::time::sleep(LIVE_TIMEOUT.saturating_sub(CONNECTION_TIMEOUT)).await;
    }
}
