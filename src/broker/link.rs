//! One connection that is rebuilt by itself. A [`Broker`](super::Broker) has two: one for work, and
//! one for locks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Connection, Event};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::BrokerError;
use super::bounded::RequestError;
use super::dial_any::dial_any;
use super::hosts::{Hosts, Rota};
use super::lapin_error::describe;
use crate::metrics::Metrics;

/// How often the connection is checked, in addition to lapin's events.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long closing the connection may take.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is for.
pub(super) struct Purpose {
    /// What the management UI shows.
    pub(super) name: String,
    /// What the log shows: `work` or `locks`.
    pub(super) is: &'static str,
    /// Counts how often it was made again.
    pub(super) metrics: Metrics,
}

/// A connection that comes back by itself.
pub(super) struct Link {
    current: watch::Receiver<Option<Live>>,
    connected: watch::Receiver<bool>,
    blocked: watch::Receiver<Option<String>>,
}

impl Link {
    /// Starts to connect, and stays connected until `shutdown`.
    pub(super) fn start(
        hosts: Hosts,
        purpose: Purpose,
        reconnect_max: Duration,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Self {
        let (current_out, current) = watch::channel(None);
        let (connected_out, connected) = watch::channel(false);
        let (blocked_out, blocked) = watch::channel(None);
        let supervisor = Supervisor {
            hosts,
            name: purpose.name,
            purpose: purpose.is,
            metrics: purpose.metrics,
            reconnect_max,
            current: current_out,
            connected: connected_out,
            blocked: blocked_out,
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        };
        tasks.spawn(supervisor.run());
        Self { current, connected, blocked }
    }

    /// The connection of the moment.
    pub(super) fn live(&self) -> Result<Live, BrokerError> {
        self.current.borrow().clone().ok_or(BrokerError::NotConnected)
    }

    /// The connection of the moment, or the next one if it comes in time.
    pub(super) async fn live_within(&self, patience: Duration) -> Result<Live, BrokerError> {
        let mut current = self.current.clone();
        let waiting = current.wait_for(Option::is_some);
        match tokio::time::timeout(patience, waiting).await {
            Ok(Ok(live)) => live.clone().ok_or(BrokerError::NotConnected),
            Ok(Err(_)) => Err(BrokerError::Cancelled),
            Err(_) => Err(BrokerError::NotConnected),
        }
    }

    /// Follows the connection of the moment.
    pub(super) fn current(&self) -> watch::Receiver<Option<Live>> {
        self.current.clone()
    }

    /// Follows whether there is a connection.
    pub(super) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// Follows why the broker reads nothing from the connection, if so.
    pub(super) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.clone()
    }
}

/// One connection, until it is lost.
#[derive(Clone)]
pub(super) struct Live(Arc<Inner>);

struct Inner {
    connection: Connection,
    /// Cancelled when it is lost.
    gone: CancellationToken,
    /// Cancelled when it is found to be useless. Its supervisor then replaces it.
    useless: CancellationToken,
    tasks: TaskTracker,
    why: Mutex<Option<String>>,
}

impl Live {
    /// A connection without a supervisor.
    pub(super) fn new(connection: Connection, gone: CancellationToken, tasks: TaskTracker) -> Self {
        let useless = CancellationToken::new();
        Self(Arc::new(Inner { connection, gone, useless, tasks, why: Mutex::default() }))
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Cancelled when the connection is lost.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.0.gone
    }

    /// Whether the broker reads nothing from it for now.
    pub(super) fn is_blocked(&self) -> bool {
        self.0.connection.status().blocked()
    }

    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }

    /// Has the connection replaced, because it is open but useless.
    pub(super) fn replace(&self, why: String) {
        self.0.why.lock().get_or_insert(why);
        self.0.useless.cancel();
    }

    /// Judges the connection by the outcome of a request that every connection answers.
    pub(super) fn judge(&self, error: RequestError, action: &str) -> RequestError {
        match error {
            RequestError::NoAnswer(_) if self.is_blocked() => RequestError::Blocked,
            RequestError::NoAnswer(_) => {
                self.replace(format!("{action}: {error}"));
                error
            }
            error => error,
        }
    }

    /// Closes the connection, within a bound.
    pub(super) async fn say_goodbye(&self) {
        let goodbye = self.0.connection.close(200, "goodbye".into());
        match tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await {
            Ok(Ok(())) => {}
            // It ends all the same, and nobody can do anything about it.
            Ok(Err(error)) => debug!(%error, "closing the connection to RabbitMQ failed"),
            Err(_) => warn!("closing the connection to RabbitMQ took too long"),
        }
    }
}

