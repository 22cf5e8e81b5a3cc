//! All that a worker knows of a sweep's rows. Everything here blocks.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::chunk::{Chunk, MAX_CHUNK_BYTES};
use super::files::{Written, open_rows};
use super::kept::Kept;
use super::line::Line;
use super::tally::Tally;
use crate::job::sweep::SweepRow;
use crate::job::{Run, Verdict};
use crate::logs::Mask;

/// How much of the launcher's file is read at a time, in bytes.
const READ_BYTES: usize = 256 << 10;

/// A row waits for no longer than this until it is stored.
const CHUNK_AGE: Duration = Duration::from_secs(5);

/// The rows of a run, as far as they are known here.
pub(super) struct Rows {
    run: Run,
    worker: String,
    mask: Mask,
    written: Written,
    file: File,
    /// How much of the file may still be read.
    left: u64,
    partial: BytesMut,
    pub(super) kept: Kept,
    pub(super) tally: Tally,
    unsent: Unsent,
}

/// Rows that no chunk has yet.
#[derive(Default)]
struct Unsent {
    text: Vec<u8>,
    range: Option<(u64, u64)>,
    since: Option<Instant>,
    verdicts: HashMap<Verdict, u64>,
}

impl Rows {
    /// None yet, of the attempt with this directory. `folder`: where they may be kept.
    pub(super) fn open(
        root: &Path,
        folder: &Path,
        run: Run,
        worker: String,
        mask: Mask,
    ) -> io::Result<Self> {
        let sweep = run.job.sweep.as_ref().ok_or_else(|| io::Error::other("is no sweep"))?;
        let written = Written::open(root, sweep.bounds.max_bytes)?;
        let total = written.order.total;
        let (best, left) = (sweep.best.clone(), sweep.bounds.max_bytes);
        Ok(Self {
            file: open_rows(root)?,
            kept: Kept::new(folder, total)?,
            tally: Tally::new(total, best),
            run,
            worker,
            mask,
            written,
            left,
            partial: BytesMut::new(),
            unsent: Unsent::default(),
        })
    }

    /// Takes the rows of a stored chunk.
    pub(super) fn take_stored(&mut self, chunk: &[u8]) -> io::Result<()> {
        for line in chunk.split(|byte| *byte == b'\n') {
            if let Ok(row) = serde_json::from_slice::<SweepRow>(line)
                && !self.kept.has(row.index)
            {
                self.kept.add(row.index, line)?;
                self.tally.add(&row);
            }
        }
        Ok(())
    }

    /// Takes what the launcher has written since. Returns whether there may be more at once.
    pub(super) fn read_more(&mut self) -> io::Result<bool> {
        let most = u64::try_from(READ_BYTES).unwrap_or(u64::MAX).min(self.left);
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(most).read_to_end(&mut bytes)?;
        self.left -= read as u64;
        self.partial.extend_from_slice(&bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line = self.partial.split_to(end + 1).freeze();
            self.take(&line.slice(..end))?;
        }
        Ok(read > 0 && self.unsent.text.len() < MAX_CHUNK_BYTES)
    }

    fn take(&mut self, line: &Bytes) -> io::Result<()> {
        let Some(line) = Line::read(line).filter(|line| !self.kept.has(line.index())) else {
            return Ok(());
        };
        let index = line.index();
        let Some(patch) = self.written.patch(index)? else { return Ok(()) };
        let Some((row, text)) = line.row(&self.run, &self.worker, &patch, &self.mask) else {
            return Ok(());
        };
        self.kept.add(index, &text)?;
        self.tally.add(&row);
        let unsent = &mut self.unsent;
        unsent.text.extend_from_slice(&text);
        unsent.text.push(b'\n');
        let (first, last) = unsent.range.unwrap_or((index, index));
        unsent.range = Some((first.min(index), last.max(index)));
        unsent.since.get_or_insert_with(Instant::now);
        *unsent.verdicts.entry(row.verdict).or_default() += 1;
        Ok(())
    }

    /// The rows that no chunk has yet, if it is time to store them.
    pub(super) fn chunk(&mut self, now: bool) -> Option<Chunk> {
        let Unsent { text, since, .. } = &self.unsent;
        let is_old = since.is_some_and(|since| since.elapsed() >= CHUNK_AGE);
        if !(now || is_old || text.len() >= MAX_CHUNK_BYTES) {
            return None;
        }
        let Unsent { text, range, verdicts, .. } = std::mem::take(&mut self.unsent);
        Some(Chunk::new(&self.run, range?, text, verdicts))
    }
}
