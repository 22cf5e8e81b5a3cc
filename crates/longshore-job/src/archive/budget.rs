//! A reader with limits. The crate zip reads an archive's whole directory into memory before we can
//! count its entries, and a small input can keep a decoder busy for a long time.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The cost of one read, in addition to its bytes: an entry is read in several pieces, and takes
/// more memory than its bytes, even if its name is short.
const READ_COST: u64 = 48;

/// How much may still be read, and until when. The reader shares it with its caller.
#[derive(Debug, Clone)]
pub(super) struct Budget(Rc<State>);

#[derive(Debug)]
struct State {
    left: Cell<Option<u64>>,
    begun: Instant,
    max_time: Duration,
    is_late: Cell<bool>,
}

impl Budget {
    pub(super) fn of(bytes: u64, max_time: Duration) -> Self {
        Self(Rc::new(State {
            left: Cell::new(Some(bytes)),
            begun: Instant::now(),
            max_time,
            is_late: Cell::new(false),
        }))
    }

    /// From now on, this many bytes may be read.
    pub(super) fn allow(&self, bytes: u64) {
        self.0.left.set(Some(bytes));
    }

    /// From now on, only time is limited.
    pub(super) fn lift(&self) {
        self.0.left.set(None);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.left.get() == Some(0)
    }

    /// Fails if the time is over, and remembers this.
    pub(super) fn in_time(&self) -> io::Result<()> {
        if self.0.begun.elapsed() <= self.0.max_time {
            return Ok(());
        }
        self.0.is_late.set(true);
        Err(io::Error::other("the time is over"))
    }

    /// Whether anything failed for lack of time.
    pub(super) fn is_late(&self) -> bool {
        self.0.is_late.get()
    }
}

#[derive(Debug)]
pub(super) struct Budgeted<R> {
    inner: R,
    budget: Budget,
}

impl<R> Budgeted<R> {
    pub(super) fn new(inner: R, budget: Budget) -> Self {
        Self { inner, budget }
    }
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.budget.in_time()?;
        let count = self.inner.read(buffer)?;
        if let Some(left) = self.budget.0.left.get() {
            let left = left.saturating_sub(READ_COST + count as u64);
            self.budget.0.left.set(Some(left));
            if left == 0 {
                return Err(io::Error::other("the directory of entries is too large"));
            }
        }
        Ok(count)
    }
}

impl<R: Seek> Seek for Budgeted<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
