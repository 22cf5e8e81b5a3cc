//! What waits in the queues, for metrics: looked at only while somebody asks for it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use crate::broker::{Broker, BrokerError, Inbox};
use crate::metrics::{Gauges, Metrics};

/// How long a look at all queues may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);

/// A look that is older than this is reported no more.
const HOLDS: Duration = Duration::from_mins(1);

/// What the last look found.
#[derive(Default)]
pub(super) struct Queues {
    found: Option<(Instant, Vec<Queue>)>,
    /// When each queue of starts was last seen empty.
    empty_at: BTreeMap<String, Timestamp>,
}

/// One queue.
pub(super) struct Queue {
    name: String,
    messages: u32,
    /// `None` for a queue that nobody is meant to consume.
    consumers: Option<u32>,
    is_of_starts: bool,
}

/// Looks at the queues, within bounds. Nothing is taken from them.
pub(super) async fn look(broker: &Broker, home: Option<u32>) -> Option<Vec<Queue>> {
    match timeout(LOOK_TIMEOUT, ask(broker, home)).await {
        Ok(Ok(found)) => Some(found),
        Ok(Err(error)) => {
            tracing::debug!(%error, "could not look at the queues");
            None
        }
        Err(_) => None,
    }
}

async fn ask(broker: &Broker, home: Option<u32>) -> Result<Vec<Queue>, BrokerError> {
    let inboxes = Inbox::SHARED.into_iter().chain([Inbox::Undelivered]);
    let inboxes: Vec<_> = inboxes.chain(home.map(Inbox::Mailbox)).collect();
    let consumed = broker.inspect(&inboxes).await?.into_iter().map(|backlog| Queue {
        name: backlog.queue,
        messages: backlog.messages,
        consumers: Some(backlog.consumers),
        is_of_starts: matches!(backlog.inbox, Inbox::StartTerminating | Inbox::StartLongRunning),
    });
    let aside = broker.count_set_aside().await?.into_iter().map(|(name, messages)| Queue {
        name,
        messages,
        consumers: None,
        is_of_starts: false,
    });
    Ok(consumed.chain(aside).collect())
}

impl Queues {
    /// Takes what a look found, which began at `now`.
    pub(super) fn note(&mut self, found: Vec<Queue>, now: Timestamp) {
        for queue in found.iter().filter(|queue| queue.is_of_starts && queue.messages == 0) {
            self.empty_at.insert(queue.name.clone(), now);
        }
        self.found = Some((Instant::now(), found));
    }

    /// Reports what the last look found, unless it is too old.
    pub(super) fn read(&self, gauges: &Gauges, metrics: &Metrics, now: Timestamp) {
        let Some((_, found)) = self.found.as_ref().filter(|(at, _)| at.elapsed() < HOLDS) else {
            return;
        };
        for queue in found {
            gauges.queue_messages(&queue.name, queue.messages);
            if let Some(consumers) = queue.consumers {
                gauges.queue_consumers(&queue.name, consumers);
            }
            if let Some(seconds) = self.oldest(queue, metrics, now) {
                gauges.queue_oldest(&queue.name, seconds);
            }
        }
    }

    /// How old the oldest message of a queue is at most. It was published after the one that was
    /// last taken, and after the queue was last empty.
    fn oldest(&self, queue: &Queue, metrics: &Metrics, now: Timestamp) -> Option<f64> {
        if !queue.is_of_starts {
            return None;
        }
        if queue.messages == 0 {
            return Some(0.0);
        }
        let (taken, empty) =
            (metrics.last_taken(&queue.name), self.empty_at.get(&queue.name).copied());
        let since = taken.max(empty)?;
        Some(now.duration_since(since).as_secs_f64().max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(messages: u32) -> Vec<Queue> {
        let consumers = Some(1);
        vec![Queue { name: "ns.start".to_owned(), messages, consumers, is_of_starts: true }]
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_message_is_younger_than_the_last_taken_and_than_an_empty_queue() {
        let (mut queues, metrics) = (Queues::default(), Metrics::default());
        let oldest = |queues: &Queues, now| {
            let queue = &queues.found.as_ref().unwrap().1[0];
            queues.oldest(queue, &metrics, at(now))
        };
        queues.note(starts(3), at(10));
        assert_eq!(oldest(&queues, 20), None, "nothing is known yet");
        metrics.taken("ns.start", at(4), at(5));
        assert_eq!(oldest(&queues, 20), Some(16.0));
        queues.note(starts(0), at(30));
        assert_eq!(oldest(&queues, 31), Some(0.0));
        queues.note(starts(1), at(40));
        assert_eq!(oldest(&queues, 42), Some(12.0));
        metrics.taken("ns.start", at(41), at(42));
        assert_eq!(oldest(&queues, 42), Some(1.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_is_too_old_is_reported_no_more() {
        let mut queues = Queues::default();
        queues.note(starts(3), at(10));
        let metrics = Metrics::default();
        let text = || metrics.text_with(|gauges| queues.read(gauges, &metrics, at(11)));
        assert!(text().contains("longshore_queue_messages{queue=\"ns.start\"} 3"), "{}", text());
        tokio::time::advance(HOLDS).await;
        assert!(!text().contains("ns.start"), "{}", text());
    }
}
