//! Connections that have not yet said what they want. When there are too many, the oldest gives way to
//! a new one, so that clients who say nothing keep nobody out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Connections that may wait at a time. Each takes a file and up to 16 KiB.
const MAX_WAITING: usize = 256;

/// How long every connection may wait, however many come after it: enough for a client on a busy host
/// to send one line, and short enough to take in all that wait with the system within a second.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// The connections that wait, the oldest first.
#[derive(Clone, Default)]
pub(super) struct Waiting {
    places: Arc<Mutex<Places>>,
}

#[derive(Default)]
struct Places {
    taken: VecDeque<Taken>,
    next: u64,
}

struct Taken {
    number: u64,
    since: Instant,
    gives_way: CancellationToken,
}

/// A connection's place among those that wait. It is given up when it is dropped.
pub(super) struct Place {
    waiting: Waiting,
    number: u64,
    gives_way: CancellationToken,
}

impl Waiting {
    /// Returns when one more connection may wait.
    pub(super) async fn make_room(&self) {
        while let Some(moment) = self.let_the_oldest_go(Instant::now()) {
            sleep_until(moment).await;
        }
    }

    /// Lets the oldest connection go where there is no room; gives when to try again, where it has not
    /// waited for long enough.
    fn let_the_oldest_go(&self, now: Instant) -> Option<Instant> {
        let mut places = self.places.lock();
        if places.taken.len() < MAX_WAITING {
            return None;
        }
        let oldest = places.taken.front()?;
        let moment = oldest.since + LEAST_PATIENCE;
        if moment > now {
            return Some(moment);
        }
        oldest.gives_way.cancel();
        places.taken.pop_front();
        None
    }

    /// Takes a place for a new connection.
    pub(super) fn enter(&self) -> Place {
        let mut places = self.places.lock();
        let (number, gives_way) = (places.next, CancellationToken::new());
        places.next += 1;
        let since = Instant::now();
        places.taken.push_back(Taken { number, since, gives_way: gives_way.clone() });
        Place { waiting: self.clone(), number, gives_way }
    }
}

impl Place {
    /// Cancelled when the connection is to give way to another one.
    pub(super) fn gives_way(&self) -> CancellationToken {
        self.gives_way.clone()
    }

    /// The connection waits no more: it has said what it wants.
    pub(super) fn leave(&self) {
        let mut places = self.waiting.places.lock();
        // They are in order of their numbers.
        if let Ok(at) = places.taken.binary_search_by_key(&self.number, |taken| taken.number) {
            places.taken.remove(at);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_gives_way_once_it_has_had_its_time() {
        let waiting = Waiting::default();
        let places: Vec<_> = (0..MAX_WAITING).map(|_| waiting.enter()).collect();
        let begun = Instant::now();
        waiting.make_room().await;
        assert_eq!(begun.elapsed(), LEAST_PATIENCE);
        let gone: Vec<_> = places.iter().filter(|place| place.gives_way.is_cancelled()).collect();
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].number, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_what_it_wants_or_has_gone_takes_no_place() {
        let waiting = Waiting::default();
        let mut places: Vec<_> = (0..MAX_WAITING).map(|_| waiting.enter()).collect();
        places[0].leave();
        waiting.make_room().await;
        let _one_more = waiting.enter();
        drop(places.pop());
        waiting.make_room().await;
        assert!(places.iter().all(|place| !place.gives_way.is_cancelled()));
    }
}
