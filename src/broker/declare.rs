//! Declaring the topology, as often as one likes.

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};
use tracing::warn;

use super::bounded::RequestError;
use super::channel::{Channel, Declare};
use super::message::short;
use super::topology::{Argument, ExchangeSpec, QueueSpec, Routing};
use super::{Broker, BrokerError, Inbox};

/// The broker's reply code for something that exists in another shape.
const PRECONDITION_FAILED: u16 = 406;

impl Broker {
    /// Declares every exchange and every shared queue of the namespace. What is there already
    /// stays as it is. Waits for a connection.
    ///
    /// # Errors
    /// [`BrokerError::Mismatch`] when something of that name has another shape, which only an
    /// operator can mend; [`BrokerError::Cancelled`]; what else went wrong with this connection.
    pub async fn declare_topology(&self) -> Result<(), BrokerError> {
        self.wait_connected().await?;
        let channel = self.channel().await?;
        for exchange in self.topology().exchanges() {
            declare_exchange(&channel, &exchange).await?;
        }
        for queue in self.topology().queues() {
            declare_queue(&channel, &queue).await?;
        }
        Ok(())
    }

    /// Declares the mailbox of a segment. The exchange of jobs must be there.
    ///
    /// # Errors
    /// As [`Broker::declare_topology`].
    pub async fn declare_mailbox(&self, segment: u32) -> Result<(), BrokerError> {
        self.wait_connected().await?;
        let channel = self.channel().await?;
        declare_queue(&channel, &self.topology().inbox_spec(Inbox::Mailbox(segment))).await
    }

    /// As [`Broker::declare_topology`], for one who will try again anyway.
    pub(super) async fn declare_or_warn(&self) {
        if let Err(error) = self.declare_topology().await {
            warn!(%error, "cannot declare the topology");
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
    let declared = channel.declare_exchange(name, kind).await;
    declared.map_err(|error| judge(&object, &error))
}

async fn declare_queue(channel: &Channel, spec: &QueueSpec) -> Result<(), BrokerError> {
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
        .declare_queue(name.clone(), Declare::Durable, arguments)
        .await
        .map_err(|error| judge(&object, &error))?;
    let (exchange, key) = (short(&spec.exchange)?, short(&spec.routing_key)?);
    channel
        .bind_queue(name, exchange, key)
        .await
        .map_err(|error| judge(&format!("binding of {object}"), &error))
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
