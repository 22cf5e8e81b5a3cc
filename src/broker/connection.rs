//! The broker, as the rest of the crate sees it: a connection for work, and one for locks.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::channel::Channel;
use super::channel_pool::ChannelPool;
use super::dial::dial;
use super::dial_any::dial_any;
use super::error::failed;
use super::hosts::{Hosts, Rota};
use super::inboxes::{Inboxes, Reception};
use super::link::{CLOSE_TIMEOUT, Link, Live, Purpose};
use super::pauses::{FIRST_PAUSE, back_off};
use super::{BrokerError, Inbox, ReplyRules, Topology};
use crate::metrics::Metrics;
use crate::settings::BrokerSettings;

/// What the management UI shows for a connection that only looks.
const CHECK: &str = "longshore check";

/// `RabbitMQ`, over connections that come back by themselves. Clones share them.
///
/// Work and locks never share a connection. Strangers' messages come over the one for work, and may
/// break it. A broker that is short of memory or disk stops reading every connection that has ever
/// published. The connection for locks publishes and consumes nothing, so it goes on.
#[derive(Clone)]
pub struct Broker {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) topology: Topology,
    pub(super) reply_rules: ReplyRules,
    pub(super) publishing: ChannelPool,
    pub(super) confirm_timeout: Duration,
    pub(super) reconnect_max: Duration,
    /// Segments whose lock this process holds. They are counted here, because the broker lets one
    /// connection declare its own exclusive queue twice.
    pub(super) locked: Mutex<BTreeSet<u32>>,
    pub(super) inboxes: Inboxes,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
    /// Ends the connections with the last clone.
    _end: DropGuard,
    work: Link,
    /// Made when it is needed: a client that only publishes needs none.
    locks: OnceLock<Link>,
    hosts: Hosts,
    name: String,
    lock_heartbeat: Duration,
    metrics: Metrics,
}

impl Broker {
    /// Starts to connect, and stays connected until `shutdown`. Returns at once. It waits in the
    /// background for a broker that is away, with a log line for each try. It also keeps trying if
    /// the broker refuses us, because an operator may fix that. The management UI shows `name`.
    ///
    /// Call it on a tokio runtime. Cancel `shutdown` last: it ends unsettled deliveries and
    /// unconfirmed messages.
    ///
    /// # Errors
    /// [`BrokerError::InvalidUrl`] when the URL cannot be understood.
    pub fn connect(
        settings: &BrokerSettings,
        name: &str,
        shutdown: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        Self::connect_counted(settings, name, &Metrics::default(), shutdown)
    }

