//! What is on the broker: names, kinds and arguments, as a pure description.
//!
//! Every name that Longshore uses on a broker is made in this file.

use std::time::Duration;

/// How often the broker may hand out one message before it is dead-lettered.
///
/// Only a message that takes its worker down each time comes that far: everything else is settled
/// by us. `RabbitMQ` 4 has 20 of its own accord and `RabbitMQ` 3 none; both count a return after a
/// lost connection, so the number leaves room for a bad day of the network.
const DELIVERY_LIMIT: i64 = 50;

/// A queue that a worker takes messages from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inbox {
    /// Start messages of terminating runs; shared by all workers.
    StartTerminating,
    /// Start messages of long-running jobs; shared by all workers.
    StartLongRunning,
    /// Stop messages; shared by all workers.
    Stop,
    /// The mailbox of one segment: what concerns its jobs.
    Mailbox(u32),
}

impl Inbox {
    /// The queues that all workers share.
    pub const SHARED: [Self; 3] = [Self::StartTerminating, Self::StartLongRunning, Self::Stop];

    /// The inbox of start messages of a kind.
    #[must_use]
    pub fn of_start(long_running: bool) -> Self {
        if long_running { Self::StartLongRunning } else { Self::StartTerminating }
    }

    /// The routing key on the exchange of jobs that leads to this queue, and to no other.
    #[must_use]
    pub fn routing_key(self) -> String {
        match self {
            Self::StartTerminating => "start.terminating".to_owned(),
            Self::StartLongRunning => "start.long-running".to_owned(),
            Self::Stop => "stop".to_owned(),
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
}

/// The value of a queue's argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    Text(String),
    Number(i64),
}

/// A durable quorum queue, bound to one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueSpec {
    pub(super) name: String,
    pub(super) arguments: Vec<(&'static str, Argument)>,
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

impl Topology {
    /// The topology of `namespace`, with one retry queue for each of `retry_delays`.
    #[must_use]
    pub fn new(namespace: &str, retry_delays: &[Duration]) -> Self {
        Self { namespace: namespace.to_owned(), retry_delays: retry_delays.to_vec() }
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
        let topic = |name| ExchangeSpec { name, routing: Routing::Topic };
        let fanout = |name| ExchangeSpec { name, routing: Routing::Fanout };
        let mut all = vec![
            topic(self.jobs_exchange()),
            topic(self.status_exchange()),
            topic(self.results_exchange()),
            topic(self.logs_exchange()),
            fanout(self.listeners_exchange()),
            fanout(self.dead()),
        ];
        all.extend(self.steps().into_iter().map(|step| fanout(step.name)));
        all
    }

    /// Every durable queue but the mailboxes, which their owners declare.
    pub(super) fn queues(&self) -> Vec<QueueSpec> {
        let mut all: Vec<_> = Inbox::SHARED.iter().map(|inbox| self.inbox_spec(*inbox)).collect();
        all.push(QueueSpec {
            name: self.dead(),
            arguments: vec![quorum()],
            exchange: self.dead(),
            routing_key: String::new(),
        });
        all.extend(self.steps().into_iter().map(|step| self.retry_spec(step)));
        all
    }

    /// A queue that a worker takes messages from.
    pub(super) fn inbox_spec(&self, inbox: Inbox) -> QueueSpec {
        let mut arguments = dead_lettering(self.dead());
        arguments.push(("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)));
        QueueSpec {
            name: self.inbox(inbox),
            arguments,
            exchange: self.jobs_exchange(),
            routing_key: inbox.routing_key(),
        }
    }

    /// A queue in which messages wait. Its exchange is a fanout, so that a message keeps the
    /// routing key of its inbox while it waits; there is no `x-dead-letter-routing-key`, so that
    /// this key leads it back: one queue a step serves every inbox. Expired messages leave a queue
    /// at its head only, hence one queue a delay.
    fn retry_spec(&self, step: RetryStep) -> QueueSpec {
        let mut arguments = dead_lettering(self.jobs_exchange());
        let millis = i64::try_from(step.delay.as_millis()).unwrap_or(i64::MAX);
        arguments.push(("x-message-ttl", Argument::Number(millis)));
        QueueSpec {
            name: step.name.clone(),
            arguments,
            exchange: step.name,
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
mod tests {
    use super::*;

    fn topology() -> Topology {
        Topology::new("ns", &[5, 30, 120].map(Duration::from_secs))
    }

    #[test]
    fn each_attempt_waits_in_the_step_of_its_number_until_they_are_exhausted() {
        let name = |attempt| topology().retry_step(attempt).map(|step| step.name);
        assert_eq!(name(1).as_deref(), Some("ns.retry.5s"));
        assert_eq!(name(2).as_deref(), Some("ns.retry.30s"));
        assert_eq!(name(3).as_deref(), Some("ns.retry.120s"));
        assert_eq!(name(4), None);
        assert_eq!(name(u32::MAX), None);
        assert_eq!(name(0), name(1), "an attempt 0 is nonsense, not a crash");
    }

    #[test]
    fn delays_under_a_second_have_names_of_their_own() {
        let topology = Topology::new("ns", &[250, 1500, 2000].map(Duration::from_millis));
        let names: Vec<_> = topology.steps().into_iter().map(|step| step.name).collect();
        assert_eq!(names, ["ns.retry.250ms", "ns.retry.1500ms", "ns.retry.2s"]);
    }

    #[test]
    fn equal_delays_share_a_queue() {
        let topology = Topology::new("ns", &[5, 5, 5].map(Duration::from_secs));
        assert_eq!(topology.steps().len(), 1);
        assert_eq!(topology.retry_step(3), topology.retry_step(1));
    }

    #[test]
    fn everything_is_in_the_namespace_and_every_binding_leads_to_a_declared_exchange() {
        let topology = topology();
        let exchanges: Vec<_> = topology.exchanges().into_iter().map(|spec| spec.name).collect();
        let mut queues = topology.queues();
        queues.push(topology.inbox_spec(Inbox::Mailbox(7)));
        for queue in &queues {
            assert!(queue.name.starts_with("ns."), "{}", queue.name);
            assert!(exchanges.contains(&queue.exchange), "{}", queue.exchange);
        }
        assert!(exchanges.iter().all(|name| name.starts_with("ns.")));
        assert!(queues.iter().any(|queue| queue.name == "ns.segment.7"));
    }

    #[test]
    fn whatever_dead_letters_does_so_at_least_once() {
        for queue in topology().queues().iter().filter(|queue| queue.name != "ns.dead") {
            let argument = |name: &str| {
                queue.arguments.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
            };
            let text = |text: &str| Some(Argument::Text(text.to_owned()));
            assert_eq!(argument("x-queue-type"), text("quorum"));
            assert_eq!(argument("x-dead-letter-strategy"), text("at-least-once"));
            assert_eq!(argument("x-overflow"), text("reject-publish"));
            assert!(argument("x-dead-letter-exchange").is_some());
        }
    }
}
