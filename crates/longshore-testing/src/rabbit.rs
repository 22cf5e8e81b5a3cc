//! The real broker that the environment names, with a private namespace for each test.

use std::net::SocketAddr;
use std::time::Duration;

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use longshore::broker::{Broker, Inbox, Topology};
use longshore::settings::{BrokerSettings, Loader, Reader, Sources};
use tokio_util::sync::CancellationToken;

use super::servers::amqp_url;

/// The only retry delay of a test, short enough to wait for.
pub const RETRY_DELAY: Duration = Duration::from_millis(300);

/// The longest that a test waits for anything; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A namespace on the real broker.
pub struct Rabbit {
    pub settings: BrokerSettings,
    pub shutdown: CancellationToken,
}

impl Rabbit {
    /// A namespace that no other test uses.
    pub fn new() -> Self {
        let sources = Sources::of(&[("AMQP_URL", &amqp_url())]);
        let settings = BrokerSettings {
            namespace: format!("test-{}", uuid::Uuid::now_v7().simple()),
            publish_channels: 2,
            reconnect_max: Duration::from_secs(1),
            retry_delays: vec![RETRY_DELAY],
            ..Loader::new(sources).read(Reader::broker).unwrap()
        };
        Self { settings, shutdown: CancellationToken::new() }
    }

    /// A connection of its own to the namespace.
    pub fn connect(&self) -> Broker {
        Broker::connect(&self.settings, "longshore test", &self.shutdown).unwrap()
    }

    /// A connection, with the topology declared.
    pub async fn declared(&self) -> Broker {
        let broker = self.connect();
        within(broker.declare_topology()).await.unwrap();
        broker
    }

    /// The same namespace, reached through `addr`.
    pub fn through(&self, addr: SocketAddr) -> Self {
        let mut settings = self.settings.clone();
        let (credentials, path) = settings.url.split_once('@').unwrap();
        let vhost = path.split_once('/').map_or("", |(_, vhost)| vhost);
        settings.url = format!("{credentials}@{addr}/{vhost}");
        Self { settings, shutdown: self.shutdown.clone() }
    }

    /// The broker's socket, for a proxy in front of it.
    pub async fn addr(&self) -> SocketAddr {
        let (_, path) = self.settings.url.split_once('@').unwrap();
        let host = path.split('/').next().unwrap().to_owned();
        tokio::net::lookup_host(host).await.unwrap().next().unwrap()
    }

    /// A channel without our adapter, like a client in another language.
    pub async fn foreign_channel(&self) -> lapin::Channel {
        let properties = lapin::ConnectionProperties::default();
        let connection = lapin::Connection::connect(&self.settings.url, properties).await.unwrap();
        connection.create_channel().await.unwrap()
    }

    /// Removes the namespace, except mailboxes of segments over 9.
    pub async fn clean_up(self) {
        self.shutdown.cancel();
        let topology = Topology::new(&self.settings.namespace, &self.settings.retry_delays);
        let channel = self.foreign_channel().await;
        let retry = format!("{}.retry.{}ms", self.settings.namespace, RETRY_DELAY.as_millis());
        let inboxes = Inbox::SHARED
            .into_iter()
            .chain([Inbox::Undelivered])
            .chain((0..10).map(Inbox::Mailbox));
        let queues =
            inboxes.map(|inbox| topology.inbox(inbox)).chain([topology.dead(), retry.clone()]);
        for queue in queues {
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.as_str().into(), options).await.unwrap();
        }
        for exchange in [
            topology.jobs_exchange(),
            topology.workers_exchange(),
            topology.returns_exchange(),
            topology.status_exchange(),
            topology.results_exchange(),
            topology.logs_exchange(),
            topology.listeners_exchange(),
            topology.dead(),
            retry,
        ] {
            let options = ExchangeDeleteOptions::default();
            channel.exchange_delete(exchange.as_str().into(), options).await.unwrap();
        }
    }
}

/// Waits for `future`, and fails the test if that takes too long.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it took too long")
}
