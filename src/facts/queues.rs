//! What waits in the queues, and why.

use schemars::JsonSchema;
use serde::Serialize;

use super::FactsError;
use super::fleet::{self, Fleet};
use crate::broker::{Broker, Inbox};

/// The queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueuesReport {
    /// What is wrong, or that nothing is, in one sentence.
    pub said: String,
    /// How many workers are connected.
    pub workers: u32,
    /// How many of them have a free slot for a terminating run; each takes one start at a time.
    pub free_for_terminating: u32,
    /// The same for long-running jobs.
    pub free_for_long_running: u32,
    /// The queues that exist.
    pub queues: Vec<QueueReport>,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueueReport {
    /// Its name.
    pub queue: String,
    /// How many messages wait in it.
    pub waiting: u32,
    /// How many consumers it has; absent for a queue that nobody is meant to consume.
    pub consumers: Option<u32>,
}

/// Looks at the queues. Nothing is taken from them.
///
/// # Errors
/// When there is no connection, or the broker refuses.
pub async fn look(broker: &Broker) -> Result<(Fleet, QueuesReport), FactsError> {
    let fleet = fleet::look(broker).await?;
    let aside = broker.count_set_aside().await?;
    let inboxes = fleet.backlogs().iter().map(|backlog| QueueReport {
        queue: backlog.queue.clone(),
        waiting: backlog.messages,
        consumers: Some(backlog.consumers),
    });
    let aside =
        aside.into_iter().map(|(queue, waiting)| QueueReport { queue, waiting, consumers: None });
    let free = |long_running| {
        let mut backlogs = fleet.backlogs().iter();
        let starts = backlogs.find(|backlog| backlog.inbox == Inbox::of_start(long_running));
        starts.map_or(0, |backlog| backlog.consumers)
    };
    let report = QueuesReport {
        said: fleet.sentence(),
        workers: fleet.workers().unwrap_or(0),
        free_for_terminating: free(false),
        free_for_long_running: free(true),
        queues: inboxes.chain(aside).collect(),
    };
    Ok((fleet, report))
}
