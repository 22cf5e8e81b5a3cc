//! The objects on the broker: names, kinds and arguments, as a pure description.
//!
//! Every name that Longshore uses on a broker is made in this file.

use std::time::Duration;

use crate::settings::DeadLetterBounds;

/// How often the broker may hand out one message before it is dead-lettered.
///
/// Only a message that crashes its worker each time reaches this: we settle everything else.
/// `RabbitMQ` 4 has 20 by default, and `RabbitMQ` 3 has none. Both count a return after a lost
/// connection, so the number leaves room for a bad day of the network.
const DELIVERY_LIMIT: i64 = 50;

/// The same for a start. Each delivery that crashes its worker costs all that runs there, so the
/// limit is low. Beyond it the start gets a result, so nothing is lost silently.
const START_DELIVERY_LIMIT: i64 = 20;

/// How often a dead letter may be returned. To look at a dead letter is to take and return it, so
/// the broker must count far. Without this number, `RabbitMQ` 4 drops a letter at the 21st look. With
/// no limit (-1), it puts what is returned behind all others.
const DEAD_LETTER_RETURNS: i64 = 1_000_000;

/// A queue that a worker takes messages from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inbox {
    /// Start messages of terminating runs; shared by all workers.
    StartTerminating,
    /// Start messages of long-running jobs; shared by all workers.
    StartLongRunning,
    /// Stop messages; shared by all workers.
    Stop,
    /// Start messages that the broker gave up on; shared by all workers.
    Undelivered,
    /// The mailbox of one segment: messages about its jobs.
    Mailbox(u32),
}

impl Inbox {
    /// The queues that all workers share and publishers reach.
    pub const SHARED: [Self; 3] = [Self::StartTerminating, Self::StartLongRunning, Self::Stop];

    /// The inbox of start messages of a kind.
    #[must_use]
    pub fn of_start(long_running: bool) -> Self {
        if long_running { Self::StartLongRunning } else { Self::StartTerminating }
    }

    /// The routing key that leads to this queue, and to no other, from every exchange it is bound to.
    #[must_use]
    pub fn routing_key(self) -> String {
        match self {
            Self::StartTerminating => "start.terminating".to_owned(),
            Self::StartLongRunning => "start.long-running".to_owned(),
            Self::Stop => "stop".to_owned(),
            Self::Undelivered => "undelivered".to_owned(),
            Self::Mailbox(segment) => format!("segment.{segment}"),
        }
    }
}

/// One step of the back-off. Its exchange and its queue have the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryStep {
    pub(super) name: String,
    pub(super) delay: Duration,
}

impl RetryStep {
    /// How long a message waits in this step.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }
}

/// The names and arguments of everything in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    namespace: String,
    retry_delays: Vec<Duration>,
    dead_letters: DeadLetterBounds,
}

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routing {
    Topic,
    Fanout,
}

/// A durable exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExchangeSpec {
    pub(super) name: String,
    pub(super) routing: Routing,
    /// Where messages go that match no queue here.
    pub(super) alternate: Option<String>,
}

/// The value of a queue's argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Argument {
    Text(String),
    Number(i64),
}

/// A durable quorum queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueSpec {
    pub(crate) name: String,
    pub(crate) arguments: Vec<(&'static str, Argument)>,
    /// The exchanges that it is bound to, all by the same key.
    pub(crate) exchanges: Vec<String>,
    pub(crate) routing_key: String,
}

impl Topology {
    /// The topology of `namespace`, with one retry queue for each of `retry_delays`.
    #[must_use]
    pub fn new(namespace: &str, retry_delays: &[Duration]) -> Self {
        let (namespace, retry_delays) = (namespace.to_owned(), retry_delays.to_vec());
        Self { namespace, retry_delays, dead_letters: DeadLetterBounds::default() }
    }

    /// The same with other bounds for the dead letters.
    #[must_use]
    pub fn with_dead_letters(self, dead_letters: DeadLetterBounds) -> Self {
        Self { dead_letters, ..self }
    }

