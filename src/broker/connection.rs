//! One connection that is rebuilt by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use lapin::{Channel, Connection, Event};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::dial::dial;
use super::endpoint::Endpoint;
use super::error::{describe, failed};
use super::publisher::ChannelPool;
use super::{BrokerError, Topology};
use crate::settings::BrokerSettings;

/// The first pause of a back-off; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How often the connection is looked at, beside the events that lapin gives.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long the goodbye to the broker may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long opening a channel may take.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to `RabbitMQ` that comes back by itself. Clones share it.
#[derive(Clone)]
pub struct Broker {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) topology: Topology,
    pub(super) publishing: ChannelPool,
    pub(super) confirm_timeout: Duration,
    pub(super) reconnect_max: Duration,
    /// Segments whose lock this process holds: the broker lets one connection declare its own
    /// exclusive queue twice.
    pub(super) locked: Mutex<BTreeSet<u32>>,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    /// Ends the connection with the last clone.
    _end: DropGuard,
    current: watch::Receiver<Option<Arc<Connection>>>,
    connected: watch::Receiver<bool>,
}

impl Broker {
    /// Starts to connect, and keeps connected until `shutdown`. Returns at once: a broker that is
    /// not there yet is waited for in the background, with a line in the log for each try; so is
    /// one that refuses us, for that may be mended meanwhile. `name` is shown in the management UI.
    ///
    /// Must be called on a tokio runtime. Cancel `shutdown` last: it takes unsettled deliveries
    /// and unconfirmed messages with it.
    ///
    /// # Errors
    /// [`BrokerError::InvalidUrl`] when the URL cannot be understood.
    pub fn connect(
        settings: &BrokerSettings,
        name: &str,
        shutdown: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        let endpoint = Endpoint::of(settings)?;
        let shutdown = shutdown.child_token();
        let (current_out, current) = watch::channel(None);
        let (connected_out, connected) = watch::channel(false);
        let inner = Inner {
            topology: Topology::new(&settings.namespace, &settings.retry_delays),
            publishing: ChannelPool::new(current.clone(), settings.publish_channels)?,
            confirm_timeout: settings.confirm_timeout,
            reconnect_max: settings.reconnect_max,
            locked: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown: shutdown.clone(),
            _end: shutdown.clone().drop_guard(),
            current,
            connected,
        };
        let supervisor = Supervisor {
            endpoint,
            name: name.to_owned(),
            reconnect_max: settings.reconnect_max,
            current: current_out,
            connected: connected_out,
            shutdown,
        };
        inner.tasks.spawn(supervisor.run());
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Connects once and says goodbye again.
    ///
    /// # Errors
    /// Why that was not possible, without a second try.
    pub async fn check(settings: &BrokerSettings) -> Result<(), BrokerError> {
        let endpoint = Endpoint::of(settings)?;
        let connection = dial(&endpoint, "longshore check").await?;
        say_goodbye(&connection).await;
        Ok(())
    }

    /// Ends the connection and waits, for a bounded time, until the goodbye is said.
    pub async fn close(&self) {
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(CLOSE_TIMEOUT * 2, self.inner.tasks.wait()).await.is_err() {
            warn!("gave up waiting for the connection to RabbitMQ to close");
        }
    }

    /// Whether there is a connection right now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.inner.connected.borrow()
    }

    /// Follows whether there is a connection.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.inner.connected.clone()
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// [`BrokerError::Cancelled`] when the broker's shutdown comes first.
    pub async fn wait_connected(&self) -> Result<(), BrokerError> {
        let mut connected = self.connected();
        tokio::select! {
            up = connected.wait_for(|up| *up) => up.map(drop).map_err(|_| BrokerError::Cancelled),
            () = self.inner.shutdown.cancelled() => Err(BrokerError::Cancelled),
        }
    }

    /// The names of what is on the broker.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// A new channel on the connection of the moment.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.inner.current.borrow().clone().ok_or(BrokerError::NotConnected)?;
        open_channel(&connection).await
    }

    /// Runs `work` to its end even where the caller gives up on it: a declaration or subscription
    /// that is dropped half-way would stay on the broker with nobody to undo it. What comes of it
    /// is then dropped, and so undone.
    pub(super) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, BrokerError>> + Send + 'static,
    ) -> Result<T, BrokerError> {
        self.inner.tasks.spawn(work).await.map_err(|error| BrokerError::Failed {
            action: "a task of the connection".to_owned(),
            reason: error.to_string(),
        })?
    }

    /// The back-off of everything here that is rebuilt.
    pub(super) fn back_off(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        back_off(self.inner.reconnect_max)
    }

    /// Waits for the next pause of `back_off` and then for a connection.
    pub(super) async fn pause(&self, pause: Option<Duration>) -> Result<(), BrokerError> {
        tokio::select! {
            () = tokio::time::sleep(pause.unwrap_or(FIRST_PAUSE)) => self.wait_connected().await,
            () = self.inner.shutdown.cancelled() => Err(BrokerError::Cancelled),
        }
    }
}

