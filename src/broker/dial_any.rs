//! Connects to whichever host of the broker answers first.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::Connection;
use tokio::time::{Instant, sleep_until};

use super::BrokerError;
use super::dial::dial;
use super::hosts::Rota;

/// How long a host is tried alone. A host that gives no answer at all, not even that nobody listens,
/// must not cost as much time as an attempt may take: bots end themselves meanwhile.
const HEAD_START: Duration = Duration::from_secs(1);

/// Tries the hosts as `rota` says, until one is connected or none is left. Each failure is told to
/// `on_failure`, with the pause of the host if it is tried again. Returns which host it is.
///
/// It can be dropped at any time; the rota then must not be used any more.
pub(super) async fn dial_any(
    rota: &mut Rota,
    name: &str,
    mut on_failure: impl FnMut(BrokerError, Option<Duration>),
) -> Option<(usize, Connection)> {
    let mut attempts = FuturesUnordered::new();
    let mut alone_until = Instant::now();
    loop {
        let now = Instant::now();
        if (attempts.is_empty() || alone_until <= now)
            && let Some(host) = rota.take(now)
        {
            let endpoint = rota.endpoint(host).clone();
            attempts.push(async move { (host, dial(&endpoint, name).await) });
            alone_until = now + HEAD_START;
        }
        let next =
            rota.next_due().map(|due| if attempts.is_empty() { due } else { due.max(alone_until) });
        if attempts.is_empty() && next.is_none() {
            return None;
        }
        tokio::select! {
            biased;
            Some((host, outcome)) = attempts.next(), if !attempts.is_empty() => match outcome {
                Ok(connection) => {
                    rota.connected(host, Instant::now());
                    return Some((host, connection));
                }
                Err(error) => on_failure(error, rota.failed(host, Instant::now())),
            },
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}
