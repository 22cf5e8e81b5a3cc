//! Connections that have not sent their request yet. If there are too many, a new one replaces the
//! oldest, so silent clients keep nobody out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Connections that may wait at a time. Each takes a file and up to 16 KiB.
const MAX_WAITING: usize = 256;

/// How long every connection may wait, however many come after it: long enough for a client on a
/// busy host to send one line, and short enough to accept within a second all connections that wait
/// in the kernel.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// The connections that wait, the oldest first.
#[derive(Clone, Default)]
pub(super) struct Waiting {
    seats: Arc<Mutex<Seats>>,
}

#[derive(Default)]
struct Seats {
    taken: VecDeque<Taken>,
    next: u64,
}

struct Taken {
    number: u64,
    since: Instant,
    gives_way: CancellationToken,
}

/// A connection's place among those that wait. Dropping it frees the place.
pub(super) struct Seat {
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

    /// If there is no room, drops the oldest connection. If that has not waited long enough,
    /// returns when to try again.
    fn let_the_oldest_go(&self, now: Instant) -> Option<Instant> {
        let mut seats = self.seats.lock();
        if seats.taken.len() < MAX_WAITING {
            return None;
        }
        let oldest = seats.taken.front()?;
        let moment = oldest.since + LEAST_PATIENCE;
        if moment > now {
            return Some(moment);
        }
        oldest.gives_way.cancel();
        seats.taken.pop_front();
        None
    }

    /// Takes a place for a new connection.
    pub(super) fn enter(&self) -> Seat {
        let mut seats = self.seats.lock();
        let (number, gives_way) = (seats.next, CancellationToken::new());
        seats.next += 1;
        let since = Instant::now();
        seats.taken.push_back(Taken { number, since, gives_way: gives_way.clone() });
        Seat { waiting: self.clone(), number, gives_way }
    }
}

impl Seat {
    /// Cancelled when another connection replaces this one.
    pub(super) fn gives_way(&self) -> CancellationToken {
        self.gives_way.clone()
    }

    /// The connection no longer waits: it has sent its request.
    pub(super) fn leave(&self) {
        let mut seats = self.waiting.seats.lock();
        // They are in order of their numbers.
        if let Ok(at) = seats.taken.binary_search_by_key(&self.number, |taken| taken.number) {
            seats.taken.remove(at);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_connection_is_replaced_after_its_minimum_time() {
        let waiting = Waiting::default();
        let seats: Vec<_> = (0..MAX_WAITING).map(|_| waiting.enter()).collect();
        let begun = Instant::now();
        waiting.make_room().await;
        assert_eq!(begun.elapsed(), LEAST_PATIENCE);
        let gone: Vec<_> = seats.iter().filter(|seat| seat.gives_way.is_cancelled()).collect();
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].number, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_what_it_wants_or_has_gone_takes_no_seat() {
        let waiting = Waiting::default();
        let mut seats: Vec<_> = (0..MAX_WAITING).map(|_| waiting.enter()).collect();
        seats[0].leave();
        waiting.make_room().await;
        let _one_more = waiting.enter();
        drop(seats.pop());
        waiting.make_room().await;
        assert!(seats.iter().all(|seat| !seat.gives_way.is_cancelled()));
    }
}
