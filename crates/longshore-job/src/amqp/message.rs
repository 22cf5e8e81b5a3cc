//! Messages as the rest of the crate sees them, to and from lapin's properties.

use std::collections::BTreeMap;
use std::fmt;

use amq_protocol::protocol::BasicProperties;
use amq_protocol::types::{AMQPValue, FieldTable, ShortString};
use bytes::Bytes;
use jiff::Timestamp;

use super::UNREADABLE_HEADER;

/// The attempt that a message asks for; 1 if absent. We count attempts ourselves, because
/// `RabbitMQ` ignores an `x-death` that a client sends, from version 4 on.
pub const ATTEMPT_HEADER: &str = "x-longshore-attempt";

/// The first attempt of a row of failed tries of a long-running job: the infrastructure failed at
/// each attempt since then. 1 if absent. So a bot that has run for a year has as many tries left as
/// a new one.
pub const FIRST_TRY_HEADER: &str = "x-longshore-since";

/// Why a message is among the dead letters.
pub const REASON_HEADER: &str = "x-longshore-reason";

/// From which queue a message came to the dead letters.
pub const QUEUE_HEADER: &str = "x-longshore-queue";

/// The trace that a message belongs to, as W3C Trace Context.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// Why the broker gave up a message the last time, in the broker's own words.
const LAST_DEATH_HEADER: &str = "x-last-death-reason";

/// The prefix of our own headers. They are read only from messages that a worker sent.
const OUR_HEADERS: &str = "x-longshore-";

/// The name with which a client asks for direct replies, without a queue. If a client publishes by
/// AMQP 0-9-1, the broker replaces this name. So a message that still has it came by another
/// protocol, and a copy of that message would end our channel.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Headers that a copy does not take over. The broker itself writes those about deaths, and `CC`
/// and `BCC` would send the copy to several places.
const NOT_COPIED: [&str; 4] = ["x-death", "x-delivery-count", "CC", "BCC"];

/// Prefixes of further headers that a copy does not take over. Ours are set again, because readers
/// of the copy trust them.
const NOT_COPIED_PREFIXES: [&str; 3] = ["x-first-death-", "x-last-death-", OUR_HEADERS];

/// The most bytes of foreign headers that a copy takes over. All headers, with ours on top, must
/// fit into one frame (128 KiB). A message that does not fit would end the connection.
const MAX_COPIED_HEADERS: usize = 96 * 1024;

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// Text.
    Text(String),
    /// A number.
    Number(i64),
}

/// A message to publish. Its debug output leaves out the body, which may contain secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// The exchange; empty for the default one, which routes by queue name.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The body.
    pub body: Bytes,
    /// The body's media type.
    pub content_type: String,
    /// The message's identity. Readers use it to drop repeats.
    pub message_id: Option<String>,
    /// What the message answers.
    pub correlation_id: Option<String>,
    /// The queue that an answer goes to.
    pub reply_to: Option<String>,
    /// When it was published; AMQP keeps whole seconds.
    pub timestamp: Option<Timestamp>,
    /// Headers.
    pub headers: BTreeMap<String, HeaderValue>,
    /// Whether it survives a restart of the broker.
    pub persistent: bool,
    /// Whether it is an error if no queue takes the message.
    pub mandatory: bool,
}

impl fmt::Debug for OutgoingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingMessage")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("bytes", &self.body.len())
            .field("message_id", &self.message_id)
            .field("correlation_id", &self.correlation_id)
            .field("reply_to", &self.reply_to)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

impl OutgoingMessage {
    /// A persistent message in JSON that a queue must take. Its destination is not set yet.
    #[must_use]
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            content_type: "application/json".to_owned(),
            persistent: true,
            mandatory: true,
            ..Self::default()
        }
    }

    /// The trace that the message belongs to, as W3C Trace Context.
    pub fn set_traceparent(&mut self, traceparent: &str) {
        let value = HeaderValue::Text(traceparent.to_owned());
        self.headers.insert(TRACEPARENT_HEADER.to_owned(), value);
    }
}

/// Who sent a message, according to the exchange that it came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A worker of this namespace.
    Worker,
    /// Anybody who may publish.
    Publisher,
}

