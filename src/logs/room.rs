//! Room for waiting chunks: bytes that all containers of a worker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number of bytes, of memory or of disk, for all containers.
#[derive(Debug, Clone)]
pub(super) struct Room {
    max: u64,
    used: Arc<AtomicU64>,
}

impl Room {
    /// A room of `max` bytes.
    pub(super) fn new(max: u64) -> Self {
        Self { max, used: Arc::default() }
    }

    /// Takes `bytes`, if there is room for them.
    pub(super) fn take(&self, bytes: u64) -> Option<Hold> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits);
        taken.is_ok().then(|| Hold { room: self.clone(), bytes })
    }

    /// Takes `bytes`, whether there is room or not: for chunks that already exist.
    pub(super) fn claim(&self, bytes: u64) -> Hold {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Hold { room: self.clone(), bytes }
    }

    /// How many are taken.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// How many there are.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// Whether there is room for this many bytes at the moment.
    pub(super) fn has(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Acquire).saturating_add(bytes) <= self.max
    }
}

/// Bytes that are taken until this value is dropped.
#[derive(Debug)]
pub(super) struct Hold {
    room: Room,
    bytes: u64,
}

impl Hold {
    /// How many.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes it to this many bytes, whether there is room or not.
    pub(super) fn resize(&mut self, bytes: u64) {
        self.room.used.fetch_add(bytes, Ordering::AcqRel);
        self.room.used.fetch_sub(self.bytes, Ordering::AcqRel);
        self.bytes = bytes;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more_than_there_is() {
        let room = Room::new(10);
        let first = room.take(6).unwrap();
        assert!(room.take(5).is_none());
        assert!(room.has(4) && !room.has(5));
        let mut claimed = room.claim(5);
        assert!(!room.has(0));
        claimed.resize(1);
        assert!(room.has(3) && !room.has(4));
        drop((first, claimed));
        assert_eq!(room.take(10).unwrap().bytes(), 10);
    }
}
