//! The broker for a client command: connect once, follow one job.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Failure;
use super::output::warn;
use super::terminal::one_line;
use crate::broker::{Binding, Broker, BrokerError, Feed, Subscription};
use crate::job::{Event, JobId};
use crate::settings::BrokerSettings;

/// How long a new connection may take if one was possible a moment ago.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection for one command.
pub(super) struct Client {
    pub(super) broker: Broker,
    shutdown: CancellationToken,
}

impl Client {
    /// Connects. Unlike a worker, a command does not wait for a broker that is not there.
    pub(super) async fn connect(settings: &BrokerSettings) -> Result<Self, Failure> {
        Broker::check(settings).await?;
        let shutdown = CancellationToken::new();
        let broker = Broker::connect(settings, "longshore client", &shutdown)?;
        tokio::time::timeout(CONNECT_TIMEOUT, broker.wait_connected())
            .await
            .map_err(|_| BrokerError::NotConnected)??;
        Ok(Self { broker, shutdown })
    }

    /// Follows events. Misses none that is published after this has returned.
    pub(super) async fn follow(&self, bindings: Vec<Binding>) -> Result<Followed, Failure> {
        let subscription = self.broker.subscribe(bindings, self.shutdown.clone()).await?;
        Ok(Followed { subscription })
    }

    /// Follows one job.
    pub(super) async fn follow_job(&self, id: &JobId) -> Result<Followed, Failure> {
        let feeds = [Feed::Status, Feed::Results];
        self.follow(feeds.map(|feed| Binding::of_job(feed, id)).into()).await
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        self.broker.close().await;
    }
}

/// Events as they come.
pub(super) struct Followed {
    subscription: Subscription,
}

impl Followed {
    /// The next event. Messages that are no events are reported on standard error.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            match self.subscription.next().await? {
                Ok(event) => return Some(event),
                Err(error) => warn(&one_line(&error.to_string())),
            }
        }
    }
}