/// What a received message says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageProperties {
    /// The message's identity across redeliveries.
    pub message_id: Option<String>,
    /// What an answer must carry.
    pub correlation_id: Option<String>,
    /// The queue that an answer goes to.
    pub reply_to: Option<String>,
    /// The body's media type.
    pub content_type: Option<String>,
    /// How the body is compressed. Some publishers write other things here.
    pub content_encoding: Option<String>,
    /// When it was published, to the second.
    pub timestamp: Option<Timestamp>,
    /// The trace, as W3C Trace Context.
    pub traceparent: Option<String>,
    /// Which attempt this is; the first is 1.
    pub attempt: u32,
    /// The attempt from which tries in a row count: none has run since then. The first is 1.
    pub first_try: u32,
    /// Why the broker gave up the message the last time, such as `expired`. It is reliable only for
    /// a message that was dead-lettered: there, the broker overwrites what a client wrote.
    pub last_death: Option<String>,
    /// The parts of the message that could not be read. Such a message must be refused, because its
    /// other parts may differ from what its publisher wrote.
    pub unreadable: Vec<Unreadable>,
}

/// A property that could not be read, or the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub property: String,
    /// What is wrong with it, as the end of a sentence.
    pub problem: String,
}

impl MessageProperties {
    /// Reads what a foreign client wrote. A value of an unexpected type counts as absent. Our own
    /// headers count as absent, too, unless a worker sent the message. The header of the
    /// connection's filter is always read.
    #[doc(hidden)]
    #[must_use]
    pub fn read(properties: &BasicProperties, sender: Sender) -> Self {
        let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
        let header = |name: &str| properties.headers().as_ref()?.inner().get(name);
        let count = |name: &str| {
            let ours = |name| header(name).filter(|_| sender == Sender::Worker);
            let number = ours(name).and_then(as_number);
            number.and_then(|number| u32::try_from(number).ok()).map_or(1, |count| count.max(1))
        };
        Self {
            message_id: text(properties.message_id()),
            correlation_id: text(properties.correlation_id()),
            reply_to: text(properties.reply_to()),
            content_type: text(properties.content_type()),
            content_encoding: text(properties.content_encoding()),
            timestamp: properties
                .timestamp()
                .and_then(|count| published_at(count, Timestamp::now())),
            traceparent: header(TRACEPARENT_HEADER)
                .and_then(as_text)
                .filter(|text| is_traceparent(text)),
            attempt: count(ATTEMPT_HEADER),
            first_try: count(FIRST_TRY_HEADER),
            last_death: header(LAST_DEATH_HEADER).and_then(as_text),
            unreadable: header(UNREADABLE_HEADER)
                .and_then(as_text)
                .map_or_else(Vec::new, |text| text.lines().filter_map(as_unreadable).collect()),
        }
    }
}

/// The earliest time that a message can have been published, in seconds since 1970: the year 2000.
const EARLIEST_SECOND: u64 = 946_684_800;

/// How far a publisher's clock may be ahead of ours, in seconds. A message from further ahead would
/// override every stop until then.
const MAX_AHEAD_SECONDS: u64 = 86_400;

/// When a message was published. AMQP counts seconds since 1970, but many clients write
/// milliseconds, microseconds or nanoseconds. The units differ so much that a number is plausible
/// in only one of them. A number that fits no unit counts as absent.
fn published_at(count: u64, now: Timestamp) -> Option<Timestamp> {
    let latest = u64::try_from(now.as_second()).unwrap_or_default() + MAX_AHEAD_SECONDS;
    let units = [1, 1_000, 1_000_000, 1_000_000_000];
    let seconds = units.map(|unit| count / unit);
    let second = seconds.into_iter().find(|second| (EARLIEST_SECOND..=latest).contains(second))?;
    Timestamp::from_second(i64::try_from(second).ok()?).ok()
}

/// A line of [`UNREADABLE_HEADER`].
fn as_unreadable(line: &str) -> Option<Unreadable> {
    let (property, problem) = line.split_once(' ')?;
    Some(Unreadable { property: property.to_owned(), problem: problem.to_owned() })
}

/// Whether a text could be a trace, of this version of W3C Trace Context or a later one. Any other
/// text is dropped, because every event carries the trace, in a frame with little room.
fn is_traceparent(text: &str) -> bool {
    (55..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

pub(super) fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Clients in other languages choose the width of a number by its value.
pub(super) fn as_number(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortInt(number) => Some(i64::from(*number)),
        AMQPValue::ShortUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongInt(number) => Some(i64::from(*number)),
        AMQPValue::LongUInt(number) => Some(i64::from(*number)),
        AMQPValue::LongLongInt(number) => Some(*number),
        other => as_text(other)?.parse().ok(),
    }
}

/// A short string, at most 255 bytes in AMQP. lapin's own `From` panics on a longer one.
pub fn short(what: &str, text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| format!("the {what} is longer than 255 bytes"))
}

