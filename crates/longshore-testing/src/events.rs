//! Every status and result event of a namespace, from before the worker starts.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::TaskTracker;

/// How long a test waits for an event.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// One event, as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub exchange: String,
    pub routing_key: String,
    pub message_id: Option<String>,
    pub content_type: Option<String>,
    pub delivery_mode: Option<u8>,
    /// The CloudEvent.
    pub event: Value,
    /// Its text: some numbers have more digits than `event` keeps.
    pub text: String,
}

impl Seen {
    pub fn of(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        let text =
            |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            message_id: text(properties.message_id()),
            content_type: text(properties.content_type()),
            delivery_mode: *properties.delivery_mode(),
            event: serde_json::from_slice(&delivery.data)
                .unwrap_or_else(|error| panic!("an event is not JSON: {error}")),
            text: String::from_utf8_lossy(&delivery.data).into_owned(),
        }
    }

    pub fn id(&self) -> &str {
        self.event["id"].as_str().unwrap_or_default()
    }

    pub fn subject(&self) -> Option<&str> {
        self.event["subject"].as_str()
    }

    pub fn data(&self) -> &Value {
        &self.event["data"]
    }

    pub fn is_result(&self) -> bool {
        self.event["type"] == "longshore.job.result.v1"
    }

    pub fn state(&self) -> Option<&str> {
        if self.is_result() { None } else { self.data()["state"].as_str() }
    }

    /// The payload of a result that must have this verdict.
    #[track_caller]
    pub fn expect(&self, verdict: &str) -> &Value {
        assert_eq!(self.data()["verdict"], verdict, "{:#}", self.event);
        self.data()
    }

    /// The message, which must hold every one of `parts`.
    #[track_caller]
    pub fn expect_message(&self, parts: &[&str]) {
        let message = self.data()["message"].as_str().unwrap_or_default();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}: {:#}", self.event);
        }
    }

    /// The last part of the output, as the event has it.
    pub fn output(&self) -> &str {
        self.data()["output"].as_str().unwrap_or_default()
    }
}

/// Every event of a namespace since this was made.
pub struct Events {
    seen: watch::Receiver<Vec<Seen>>,
    _reading: AbortOnDropHandle<()>,
    _channel: Channel,
}

impl Events {
    /// Subscribes to all events of `namespace`.
    pub async fn subscribe(connection: &Connection, namespace: &str) -> Self {
        let channel = connection.create_channel().await.unwrap();
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await;
        let queue = queue.unwrap().name().clone();
        for exchange in ["status", "results"] {
            let name = format!("{namespace}.{exchange}");
            let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let arguments = FieldTable::default();
            let (kind, exchange) = (ExchangeKind::Topic, name.as_str());
            channel
                .exchange_declare(exchange.into(), kind, durable, arguments.clone())
                .await
                .unwrap();
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue.clone(), exchange.into(), "#".into(), options, arguments)
                .await
                .unwrap();
        }
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let mut consumer = consumer.await.unwrap();
        let (all, seen) = watch::channel(Vec::new());
        let reading = TaskTracker::new().spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                let event = Seen::of(&delivery);
                all.send_modify(|seen: &mut Vec<Seen>| seen.push(event));
            }
        });
        Self { seen, _reading: AbortOnDropHandle::new(reading), _channel: channel }
    }

    /// The first matching event, seen or still to come. Panics with all events that were seen.
    pub async fn wait_for(&self, what: &str, is_meant: impl Fn(&Seen) -> bool) -> Seen {
        self.wait_for_nth(what, 1, is_meant).await
    }

    /// The `nth` matching event; the first is 1.
    pub async fn wait_for_nth(
        &self,
        what: &str,
        nth: usize,
        is_meant: impl Fn(&Seen) -> bool,
    ) -> Seen {
        let found = |all: &[Seen]| all.iter().filter(|one| is_meant(one)).nth(nth - 1).cloned();
        let mut seen = self.seen.clone();
        let waiting = seen.wait_for(|all| found(all).is_some());
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        let all = waited.map(Result::ok).ok().flatten();
        match all.and_then(|all| found(&all)) {
            Some(event) => event,
            None => panic!("no {what} within {} s; {}", PATIENCE.as_secs(), self.told()),
        }
    }

    /// The result of a job.
    pub async fn result_of(&self, id: &str) -> Seen {
        self.wait_for(&format!("result of {id}"), |seen| {
            seen.is_result() && seen.subject() == Some(id)
        })
        .await
    }

    /// The first event that says that a job is in `state`.
    pub async fn wait_state(&self, id: &str, state: &str) -> Seen {
        self.wait_for(&format!("status {state} of {id}"), |seen| {
            seen.subject() == Some(id) && seen.state() == Some(state)
        })
        .await
    }

    /// Every event so far.
    pub fn all(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Every result so far, of any job.
    pub fn all_results(&self) -> Vec<Seen> {
        self.seen.borrow().iter().filter(|seen| seen.is_result()).cloned().collect()
    }

    /// Every result of a job so far.
    pub fn results_of(&self, id: &str) -> Vec<Seen> {
        let is_its = |seen: &&Seen| seen.is_result() && seen.subject() == Some(id);
        self.seen.borrow().iter().filter(is_its).cloned().collect()
    }

    /// The states of a job so far, in order, without repeats. An event whose confirm was lost comes
    /// again with the same id.
    pub fn states_of(&self, id: &str) -> Vec<String> {
        let all = self.seen.borrow();
        let mut told = BTreeSet::new();
        let ours = all.iter().filter(|seen| seen.subject() == Some(id));
        let ours = ours.filter(|seen| told.insert(seen.event["id"].to_string()));
        ours.filter_map(Seen::state).map(str::to_owned).collect()
    }

    /// What was seen, one line for each event, for a failing test.
    fn told(&self) -> String {
        let all = self.seen.borrow();
        let mut text = format!("{} events were seen:", all.len());
        for seen in all.iter() {
            let data = seen.data();
            let message = data["message"].as_str().unwrap_or_default();
            write!(text, "\n  {} {message}", seen.routing_key).unwrap();
        }
        text
    }
}