    /// As [`connect`](Self::connect), and counts connections that were lost and made again.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_counted(
        settings: &BrokerSettings,
        name: &str,
        metrics: &Metrics,
        shutdown: &CancellationToken,
    ) -> Result<Self, BrokerError> {
        let hosts = Hosts::of(settings)?.shuffled();
        let shutdown = shutdown.child_token();
        let tasks = TaskTracker::new();
        let purpose = Purpose { name: name.to_owned(), is: "work", metrics: metrics.clone() };
        let work = Link::start(hosts.clone(), purpose, settings.reconnect_max, &tasks, &shutdown);
        let inner = Inner {
            topology: Topology::new(&settings.namespace, &settings.retry_delays)
                .with_dead_letters(settings.dead_letters),
            reply_rules: ReplyRules::new(&settings.namespace, &settings.reply_to_prefixes),
            publishing: ChannelPool::new(work.current(), settings.publish_channels)?,
            confirm_timeout: settings.confirm_timeout,
            reconnect_max: settings.reconnect_max,
            locked: Mutex::default(),
            inboxes: Inboxes::default(),
            tasks,
            shutdown: shutdown.clone(),
            _end: shutdown.drop_guard(),
            work,
            locks: OnceLock::new(),
            hosts,
            name: name.to_owned(),
            lock_heartbeat: settings.lock_heartbeat,
            metrics: metrics.clone(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Connects once, to any host, and closes the connection.
    ///
    /// # Errors
    /// Why that was not possible, without a second try.
    pub async fn check(settings: &BrokerSettings) -> Result<(), BrokerError> {
        Self::visit(settings).await?.say_goodbye().await;
        Ok(())
    }

    /// Connects once to each host of `AMQP_URL`, at the same time, and closes the connections.
    /// Returns the outcomes in the order of the URLs.
    ///
    /// # Errors
    /// [`BrokerError::InvalidUrl`] when a URL cannot be understood.
    pub async fn check_each(
        settings: &BrokerSettings,
    ) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        let checks = Hosts::of(settings)?.into_all().into_iter().map(|endpoint| async move {
            visit_over(dial(&endpoint, CHECK).await?).say_goodbye().await;
            Ok(())
        });
        Ok(futures_util::future::join_all(checks).await)
    }

    /// Connects once, to any host, without reconnecting.
    pub(super) async fn visit(settings: &BrokerSettings) -> Result<Live, BrokerError> {
        let mut rota = Rota::once(Hosts::of(settings)?.shuffled());
        let mut problems = Vec::new();
        let connecting = dial_any(&mut rota, CHECK, |error, _| problems.push(error));
        match Box::pin(connecting).await {
            Some((_, connection)) => Ok(visit_over(connection)),
            None => Err(BrokerError::of_hosts(problems)),
        }
    }

    /// Ends the connections, and waits for a bounded time until they are closed.
    pub async fn close(&self) {
        self.inner.shutdown.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(CLOSE_TIMEOUT * 2, self.inner.tasks.wait()).await.is_err() {
            warn!("gave up waiting for the connection to RabbitMQ to close");
        }
    }

    /// Whether there is a connection for work right now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.inner.work.connected().borrow()
    }

    /// Follows whether there is a connection for work.
    #[must_use]
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.inner.work.connected()
    }

    /// Why the broker reads nothing from the connection for work, if so: it is short of memory or
    /// disk.
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        self.inner.work.blocked().borrow().clone()
    }

    /// Waits until there is a connection for work.
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

    /// Waits until there is a connection for work that the broker reads.
    pub(super) async fn wait_usable(&self) -> Result<(), BrokerError> {
        let mut blocked = self.inner.work.blocked();
        loop {
            self.wait_connected().await?;
            tokio::select! {
                read = blocked.wait_for(Option::is_none) => {
                    drop(read.map_err(|_| BrokerError::Cancelled)?);
                }
                () = self.inner.shutdown.cancelled() => return Err(BrokerError::Cancelled),
            }
            if self.is_connected() {
                return Ok(());
            }
        }
    }

    /// The names on the broker.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Which queues a result may be sent to.
    #[must_use]
    pub fn reply_rules(&self) -> &ReplyRules {
        &self.inner.reply_rules
    }

    /// How each inbox with a consumer is consumed.
    #[must_use]
    pub fn receptions(&self) -> Vec<(Inbox, Reception)> {
        self.inner.inboxes.receptions()
    }

    /// The connection for work of the moment.
    pub(super) fn live(&self) -> Result<Live, BrokerError> {
        self.inner.work.live()
    }

    /// A new channel on the connection for work.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let live = self.live()?;
        Channel::open(&live).await.map_err(failed("opening a channel"))
    }

    /// The connection for locks. It is made when this is first called.
    pub(super) fn locks(&self) -> &Link {
        self.inner.locks.get_or_init(|| {
            let inner = &self.inner;
            let hosts = inner.hosts.clone().with_heartbeat(inner.lock_heartbeat);
            let name = format!("{} (locks)", inner.name);
            let purpose = Purpose { name, is: "locks", metrics: inner.metrics.clone() };
            Link::start(hosts, purpose, inner.reconnect_max, &inner.tasks, &inner.shutdown)
        })
    }

    /// Runs `work` to its end even if the caller gives up. A declaration or subscription that is
    /// dropped half-way would stay on the broker. When the work has ended, its result is dropped,
    /// which undoes it.
    pub(super) async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, BrokerError>> + Send + 'static,
    ) -> Result<T, BrokerError> {
        self.inner.tasks.spawn(work).await.map_err(|error| BrokerError::Failed {
            action: "a task of the connection".to_owned(),
            reason: error.to_string(),
        })?
    }

    /// The back-off for everything that is rebuilt here.
    pub(super) fn back_off(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        back_off(self.inner.reconnect_max)
    }

    /// Waits for the next pause of `back_off` and then for a connection that the broker reads.
    pub(super) async fn pause(&self, pause: Option<Duration>) -> Result<(), BrokerError> {
        tokio::select! {
            () = tokio::time::sleep(pause.unwrap_or(FIRST_PAUSE)) => self.wait_usable().await,
            () = self.inner.shutdown.cancelled() => Err(BrokerError::Cancelled),
        }
    }
}

/// A connection that nobody keeps up.
fn visit_over(connection: lapin::Connection) -> Live {
    Live::new(connection, CancellationToken::new(), TaskTracker::new())
}