    /// How much the queue of dead letters keeps.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetterBounds {
        self.dead_letters
    }

    /// The first part of every name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The topic exchange that start and stop messages are published to.
    #[must_use]
    pub fn jobs_exchange(&self) -> String {
        self.name("jobs")
    }

    /// The topic exchange through which workers send messages to each other. Publishers must not
    /// use it: a message that comes through it is trusted in its attempt numbers.
    #[must_use]
    pub fn workers_exchange(&self) -> String {
        self.name("workers")
    }

    /// The topic exchange through which messages come back that have waited for a retry. They are
    /// trusted in the same way. A message that matches no queue here goes to the dead letters,
    /// because the queues that dead-letter to this exchange keep a message until a queue has taken
    /// it.
    #[must_use]
    pub fn returns_exchange(&self) -> String {
        self.name("returns")
    }

    /// Whether a message that came through this exchange was sent by a worker. A publisher with
    /// rights only to the exchange of jobs cannot send through another one, whatever headers it
    /// writes.
    #[must_use]
    pub(crate) fn is_internal(&self, exchange: &str) -> bool {
        exchange == self.workers_exchange() || exchange == self.returns_exchange()
    }

    /// The topic exchange of status events.
    #[must_use]
    pub fn status_exchange(&self) -> String {
        self.name("status")
    }

    /// The topic exchange of result events.
    #[must_use]
    pub fn results_exchange(&self) -> String {
        self.name("results")
    }

    /// The topic exchange of log lines as they come.
    #[must_use]
    pub fn logs_exchange(&self) -> String {
        self.name("logs")
    }

    /// The exchange on which those who follow a log tell every worker that they listen.
    #[must_use]
    pub fn listeners_exchange(&self) -> String {
        self.name("listeners")
    }

    /// The exchange, and the queue behind it, for messages that could not be processed.
    #[must_use]
    pub fn dead(&self) -> String {
        self.name("dead")
    }

    /// The name of an inbox.
    #[must_use]
    pub fn inbox(&self, inbox: Inbox) -> String {
        self.name(&inbox.routing_key())
    }

    /// The beginning of the name of every mailbox.
    #[must_use]
    pub fn mailboxes(&self) -> String {
        self.name("segment.")
    }

    /// The exclusive queue that is the lock of a segment.
    #[must_use]
    pub fn lock(&self, segment: u32) -> String {
        self.name(&format!("segment.{segment}.lock"))
    }

    /// Where a message goes after its attempt number `attempt` (the first is 1) has failed. `None`
    /// when the back-off is exhausted.
    #[must_use]
    pub fn retry_step(&self, attempt: u32) -> Option<RetryStep> {
        let index = usize::try_from(attempt.max(1) - 1).ok()?;
        self.retry_delays.get(index).map(|delay| self.step(*delay))
    }

    /// The step after the given attempt, or the last one if there are fewer; `None` if there is no
    /// retry queue.
    #[must_use]
    pub fn retry_step_or_last(&self, attempt: u32) -> Option<RetryStep> {
        let last = self.retry_delays.last().map(|delay| self.step(*delay));
        self.retry_step(attempt).or(last)
    }

    /// The queues in which messages wait for their next attempt.
    #[must_use]
    pub fn retry_queues(&self) -> Vec<String> {
        self.steps().into_iter().map(|step| step.name).collect()
    }

    fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.namespace)
    }

    fn step(&self, delay: Duration) -> RetryStep {
        let shown = if delay.subsec_millis() == 0 {
            format!("{}s", delay.as_secs())
        } else {
            format!("{}ms", delay.as_millis())
        };
        RetryStep { name: self.name(&format!("retry.{shown}")), delay }
    }

    /// The steps, each once: two equal delays share one queue.
    fn steps(&self) -> Vec<RetryStep> {
        let mut steps: Vec<RetryStep> = Vec::new();
        for delay in &self.retry_delays {
            let step = self.step(*delay);
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        steps
    }

    /// Every durable exchange.
    pub(super) fn exchanges(&self) -> Vec<ExchangeSpec> {
        let topic = |name| ExchangeSpec { name, routing: Routing::Topic, alternate: None };
        let fanout = |name| ExchangeSpec { name, routing: Routing::Fanout, alternate: None };
        let returns =
            ExchangeSpec { alternate: Some(self.dead()), ..topic(self.returns_exchange()) };
        let mut all = vec![
            // No alternate exchange here: the broker would count a message with a wrong key as
            // routed, and a publisher who asks for `mandatory` would not be told.
            topic(self.jobs_exchange()),
            topic(self.workers_exchange()),
            returns,
            topic(self.status_exchange()),
            topic(self.results_exchange()),
            topic(self.logs_exchange()),
            fanout(self.listeners_exchange()),
            fanout(self.dead()),
        ];
        all.extend(self.steps().into_iter().map(|step| fanout(step.name)));
        all
    }

    /// Every durable queue, except that of the dead letters and the mailboxes, which their owners
    /// declare.
    pub(crate) fn queues(&self) -> Vec<QueueSpec> {
        let inboxes = Inbox::SHARED.iter().chain(&[Inbox::Undelivered]);
        let mut all: Vec<_> = inboxes.map(|inbox| self.inbox_spec(*inbox)).collect();
        all.extend(self.steps().into_iter().map(|step| self.retry_spec(step)));
        all
    }

    /// The queue of dead letters. Nobody reads it automatically, so it is bounded, and drops the
    /// oldest.
    pub(crate) fn dead_spec(&self) -> QueueSpec {
        let number = |number: u64| Argument::Number(i64::try_from(number).unwrap_or(i64::MAX));
        QueueSpec {
            name: self.dead(),
            arguments: vec![
                quorum(),
                ("x-max-length", number(self.dead_letters.messages)),
                ("x-max-length-bytes", number(self.dead_letters.bytes)),
                ("x-overflow", Argument::Text("drop-head".to_owned())),
                ("x-delivery-limit", Argument::Number(DEAD_LETTER_RETURNS)),
            ],
            exchanges: vec![self.dead()],
            routing_key: String::new(),
        }
    }

    /// A queue that a worker takes messages from. A mailbox is only for workers: publishers cannot
    /// reach it through the exchange of jobs.
    pub(crate) fn inbox_spec(&self, inbox: Inbox) -> QueueSpec {
        let is_start = matches!(inbox, Inbox::StartTerminating | Inbox::StartLongRunning);
        let mut arguments = if is_start {
            // Every start gets a result, so a worker handles those that the broker gives up.
            let mut arguments = dead_lettering(self.returns_exchange());
            let key = Argument::Text(Inbox::Undelivered.routing_key());
            arguments.push(("x-dead-letter-routing-key", key));
            arguments
        } else {
            dead_lettering(self.dead())
        };
        let limit = if is_start { START_DELIVERY_LIMIT } else { DELIVERY_LIMIT };
        arguments.push(("x-delivery-limit", Argument::Number(limit)));
        let mut exchanges = vec![self.workers_exchange(), self.returns_exchange()];
        if Inbox::SHARED.contains(&inbox) {
            exchanges.push(self.jobs_exchange());
        }
        QueueSpec {
            name: self.inbox(inbox),
            arguments,
            exchanges,
            routing_key: inbox.routing_key(),
        }
    }

    /// A queue in which messages wait. Its exchange is a fanout, so a message keeps the routing key
    /// of its inbox while it waits. There is no `x-dead-letter-routing-key`, so this key leads it
    /// back, and one queue for each step serves every inbox. Expired messages leave a queue only at
    /// its head, so each delay has its own queue.
    fn retry_spec(&self, step: RetryStep) -> QueueSpec {
        let mut arguments = dead_lettering(self.returns_exchange());
        let millis = i64::try_from(step.delay.as_millis()).unwrap_or(i64::MAX);
        arguments.push(("x-message-ttl", Argument::Number(millis)));
        QueueSpec {
            name: step.name.clone(),
            arguments,
            exchanges: vec![step.name],
            routing_key: String::new(),
        }
    }
}

fn quorum() -> (&'static str, Argument) {
    ("x-queue-type", Argument::Text("quorum".to_owned()))
}

/// A quorum queue that dead-letters to `exchange`, and keeps a message until it has arrived there.
/// The strategy needs this overflow: without it, the broker silently falls back to at-most-once.
fn dead_lettering(exchange: String) -> Vec<(&'static str, Argument)> {
    vec![
        quorum(),
        ("x-dead-letter-exchange", Argument::Text(exchange)),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned())),
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
    ]
}

#[cfg(test)]
mod tests;
