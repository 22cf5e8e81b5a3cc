//! What is on the broker: names, kinds and arguments, as a pure description.
//!
//! Every name that Longshore uses on a broker is made in this file.

use std::time::Duration;

use crate::settings::DeadLetterBounds;

/// How often the broker may hand out one message before it is dead-lettered.
///
/// Only a message that takes its worker down each time comes that far: everything else is settled
/// by us. `RabbitMQ` 4 has 20 of its own accord and `RabbitMQ` 3 none; both count a return after a
/// lost connection, so the number leaves room for a bad day of the network.
const DELIVERY_LIMIT: i64 = 50;

/// The same of a start: each delivery of one that takes its worker down costs all that runs there, and
/// beyond the limit it has a result, so that nothing is lost without a word.
const START_DELIVERY_LIMIT: i64 = 20;

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
    /// The mailbox of one segment: what concerns its jobs.
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

/// One step of the back-off, with the name of its exchange and of its queue, which is the same.
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

/// The names and the shape of everything of one namespace.
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
    /// Where messages go that lead nowhere from here.
    pub(super) alternate: Option<String>,
}

/// The value of a queue's argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    Text(String),
    Number(i64),
}

/// A durable quorum queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueSpec {
    pub(super) name: String,
    pub(super) arguments: Vec<(&'static str, Argument)>,
    /// The exchanges that it is bound to, all by the same key.
    pub(super) exchanges: Vec<String>,
    pub(super) routing_key: String,
}

impl Topology {
    /// The topology of `namespace`, with one retry queue for each of `retry_delays`.
    #[must_use]
    pub fn new(namespace: &str, retry_delays: &[Duration]) -> Self {
        let (namespace, retry_delays) = (namespace.to_owned(), retry_delays.to_vec());
        Self { namespace, retry_delays, dead_letters: DeadLetterBounds::default() }
    }

    /// The same with other bounds on the dead letters.
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

    /// The topic exchange by which workers send messages to each other. Publishers have no business
    /// with it: what comes by it is believed where it says how often it was tried.
    #[must_use]
    pub fn workers_exchange(&self) -> String {
        self.name("workers")
    }

    /// The topic exchange by which messages come back that have waited for a retry. What comes by it
    /// is believed likewise. What leads nowhere from here goes to the dead letters: the queues that
    /// dead-letter to it keep a message until some queue has taken it.
    #[must_use]
    pub fn returns_exchange(&self) -> String {
        self.name("returns")
    }

    /// Whether a message that came by this exchange was sent by a worker. Who may only publish to
    /// the exchange of jobs cannot make a message come by another one, whatever headers it has.
    #[must_use]
    pub(super) fn is_internal(&self, exchange: &str) -> bool {
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

    /// The exchange, and the queue behind it, of what could not be processed.
    #[must_use]
    pub fn dead(&self) -> String {
        self.name("dead")
    }

    /// The name of an inbox.
    #[must_use]
    pub fn inbox(&self, inbox: Inbox) -> String {
        self.name(&inbox.routing_key())
    }

    /// The exclusive queue that stands for owning a segment.
    #[must_use]
    pub fn lock(&self, segment: u32) -> String {
        self.name(&format!("segment.{segment}.lock"))
    }

    /// Where a message goes whose attempt number `attempt` (the first is 1) has failed.
    /// `None` when the back-off is exhausted.
    #[must_use]
    pub fn retry_step(&self, attempt: u32) -> Option<RetryStep> {
        let index = usize::try_from(attempt.max(1) - 1).ok()?;
        self.retry_delays.get(index).map(|delay| self.step(*delay))
    }

    /// The step after the given attempt, or the last one where there are fewer; none where there
    /// is no retry queue at all.
    #[must_use]
    pub fn retry_step_or_last(&self, attempt: u32) -> Option<RetryStep> {
        let last = self.retry_delays.last().map(|delay| self.step(*delay));
        self.retry_step(attempt).or(last)
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

    /// Every durable queue but that of the dead letters, and the mailboxes, which their owners declare.
    pub(super) fn queues(&self) -> Vec<QueueSpec> {
        let inboxes = Inbox::SHARED.iter().chain(&[Inbox::Undelivered]);
        let mut all: Vec<_> = inboxes.map(|inbox| self.inbox_spec(*inbox)).collect();
        all.extend(self.steps().into_iter().map(|step| self.retry_spec(step)));
        all
    }

    /// The queue of dead letters. Nobody reads it by himself, so it is bounded, and drops the oldest.
    pub(super) fn dead_spec(&self) -> QueueSpec {
        let number = |number: u64| Argument::Number(i64::try_from(number).unwrap_or(i64::MAX));
        QueueSpec {
            name: self.dead(),
            arguments: vec![
                quorum(),
                ("x-max-length", number(self.dead_letters.messages)),
                ("x-max-length-bytes", number(self.dead_letters.bytes)),
                ("x-overflow", Argument::Text("drop-head".to_owned())),
            ],
            exchanges: vec![self.dead()],
            routing_key: String::new(),
        }
    }

    /// A queue that a worker takes messages from. A mailbox is for workers alone: publishers cannot
    /// reach it by the exchange of jobs.
    pub(super) fn inbox_spec(&self, inbox: Inbox) -> QueueSpec {
        let is_start = matches!(inbox, Inbox::StartTerminating | Inbox::StartLongRunning);
        let mut arguments = if is_start {
            // Every start gets a result, so a worker looks at those that the broker gives up on.
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

    /// A queue in which messages wait. Its exchange is a fanout, so that a message keeps the
    /// routing key of its inbox while it waits; there is no `x-dead-letter-routing-key`, so that
    /// this key leads it back: one queue a step serves every inbox. Expired messages leave a queue
    /// at its head only, hence one queue a delay.
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

/// A quorum queue that dead-letters to `exchange` and keeps a message until it has arrived there.
/// The strategy needs this overflow: without it the broker falls back to at-most-once in silence.
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
