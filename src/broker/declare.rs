//! Declares the topology. It can be repeated.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use tracing::warn;

use super::bounded::RequestError;
use super::channel::{Channel, Declare};
use super::topology::{Argument, ExchangeSpec, QueueSpec, Routing};
use super::{Broker, BrokerError, Inbox};
use crate::job::amqp::short;

/// The broker's reply code for something that exists with other arguments.
const PRECONDITION_FAILED: u16 = 406;

impl Broker {
    /// Declares every exchange and every shared queue of the namespace. Existing ones stay as they
    /// are. Waits for a connection.
    ///
    /// # Errors
    /// [`BrokerError::Mismatch`] if something of that name has other arguments, which only an
    /// operator can fix; [`BrokerError::Cancelled`]; other errors of this connection.
    pub async fn declare_topology(&self) -> Result<(), BrokerError> {
        self.wait_connected().await?;
        let channel = self.channel().await?;
        for exchange in self.topology().exchanges() {
            declare_exchange(&channel, &exchange).await?;
        }
        for queue in self.topology().queues() {
            declare_queue(&channel, &queue).await?;
        }
        self.declare_dead(&channel).await
    }

    /// Declares the queue of dead letters. An existing one with other bounds stays as it is: it has
    /// messages, and a change of a setting must not keep workers from starting.
    async fn declare_dead(&self, channel: &Channel) -> Result<(), BrokerError> {
        let spec = self.topology().dead_spec();
        match declare_queue(channel, &spec).await {
            Err(BrokerError::Mismatch { object, reason }) => {
                warn!(
                    object,
                    reason,
                    "the dead letters keep the bounds that they have; \
                     to apply DEAD_LETTERS_MAX and DEAD_LETTERS_MAX_MB, empty and delete the queue"
                );
                bind_queue(&self.channel().await?, &spec).await
            }
            declared => declared,
        }
    }

    /// Declares the mailbox of a segment. The exchanges of workers must be there.
    ///
    /// # Errors
    /// As [`Broker::declare_topology`].
    pub async fn declare_mailbox(&self, segment: u32) -> Result<(), BrokerError> {
        self.wait_connected().await?;
        let channel = self.channel().await?;
        declare_queue(&channel, &self.topology().inbox_spec(Inbox::Mailbox(segment))).await
    }

    /// As [`Broker::declare_topology`], for a caller that will try again anyway.
    pub(super) async fn declare_or_warn(&self) {
        if let Err(error) = self.declare_topology().await {
            warn!(%error, "could not declare exchanges and queues");
        }
    }
}

async fn declare_exchange(channel: &Channel, spec: &ExchangeSpec) -> Result<(), BrokerError> {
    let object = format!("exchange {:?}", spec.name);
    let name = short("name", &spec.name).map_err(|reason| failed(&object, reason))?;
    let kind = match spec.routing {
        Routing::Topic => ExchangeKind::Topic,
        Routing::Fanout => ExchangeKind::Fanout,
    };
    let mut arguments = FieldTable::default();
    if let Some(alternate) = &spec.alternate {
        arguments
            .insert("alternate-exchange".into(), AMQPValue::LongString(alternate.as_str().into()));
    }
    let declared = channel.declare_exchange(name, kind, arguments).await;
    declared.map_err(|error| judge(&object, &error))
}

pub(super) async fn declare_queue(channel: &Channel, spec: &QueueSpec) -> Result<(), BrokerError> {
    let object = format!("queue {:?}", spec.name);
    let short = |text: &str| short("name", text).map_err(|reason| failed(&object, reason));
    let mut arguments = FieldTable::default();
    for (name, value) in &spec.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        arguments.insert(short(name)?, value);
    }
    let name = short(&spec.name)?;
    channel
        .declare_queue(name, Declare::Durable, arguments)
        .await
        .map_err(|error| judge(&object, &error))?;
    bind_queue(channel, spec).await
}

async fn bind_queue(channel: &Channel, spec: &QueueSpec) -> Result<(), BrokerError> {
    let object = format!("queue {:?}", spec.name);
    let short = |text: &str| short("name", text).map_err(|reason| failed(&object, reason));
    let (name, key) = (short(&spec.name)?, short(&spec.routing_key)?);
    for exchange in &spec.exchanges {
        let (name, exchange, key) = (name.clone(), short(exchange)?, key.clone());
        channel
            .bind_queue(name, exchange, key)
            .await
            .map_err(|error| judge(&format!("binding of {object}"), &error))?;
    }
    Ok(())
}

fn judge(object: &str, error: &RequestError) -> BrokerError {
    let reason = error.to_string();
    match error.reply_code() {
        Some(PRECONDITION_FAILED) => BrokerError::Mismatch { object: object.to_owned(), reason },
        _ => failed(object, reason),
    }
}

fn failed(object: &str, reason: String) -> BrokerError {
    BrokerError::Failed { action: format!("declaring the {object}"), reason }
}
