//! How each inbox is consumed now, according to its consumer.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Inbox;

/// How an inbox is consumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reception {
    /// The broker sends what comes.
    Consuming,
    /// Nothing is requested, on purpose: there is no room for more.
    Paused,
    /// The broker was asked, and has not answered yet.
    Asking {
        /// Since when.
        since: Instant,
    },
    /// It is not consumed, though it should be.
    Broken {
        /// Since when.
        since: Instant,
        /// Why.
        reason: String,
    },
}

/// The reports of a broker's consumers.
#[derive(Default)]
pub(super) struct Inboxes(Mutex<Vec<(Inbox, Weak<Mutex<Reception>>)>>);

impl Inboxes {
    /// A place for the report of a consumer of `inbox`, as long as it is kept.
    pub(super) fn enter(&self, inbox: Inbox) -> Word {
        let word = Arc::new(Mutex::new(Reception::Paused));
        let mut all = self.0.lock();
        all.retain(|(_, word)| word.strong_count() > 0);
        all.push((inbox, Arc::downgrade(&word)));
        Word(word)
    }

    /// The reports, for each inbox that has a consumer.
    pub(super) fn receptions(&self) -> Vec<(Inbox, Reception)> {
        let all = self.0.lock();
        let said =
            all.iter().filter_map(|(inbox, word)| Some((*inbox, word.upgrade()?.lock().clone())));
        said.collect()
    }
}

/// The report of one consumer.
pub(super) struct Word(Arc<Mutex<Reception>>);

impl Word {
    /// A delivery is wanted.
    pub(super) fn wanted(&self) {
        let mut word = self.0.lock();
        if *word == Reception::Paused {
            *word = Reception::Asking { since: Instant::now() };
        }
    }

    /// The broker sends what comes.
    pub(super) fn consuming(&self) {
        *self.0.lock() = Reception::Consuming;
    }

    /// Nothing is wanted for now.
    pub(super) fn paused(&self) {
        *self.0.lock() = Reception::Paused;
    }

    /// Consuming has failed. It counts since when there is no consumer.
    pub(super) fn broken(&self, reason: &str) {
        let mut word = self.0.lock();
        let since = match &*word {
            Reception::Broken { since, .. } | Reception::Asking { since } => *since,
            Reception::Consuming | Reception::Paused => Instant::now(),
        };
        *word = Reception::Broken { since, reason: reason.to_owned() };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_inbox_is_broken_since_the_first_failure_until_it_is_consumed_again() {
        let inboxes = Inboxes::default();
        let word = inboxes.enter(Inbox::Stop);
        let begun = Instant::now();
        word.wanted();
        tokio::time::advance(Duration::from_secs(3)).await;
        word.broken("one");
        word.wanted();
        word.broken("two");
        let said = |word: &Word| word.0.lock().clone();
        assert_eq!(said(&word), Reception::Broken { since: begun, reason: "two".to_owned() });
        word.consuming();
        word.wanted();
        assert_eq!(said(&word), Reception::Consuming);
        word.broken("three");
        assert_ne!(said(&word), Reception::Broken { since: begun, reason: "three".to_owned() });
    }

    #[test]
    fn the_word_of_a_consumer_goes_with_it() {
        let inboxes = Inboxes::default();
        drop(inboxes.enter(Inbox::Stop));
        let _kept = inboxes.enter(Inbox::Mailbox(1));
        let left = inboxes.0.lock().iter().map(|(inbox, _)| *inbox).collect::<Vec<_>>();
        assert_eq!(left, [Inbox::Mailbox(1)]);
    }
}
