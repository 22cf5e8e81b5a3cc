//! Inspects the inboxes from outside: what waits in them, and whether a worker takes it.

use lapin::types::FieldTable;

use super::channel::{Channel, Declare};
use super::error::failed;
use super::lapin_error::NOT_FOUND;
use super::link::Live;
use super::{Broker, BrokerError, Inbox, Topology};
use crate::job::amqp::short;
use crate::settings::BrokerSettings;

/// What waits in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Which.
    pub inbox: Inbox,
    /// The queue's name.
    pub queue: String,
    /// Messages that wait.
    pub messages: u32,
    /// How many consumers take them. A worker without a free slot does not count.
    pub consumers: u32,
}

impl Broker {
    /// Connects once, and inspects `inboxes` without changing anything. Missing queues are left
    /// out.
    ///
    /// # Errors
    /// As [`Broker::check`], and when the broker does not answer.
    pub async fn backlogs(
        settings: &BrokerSettings,
        inboxes: &[Inbox],
    ) -> Result<Vec<Backlog>, BrokerError> {
        let topology = Topology::new(&settings.namespace, &settings.retry_delays);
        let live = Self::visit(settings).await?;
        let found = inspect(&live, &topology, inboxes).await?;
        live.say_goodbye().await;
        Ok(found)
    }

    /// As [`Broker::backlogs`], over the connection of the moment. This takes no rights: a publisher
    /// may do it, too.
    ///
    /// # Errors
    /// When there is no connection, or the broker does not answer.
    pub async fn inspect(&self, inboxes: &[Inbox]) -> Result<Vec<Backlog>, BrokerError> {
        inspect(&self.live()?, self.topology(), inboxes).await
    }

    /// The queues in which nobody takes messages, and how many wait: those of retries, and the dead
    /// letters last. Missing queues are left out.
    ///
    /// # Errors
    /// As [`Broker::inspect`].
    pub async fn count_set_aside(&self) -> Result<Vec<(String, u32)>, BrokerError> {
        let live = self.live()?;
        let mut found = Vec::new();
        for queue in self.topology().retry_queues().into_iter().chain([self.topology().dead()]) {
            if let Some((messages, _)) = look(&live, &queue).await? {
                found.push((queue, messages));
            }
        }
        Ok(found)
    }

    /// Connects once, and counts the dead letters without changing anything. `None` if their queue
    /// is missing.
    ///
    /// # Errors
    /// As [`Broker::backlogs`].
    pub async fn count_dead_letters(settings: &BrokerSettings) -> Result<Option<u32>, BrokerError> {
        let topology = Topology::new(&settings.namespace, &settings.retry_delays);
        let live = Self::visit(settings).await?;
        let found = look(&live, &topology.dead()).await?;
        live.say_goodbye().await;
        Ok(found.map(|(messages, _)| messages))
    }
}

async fn inspect(
    live: &Live,
    topology: &Topology,
    inboxes: &[Inbox],
) -> Result<Vec<Backlog>, BrokerError> {
    let mut found = Vec::new();
    for &inbox in inboxes {
        let queue = topology.inbox(inbox);
        if let Some((messages, consumers)) = look(live, &queue).await? {
            found.push(Backlog { inbox, queue, messages, consumers });
        }
    }
    Ok(found)
}

/// The messages and the consumers of a queue, if it exists.
async fn look(live: &Live, queue: &str) -> Result<Option<(u32, u32)>, BrokerError> {
    let action = format!("looking at the queue {queue:?}");
    let name = short("name of the queue", queue)
        .map_err(|reason| BrokerError::Failed { action: action.clone(), reason })?;
    // A missing queue closes the channel.
    let channel = Channel::open(live).await.map_err(failed("opening a channel"))?;
    match channel.declare_queue(name, Declare::Passive, FieldTable::default()).await {
        Ok(state) => Ok(Some((state.messages, state.consumers))),
        Err(error) if error.reply_code() == Some(NOT_FOUND) => Ok(None),
        Err(error) => Err(failed(action)(error)),
    }
}
