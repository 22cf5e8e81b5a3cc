//! The channels over which messages are published.

use deadpool::managed::{Manager, Metrics, Object, Pool, RecycleError, RecycleResult};
use tokio::sync::watch;

use super::BrokerError;
use super::channel::Channel;
use super::error::failed;
use super::link::Live;

/// Confirm channels, kept open between messages.
pub(super) struct ChannelPool(Pool<ConfirmChannels>);

impl ChannelPool {
    pub(super) fn new(
        connection: watch::Receiver<Option<Live>>,
        max_size: usize,
    ) -> Result<Self, BrokerError> {
        let pool = Pool::builder(ConfirmChannels { connection }).max_size(max_size.max(1)).build();
        pool.map(Self).map_err(|error| BrokerError::Failed {
            action: "making the pool of channels".to_owned(),
            reason: error.to_string(),
        })
    }

    /// A channel, for one message.
    pub(super) async fn get(&self) -> Result<Object<ConfirmChannels>, BrokerError> {
        self.0.get().await.map_err(|error| match error {
            deadpool::managed::PoolError::Backend(error) => error,
            error => BrokerError::Failed {
                action: "taking a channel".to_owned(),
                reason: error.to_string(),
            },
        })
    }
}

pub(super) struct ConfirmChannels {
    connection: watch::Receiver<Option<Live>>,
}

pub(super) struct ConfirmChannel {
    pub(super) channel: Channel,
    /// Set while a confirm is awaited. A publication that was given up half-way leaves it set. Such
    /// a channel is not used again, because an old confirm could be taken for a new one.
    pub(super) unconfirmed: bool,
}

impl Manager for ConfirmChannels {
    type Type = ConfirmChannel;
    type Error = BrokerError;

    async fn create(&self) -> Result<ConfirmChannel, BrokerError> {
        let connection = self.connection.borrow().clone().ok_or(BrokerError::NotConnected)?;
        let channel = Channel::open(&connection).await.map_err(failed("opening a channel"))?;
        channel.select_confirms().await.map_err(failed("asking for publisher confirms"))?;
        Ok(ConfirmChannel { channel, unconfirmed: false })
    }

    async fn recycle(
        &self,
        channel: &mut ConfirmChannel,
        _: &Metrics,
    ) -> RecycleResult<BrokerError> {
        if channel.unconfirmed || !channel.channel.is_open() {
            return Err(RecycleError::message("the channel is of no use any more"));
        }
        Ok(())
    }
}
