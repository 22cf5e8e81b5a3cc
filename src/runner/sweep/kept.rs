//! The rows of a sweep on this host's disk, in the order in which they came, by their numbers.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// A place that has no row.
const NONE: (u64, u32) = (0, 0);

/// Rows in a file that has no name, so nothing is left of it.
#[derive(Debug)]
pub(super) struct Kept {
    file: BufWriter<File>,
    end: u64,
    /// Place and length of each row, by its number.
    places: Vec<(u64, u32)>,
}

impl Kept {
    /// None yet, of so many. This blocks.
    pub(super) fn new(folder: &Path, total: u64) -> io::Result<Self> {
        let file = BufWriter::new(tempfile::tempfile_in(folder)?);
        let places = vec![NONE; usize::try_from(total).unwrap_or_default()];
        Ok(Self { file, end: 0, places })
    }

    /// Whether there is a row with this number, or can be none.
    pub(super) fn has(&self, index: u64) -> bool {
        self.place(index).is_none_or(|place| place != NONE)
    }

    fn place(&self, index: u64) -> Option<(u64, u32)> {
        self.places.get(usize::try_from(index).ok()?).copied()
    }

    /// Keeps a row, which ends without a line break.
    pub(super) fn add(&mut self, index: u64, row: &[u8]) -> io::Result<()> {
        let at = usize::try_from(index).ok().and_then(|index| self.places.get_mut(index));
        let (Some(place), Ok(length)) = (at, u32::try_from(row.len())) else { return Ok(()) };
        self.file.write_all(row)?;
        *place = (self.end, length);
        self.end += u64::from(length);
        Ok(())
    }

    /// The row with this number.
    pub(super) fn row(&mut self, index: u64) -> io::Result<Option<Vec<u8>>> {
        let Some((place, length)) = self.place(index).filter(|place| *place != NONE) else {
            return Ok(None);
        };
        // Writes what is buffered first, and leaves the position at the end again.
        self.file.seek(SeekFrom::Start(place))?;
        let mut row = vec![0; length as usize];
        self.file.get_mut().read_exact(&mut row)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        Ok(Some(row))
    }

    /// Gives all rows in the order of their numbers to `take`.
    pub(super) fn each(&mut self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        for index in 0..self.places.len() as u64 {
            if let Some(row) = self.row(index)? {
                take(&row)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(folder.path(), 4).unwrap();
        for (index, row) in [(2, "two"), (0, "zero"), (9, "beyond")] {
            kept.add(index, row.as_bytes()).unwrap();
        }
        assert_eq!(kept.row(2).unwrap().unwrap(), b"two");
        kept.add(3, b"three").unwrap();
        let mut all = Vec::new();
        kept.each(|row| {
            all.push(String::from_utf8(row.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        assert_eq!(all, ["zero", "two", "three"]);
        assert!(kept.has(0) && !kept.has(1) && kept.has(9));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
