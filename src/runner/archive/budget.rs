//! A reader that gives up: zip reads an archive's whole directory into memory before anybody can
//! count its entries.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

/// How many bytes may still be read; shared with whoever lifts it later.
#[derive(Debug, Clone)]
pub(super) struct Budget(Rc<Cell<Option<u64>>>);

impl Budget {
    pub(super) fn of(bytes: u64) -> Self {
        Self(Rc::new(Cell::new(Some(bytes))))
    }

    pub(super) fn lift(&self) {
        self.0.set(None);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0.get() == Some(0)
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
        let count = self.inner.read(buffer)?;
        if let Some(left) = self.budget.0.get() {
            let left = left.saturating_sub(count as u64);
            self.budget.0.set(Some(left));
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