pub(super) async fn open_channel(connection: &Connection) -> Result<Channel, BrokerError> {
    let action = "opening a channel";
    tokio::time::timeout(CHANNEL_TIMEOUT, connection.create_channel())
        .await
        .map_err(|_| BrokerError::Failed {
            action: action.to_owned(),
            reason: format!("no answer within {} s", CHANNEL_TIMEOUT.as_secs()),
        })?
        .map_err(failed(action))
}

/// Endless pauses with jitter, none longer than `max`. backon adds up to the same again as
/// jitter, hence the halves.
fn back_off(max: Duration) -> impl Iterator<Item = Duration> + Send {
    let half = max / 2;
    ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE.min(half))
        .with_max_delay(half)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Keeps the connection up.
struct Supervisor {
    endpoint: Endpoint,
    name: String,
    reconnect_max: Duration,
    current: watch::Sender<Option<Arc<Connection>>>,
    connected: watch::Sender<bool>,
    shutdown: CancellationToken,
}

impl Supervisor {
    async fn run(self) {
        let mut pauses = back_off(self.reconnect_max);
        while let Some(connection) = self.connect_until_shutdown(&mut pauses).await {
            let since = Instant::now();
            info!(broker = %self.endpoint, "connected to RabbitMQ");
            self.current.send_replace(Some(Arc::clone(&connection)));
            self.connected.send_replace(true);
            let reason = tokio::select! {
                reason = lost(&connection) => Some(reason),
                () = self.shutdown.cancelled() => None,
            };
            self.connected.send_replace(false);
            self.current.send_replace(None);
            let Some(reason) = reason else {
                say_goodbye(&connection).await;
                return;
            };
            warn!(broker = %self.endpoint, reason, "lost the connection to RabbitMQ");
            // A broker that drops us as soon as we are in must not be hammered.
            if since.elapsed() >= self.reconnect_max {
                pauses = back_off(self.reconnect_max);
            }
            if !self.sleep(pauses.next()).await {
                return;
            }
        }
    }

    async fn connect_until_shutdown(
        &self,
        pauses: &mut (impl Iterator<Item = Duration> + Send),
    ) -> Option<Arc<Connection>> {
        loop {
            let attempt = tokio::select! {
                attempt = dial(&self.endpoint, &self.name) => attempt,
                () = self.shutdown.cancelled() => return None,
            };
            match attempt {
                Ok(connection) => return Some(Arc::new(connection)),
                Err(error) => {
                    let pause = pauses.next();
                    let seconds = pause.unwrap_or_default().as_secs_f32();
                    warn!(%error, retry_in_seconds = seconds, "cannot connect to RabbitMQ");
                    if !self.sleep(pause).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Sleeps; `false` when the shutdown came first.
    async fn sleep(&self, pause: Option<Duration>) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause.unwrap_or(self.reconnect_max)) => true,
            () = self.shutdown.cancelled() => false,
        }
    }
}

/// Waits until the connection is gone, and says why.
async fn lost(connection: &Connection) -> String {
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
                Some(Event::ConnectionBlocked(reason)) => {
                    warn!(reason, "RabbitMQ takes no messages for now: it is short of resources");
                }
                Some(Event::ConnectionUnblocked) => info!("RabbitMQ takes messages again"),
                Some(_) => {}
                None => return reason.unwrap_or_else(|| "it ended".to_owned()),
            },
            _ = interval.tick() => {}
        }
    }
}

async fn say_goodbye(connection: &Connection) {
    let goodbye = connection.close(200, "goodbye".into());
    match tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "closing the connection to RabbitMQ failed"),
        Err(_) => warn!("closing the connection to RabbitMQ took too long"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_never_exceed_the_setting() {
        let max = Duration::from_secs(30);
        let pauses: Vec<_> = back_off(max).take(40).collect();
        assert!(pauses.iter().all(|pause| *pause <= max), "{pauses:?}");
        assert!(pauses[0] <= FIRST_PAUSE * 2);
        assert!(pauses[39] >= max / 2);
    }

    #[test]
    fn a_small_setting_is_kept_too() {
        let max = Duration::from_millis(100);
        assert!(back_off(max).take(10).all(|pause| pause <= max));
    }
}
