//! Which entries have to go.

use std::time::SystemTime;

/// How much a cache holds. What is in use beyond that stays until it is not used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runner) struct Bounds {
    /// What all entries may take of the disk, in bytes.
    pub(in crate::runner) max_bytes: u64,
    /// Entries.
    pub(in crate::runner) max_entries: usize,
}

/// An entry that may have to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) used_at: SystemTime,
}

/// Removes what was not used for longest, until the rest is within the bounds. `remove` says whether
/// it removed a candidate; one in use stays. Gives the bytes of what is left.
pub(super) fn evict<E>(
    mut candidates: Vec<Candidate>,
    bounds: Bounds,
    mut remove: impl FnMut(&Candidate) -> Result<bool, E>,
) -> Result<u64, E> {
    candidates
        .sort_unstable_by(|one, other| (one.used_at, &one.name).cmp(&(other.used_at, &other.name)));
    let mut bytes = candidates.iter().map(|found| found.bytes).fold(0, u64::saturating_add);
    let mut entries = candidates.len();
    for candidate in &candidates {
        if bytes <= bounds.max_bytes && entries <= bounds.max_entries {
            break;
        }
        if remove(candidate)? {
            bytes = bytes.saturating_sub(candidate.bytes);
            entries -= 1;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    /// What goes of entries of 10 bytes, of which the first was not used for longest.
    fn gone(entries: u64, bounds: (u64, usize), in_use: &[&str]) -> Vec<String> {
        let candidates = (0..entries).map(|number| Candidate {
            name: number.to_string(),
            bytes: 10,
            used_at: SystemTime::UNIX_EPOCH + Duration::from_secs(number),
        });
        let mut gone = Vec::new();
        let bounds = Bounds { max_bytes: bounds.0, max_entries: bounds.1 };
        // The order in which they are found says nothing.
        let outcome = evict(candidates.rev().collect(), bounds, |candidate| {
            let goes = !in_use.contains(&candidate.name.as_str());
            gone.extend(goes.then(|| candidate.name.clone()));
            Ok::<_, Infallible>(goes)
        });
        assert!(outcome.is_ok());
        gone
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_no_more_than_needed() {
        assert_eq!(gone(3, (30, 3), &[]), [""; 0]);
        assert_eq!(gone(3, (29, 3), &[]), ["0"]);
        assert_eq!(gone(5, (20, 9), &[]), ["0", "1", "2"]);
        assert_eq!(gone(5, (99, 4), &[]), ["0"]);
    }

    #[test]
    fn what_is_in_use_stays_even_where_that_is_too_much() {
        assert_eq!(gone(3, (20, 9), &["0"]), ["1"]);
        assert_eq!(gone(3, (0, 9), &["0", "2"]), ["1"]);
        assert_eq!(gone(2, (0, 0), &["0", "1"]), [""; 0]);
    }
}
