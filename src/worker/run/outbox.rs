//! Ends that the broker has not confirmed.
//!
//! The broker refuses an event, or never confirms it, if one of the bound queues is full and
//! rejects, or has lost its quorum. The other queues have the event by then. Such a subscriber must
//! not hold up the worker: the journal keeps the event, the run is over, and the event is published
//! again with growing pauses. Only keys are in memory. Events that do not fit there, and those of a
//! dead worker, are found by the next look at the segment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::publisher::Publisher;
use crate::broker::ReplyTo;
use crate::job::Event;
use crate::storage::{Journal, JournalError, Unconfirmed};
use crate::worker::ownership::tenure::{Change, Tenure};

/// The first pause before an event is published again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// How many unconfirmed events a worker keeps in memory, at about 200 bytes each.
const MAX_IN_MIND: usize = 1024;

/// How many events are published again at a time. One that gets no answer must not delay the
/// others.
const AT_A_TIME: usize = 4;

/// One event that waits.
struct Waiting {
    tenure: Arc<Tenure>,
    key: String,
    pause: Duration,
}

/// Publishes the ends of runs, and keeps those that the broker has not confirmed.
pub(in crate::worker) struct Outbox {
    publisher: Publisher,
    journal: Journal,
    /// The longest pause before an event is published again.
    max_pause: Duration,
    /// Cancelled when the worker stops waiting for the broker.
    given_up: CancellationToken,
    to_loop: mpsc::Sender<Waiting>,
    in_mind: Mutex<HashSet<String>>,
    count: watch::Sender<usize>,
}

/// New entries of the outbox that are not handled yet.
pub(in crate::worker) struct Incoming(mpsc::Receiver<Waiting>);

impl Outbox {
    /// An empty outbox, and the input of [`Outbox::publish_again`].
    pub(in crate::worker) fn new(
        publisher: Publisher,
        journal: Journal,
        max_pause: Duration,
        given_up: CancellationToken,
    ) -> (Self, Incoming) {
        let (to_loop, from_workers) = mpsc::channel(MAX_IN_MIND);
        let (in_mind, count) = (Mutex::default(), watch::Sender::new(0));
        let outbox = Self { publisher, journal, max_pause, given_up, to_loop, in_mind, count };
        (outbox, Incoming(from_workers))
    }

    /// Follows how many events wait.
    pub(in crate::worker) fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Publishes the end of a run, or of a refused message. If the broker does not confirm it, the
    /// journal keeps it for the segment of `tenure`. Returns whether the end is safe: confirmed or
    /// kept.
    pub(in crate::worker) async fn publish(
        &self,
        tenure: &Arc<Tenure>,
        event: &Event,
        reply: Option<ReplyTo>,
    ) -> bool {
        if self.publisher.end(event, reply.as_ref()).await {
            return true;
        }
        if self.given_up.is_cancelled() {
            return false;
        }
        let (reply_to, correlation_id) =
            reply.map(|reply| (Some(reply.queue), reply.correlation_id)).unwrap_or_default();
        let unconfirmed = Unconfirmed { event: event.clone(), reply_to, correlation_id };
        match self.journal.keep_unconfirmed(tenure.segment, &unconfirmed).await {
            Ok(key) => {
                self.remember(tenure, &key);
                true
            }
            Err(error) => {
                tracing::warn!(event.id, %error, "could not keep a result that the broker did not confirm");
                false
            }
        }
    }

    /// Notes an event that the journal keeps under `key`. One that does not fit is found by the
    /// next look at its segment.
    pub(in crate::worker) fn remember(&self, tenure: &Arc<Tenure>, key: &str) {
        let mut in_mind = self.in_mind.lock();
        if in_mind.contains(key) {
            return;
        }
        if in_mind.len() >= MAX_IN_MIND {
            return tenure.note(Change::Unfinished);
        }
        let pause = FIRST_PAUSE.min(self.max_pause);
        let waiting = Waiting { tenure: Arc::clone(tenure), key: key.to_owned(), pause };
        if self.to_loop.try_send(waiting).is_ok() {
            in_mind.insert(key.to_owned());
            self.count.send_replace(in_mind.len());
        }
    }

    fn forget(&self, key: &str) {
        let mut in_mind = self.in_mind.lock();
        in_mind.remove(key);
        self.count.send_replace(in_mind.len());
    }

    /// Publishes waiting events, as long as it is polled.
    pub(in crate::worker) async fn publish_again(&self, incoming: Incoming) {
        let Incoming(mut incoming) = incoming;
        let turns = Semaphore::new(AT_A_TIME);
        let mut waiting = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(next) = incoming.recv() => waiting.push(self.until_confirmed(&turns, next)),
                Some(key) = waiting.next() => self.forget(&key),
            }
        }
    }

    /// Publishes one event with growing pauses until it is confirmed, or the segment belongs to
    /// another worker. Returns its key.
    async fn until_confirmed(&self, turns: &Semaphore, waiting: Waiting) -> String {
        let Waiting { tenure, key, mut pause } = waiting;
        loop {
            tokio::select! {
                biased;
                () = sleep(pause) => {}
                () = tenure.over().cancelled() => return key,
            }
            let turn = turns.acquire().await;
            match self.publish_kept(&key).await {
                Ok(true) => {
                    tenure.note(Change::Ended);
                    return key;
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(key, %error, "could not read or remove an unconfirmed result");
                }
            }
            drop(turn);
            pause = (pause * 2).min(self.max_pause);
        }
    }

    /// Publishes an event that the journal keeps. Returns whether nothing is left to do.
    async fn publish_kept(&self, key: &str) -> Result<bool, JournalError> {
        let Some(kept) = self.journal.unconfirmed(key).await? else {
            return Ok(true);
        };
        let Unconfirmed { event, reply_to, correlation_id } = kept;
        let reply = ReplyTo::of(reply_to.as_deref(), correlation_id.as_deref());
        if !self.publisher.end(&event, reply.as_ref()).await {
            return Ok(false);
        }
        self.journal.remove_unconfirmed(key).await?;
        Ok(true)
    }
}
