//! What the queues say about the workers.
//!
//! Every worker consumes the queue of stops for as long as it is connected. It consumes a queue of
//! starts only while it has a free slot for that kind. So the consumers of these queues are the
//! workers, and those of them with room.

use std::fmt;

use super::FactsError;
use crate::broker::{Backlog, Broker, Inbox};

/// The queues that all workers share, at one moment.
pub struct Fleet {
    backlogs: Vec<Backlog>,
}

/// Why no worker takes a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody has declared the queues.
    QueuesMissing,
    /// No worker is connected.
    WorkersAway,
    /// Workers are connected, and starts of this kind wait, but no worker takes them.
    WorkersFull {
        /// Which kind.
        long_running: bool,
        /// How many starts wait.
        waiting: u32,
    },
}

/// Looks at the queues that all workers share. Nothing is taken from them.
///
/// # Errors
/// When there is no connection, or the broker refuses.
pub async fn look(broker: &Broker) -> Result<Fleet, FactsError> {
    let inboxes = [&Inbox::SHARED[..], &[Inbox::Undelivered]].concat();
    Ok(Fleet::new(broker.inspect(&inboxes).await?))
}

impl Fleet {
    /// What was found.
    #[must_use]
    pub fn new(backlogs: Vec<Backlog>) -> Self {
        Self { backlogs }
    }

    /// The queues that exist.
    #[must_use]
    pub fn backlogs(&self) -> &[Backlog] {
        &self.backlogs
    }

    fn of(&self, inbox: Inbox) -> Option<&Backlog> {
        self.backlogs.iter().find(|backlog| backlog.inbox == inbox)
    }

    /// How many workers are connected; `None` if there are no queues yet.
    #[must_use]
    pub fn workers(&self) -> Option<u32> {
        self.of(Inbox::Stop).map(|backlog| backlog.consumers)
    }

    /// How many starts wait.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        let starts = [false, true].map(|long_running| self.of(Inbox::of_start(long_running)));
        starts.into_iter().flatten().map(|backlog| backlog.messages).sum()
    }

    /// Why a start of a kind waits, if one does.
    #[must_use]
    pub fn obstacle(&self, long_running: bool) -> Option<Obstacle> {
        match self.workers() {
            None => return Some(Obstacle::QueuesMissing),
            Some(0) => return Some(Obstacle::WorkersAway),
            Some(_) => {}
        }
        let backlog = self.of(Inbox::of_start(long_running))?;
        let waiting = backlog.messages;
        (waiting > 0 && backlog.consumers == 0)
            .then_some(Obstacle::WorkersFull { long_running, waiting })
    }

    /// What is wrong with all of it, or that nothing is, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let (waiting, starts) = (self.waiting(), starts(self.waiting()));
        match self.workers() {
            None => Obstacle::QueuesMissing.to_string(),
            Some(0) if waiting > 0 => format!("{}, and {starts}", Obstacle::WorkersAway),
            Some(0) => Obstacle::WorkersAway.to_string(),
            Some(workers) => {
                let obstacles: Vec<_> = [false, true]
                    .into_iter()
                    .filter_map(|long_running| self.obstacle(long_running))
                    .map(|obstacle| obstacle.to_string())
                    .collect();
                if !obstacles.is_empty() {
                    return obstacles.join("; ");
                }
                let connected = match workers {
                    1 => "1 worker is connected".to_owned(),
                    many => format!("{many} workers are connected"),
                };
                if waiting == 0 {
                    return format!("no start waits; {connected}");
                }
                format!("{connected}, and about to be taken: {waiting}")
            }
        }
    }
}

fn starts(waiting: u32) -> String {
    if waiting == 1 { "1 start waits".to_owned() } else { format!("{waiting} starts wait") }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::QueuesMissing => {
                f.write_str("there are no queues yet: the first worker makes them")
            }
            Self::WorkersAway => f.write_str("no worker is connected"),
            Self::WorkersFull { long_running, waiting } => {
                let kind = if long_running { "long-running jobs" } else { "terminating runs" };
                write!(f, "no worker has room for {kind}, and {}", starts(waiting))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stops' consumers, and messages and consumers of the two queues of starts.
    fn fleet(workers: u32, terminating: (u32, u32), long_running: (u32, u32)) -> Fleet {
        let backlog = |inbox, (messages, consumers)| Backlog {
            inbox,
            queue: String::new(),
            messages,
            consumers,
        };
        Fleet::new(vec![
            backlog(Inbox::StartTerminating, terminating),
            backlog(Inbox::StartLongRunning, long_running),
            backlog(Inbox::Stop, (0, workers)),
        ])
    }

    #[test]
    fn a_start_waits_for_a_worker_or_for_room() {
        assert_eq!(Fleet::new(Vec::new()).obstacle(false), Some(Obstacle::QueuesMissing));
        assert_eq!(fleet(0, (1, 0), (0, 0)).obstacle(false), Some(Obstacle::WorkersAway));
        let full = fleet(2, (3, 0), (0, 2));
        let no_room = Obstacle::WorkersFull { long_running: false, waiting: 3 };
        assert_eq!(full.obstacle(false), Some(no_room));
        assert_eq!(full.obstacle(true), None, "there is room for bots");
        assert_eq!(fleet(2, (0, 0), (0, 0)).obstacle(false), None, "it was taken");
        assert_eq!(fleet(2, (3, 1), (0, 0)).obstacle(false), None, "it is being taken");
    }

    #[test]
    fn one_sentence_says_what_is_wrong() {
        let said = |fleet: Fleet| fleet.sentence();
        assert_eq!(
            said(Fleet::new(Vec::new())),
            "there are no queues yet: the first worker makes them"
        );
        assert_eq!(said(fleet(0, (0, 0), (0, 0))), "no worker is connected");
        assert_eq!(said(fleet(0, (1, 0), (0, 0))), "no worker is connected, and 1 start waits");
        assert_eq!(
            said(fleet(1, (2, 0), (1, 0))),
            "no worker has room for terminating runs, and 2 starts wait; \
             no worker has room for long-running jobs, and 1 start waits"
        );
        assert_eq!(said(fleet(1, (0, 1), (0, 1))), "no start waits; 1 worker is connected");
        assert_eq!(
            said(fleet(3, (2, 1), (0, 1))),
            "3 workers are connected, and about to be taken: 2"
        );
    }
}