fn to_value(value: &HeaderValue) -> AMQPValue {
    match value {
        HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
        HeaderValue::Number(number) => AMQPValue::LongLongInt(*number),
    }
}

/// The properties of a message of ours.
pub fn properties_of(message: &OutgoingMessage) -> Result<BasicProperties, String> {
    let mut properties = BasicProperties::default()
        .with_content_type(short("content type", &message.content_type)?)
        .with_delivery_mode(if message.persistent { 2 } else { 1 });
    if let Some(id) = &message.message_id {
        properties = properties.with_message_id(short("message id", id)?);
    }
    if let Some(id) = &message.correlation_id {
        properties = properties.with_correlation_id(short("correlation id", id)?);
    }
    if let Some(queue) = &message.reply_to {
        properties = properties.with_reply_to(short("name of the reply queue", queue)?);
    }
    if let Some(seconds) = message.timestamp.and_then(|at| u64::try_from(at.as_second()).ok()) {
        properties = properties.with_timestamp(seconds);
    }
    if !message.headers.is_empty() {
        let mut table = FieldTable::default();
        for (name, value) in &message.headers {
            table.insert(short("name of a header", name)?, to_value(value));
        }
        properties = properties.with_headers(table);
    }
    Ok(properties)
}

/// The properties of a copy of a received message, with `extra` headers of ours.
///
/// All but two properties are kept. An expiration would remove a dead letter, and let a retry come
/// too early. The broker checks a user id against the publishing connection, and ours is not the
/// first publisher's.
#[must_use]
pub fn properties_of_copy(
    original: &BasicProperties,
    extra: &[(&str, HeaderValue)],
) -> BasicProperties {
    let mut copy = BasicProperties::default().with_delivery_mode(2);
    if let Some(value) = original.content_type() {
        copy = copy.with_content_type(value.clone());
    }
    if let Some(value) = original.content_encoding() {
        copy = copy.with_content_encoding(value.clone());
    }
    if let Some(value) = original.priority() {
        copy = copy.with_priority(*value);
    }
    if let Some(value) = original.correlation_id() {
        copy = copy.with_correlation_id(value.clone());
    }
    if let Some(value) = original.reply_to()
        && value.as_str() != DIRECT_REPLY_TO
    {
        copy = copy.with_reply_to(value.clone());
    }
    if let Some(value) = original.message_id() {
        copy = copy.with_message_id(value.clone());
    }
    if let Some(value) = original.timestamp() {
        copy = copy.with_timestamp(*value);
    }
    if let Some(value) = original.kind() {
        copy = copy.with_type(value.clone());
    }
    if let Some(value) = original.app_id() {
        copy = copy.with_app_id(value.clone());
    }
    copy.with_headers(headers_of_copy(original.headers().as_ref(), extra))
}

fn headers_of_copy(original: Option<&FieldTable>, extra: &[(&str, HeaderValue)]) -> FieldTable {
    let mut headers = FieldTable::default();
    let mut room = MAX_COPIED_HEADERS;
    for (name, value) in original.into_iter().flatten() {
        let name_text = name.as_str();
        let left_out = NOT_COPIED.contains(&name_text)
            || NOT_COPIED_PREFIXES.iter().any(|prefix| name_text.starts_with(prefix));
        let size = name_text.len() + size_of_value(value);
        if !left_out && size <= room {
            room -= size;
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in extra {
        headers.insert((*name).into(), to_value(value));
    }
    headers
}

/// About how many bytes a value takes on the wire: never too low.
fn size_of_value(value: &AMQPValue) -> usize {
    const FIXED: usize = 16;
    FIXED
        + match value {
            AMQPValue::LongString(text) => text.as_bytes().len(),
            AMQPValue::ByteArray(bytes) => bytes.as_slice().len(),
            AMQPValue::FieldArray(values) => values.as_slice().iter().map(size_of_value).sum(),
            AMQPValue::FieldTable(table) => table
                .into_iter()
                .map(|(name, value)| FIXED + name.as_str().len() + size_of_value(value))
                .sum(),
            AMQPValue::ShortString(text) => text.as_str().len(),
            _ => 0,
        }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