/// Keeps the connection up.
struct Supervisor {
    hosts: Hosts,
    name: String,
    purpose: &'static str,
    metrics: Metrics,
    reconnect_max: Duration,
    current: watch::Sender<Option<Live>>,
    connected: watch::Sender<bool>,
    blocked: watch::Sender<Option<String>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Supervisor {
    async fn run(self) {
        let mut rota = Rota::endless(self.hosts.clone(), self.reconnect_max);
        let mut is_again = false;
        while let Some((host, connection)) = self.connect_until_shutdown(&mut rota).await {
            if is_again {
                self.metrics.reconnected(self.purpose);
            }
            is_again = true;
            let since = Instant::now();
            let broker = rota.endpoint(host).clone();
            let live = Live::new(connection, CancellationToken::new(), self.tasks.clone());
            info!(%broker, purpose = self.purpose, "connected to RabbitMQ");
            self.current.send_replace(Some(live.clone()));
            self.connected.send_replace(true);
            let reason = tokio::select! {
                reason = self.lost(live.connection()) => Some(reason),
                () = live.0.useless.cancelled() => Some(live.0.why.lock().take().unwrap_or_default()),
                () = self.shutdown.cancelled() => None,
            };
            let is_useless = live.0.useless.is_cancelled();
            live.gone().cancel();
            self.connected.send_replace(false);
            self.current.send_replace(None);
            self.blocked.send_replace(None);
            let Some(reason) = reason else {
                live.say_goodbye().await;
                return;
            };
            warn!(%broker, purpose = self.purpose, reason, "lost the connection to RabbitMQ");
            if is_useless {
                self.tasks.spawn(async move { live.say_goodbye().await });
            }
            // Do not hammer a broker that drops us right after the login.
            let now = Instant::now();
            rota.lost(host, now - since >= self.reconnect_max, now);
        }
    }

    async fn connect_until_shutdown(&self, rota: &mut Rota) -> Option<(usize, Connection)> {
        let on_failure = |error, pause: Option<Duration>| {
            let retry_in_seconds = pause.unwrap_or_default().as_secs_f32();
            let purpose = self.purpose;
            warn!(%error, purpose, retry_in_seconds, "could not connect to RabbitMQ; trying again");
        };
        let connecting = Box::pin(dial_any(rota, &self.name, on_failure));
        self.shutdown.run_until_cancelled(connecting).await.flatten()
    }

    /// Waits until the connection is gone, and says why.
    async fn lost(&self, connection: &Connection) -> String {
        let mut events = Box::pin(connection.events_listener());
        let mut reason = None;
        let mut interval = tokio::time::interval(WATCH_INTERVAL);
        loop {
            if !connection.status().connected() {
                return reason.unwrap_or_else(|| "it was closed".to_owned());
            }
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::Error(error)) => reason = Some(describe(&error)),
                    Some(Event::ConnectionBlocked(reason)) => self.block(Some(reason)),
                    Some(Event::ConnectionUnblocked) => self.block(None),
                    Some(_) => {}
                    None => return reason.unwrap_or_else(|| "it ended".to_owned()),
                },
                _ = interval.tick() => {}
            }
        }
    }

    /// Notes that the broker reads nothing from the connection, or reads it again. Each is logged
    /// once.
    fn block(&self, reason: Option<String>) {
        let is_news = self.blocked.send_if_modified(|blocked| {
            let is_news = blocked.is_some() != reason.is_some();
            blocked.clone_from(&reason);
            is_news
        });
        match reason {
            _ if !is_news => {}
            Some(reason) => warn!(
                reason,
                purpose = self.purpose,
                "RabbitMQ takes no messages for now: it is short of memory or disk"
            ),
            None => info!(purpose = self.purpose, "RabbitMQ takes messages again"),
        }
    }
}
