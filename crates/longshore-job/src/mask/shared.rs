//! One mask for all runs that hide the same secrets.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sha2::{Digest as _, Sha256};

use super::{Mask, Patterns};

/// Makes masks. A mask takes some eighty times the memory of its secrets, so runs with the same
/// secrets share one.
#[derive(Default)]
pub struct Masks {
    /// The secrets that every mask hides.
    always: Vec<String>,
    known: Mutex<HashMap<[u8; 32], Weak<Patterns>>>,
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({} known)", self.known().len())
    }
}

impl Masks {
    /// Masks that hide these, in addition to a run's own secrets.
    #[must_use]
    pub fn new(always: Vec<String>) -> Self {
        Self { always, known: Mutex::default() }
    }

    /// Each step leaves the map complete, so a thread that panicked with the lock has done no harm.
    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Weak<Patterns>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mask over these secrets.
    #[must_use]
    pub fn of(&self, secrets: &[String]) -> Mask {
        let key = digest(secrets);
        let mut known = self.known();
        if let Some(patterns) = known.get(&key).and_then(Weak::upgrade) {
            return Mask(Some(patterns));
        }
        known.retain(|_, patterns| patterns.strong_count() > 0);
        let mask = Mask::new(self.always.iter().chain(secrets).map(String::as_str));
        if let Mask(Some(patterns)) = &mask {
            known.insert(key, Arc::downgrade(patterns));
        }
        mask
    }
}

/// The key is a set, because the order of secrets makes no difference.
fn digest(secrets: &[String]) -> [u8; 32] {
    let mut sorted: Vec<_> = secrets.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut digest = Sha256::new();
    for secret in sorted {
        digest.update(secret.len().to_le_bytes());
        digest.update(secret);
    }
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(secrets: &[&str]) -> Vec<String> {
        secrets.iter().map(|secret| (*secret).to_owned()).collect()
    }

    #[test]
    fn runs_with_the_same_secrets_share_one_mask_for_as_long_as_one_of_them_lives() {
        let masks = Masks::new(texts(&["of-the-worker"]));
        let (one, two) =
            (masks.of(&texts(&["a-secret", "b-secret"])), masks.of(&texts(&["c-secret"])));
        let same = masks.of(&texts(&["b-secret", "a-secret"]));
        let is_shared = |a: &Mask, b: &Mask| match (&a.0, &b.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        assert!(is_shared(&one, &same) && !is_shared(&one, &two));
        assert!(one.is_in(b"of-the-worker") && one.is_in(b"b-secret") && !one.is_in(b"c-secret"));
        drop((one, same));
        assert!(!masks.of(&texts(&["d-secret"])).is_in(b"a-secret"));
        assert_eq!(masks.known().len(), 2, "what nobody uses is forgotten");
    }

    #[test]
    fn texts_that_only_look_alike_together_are_told_apart() {
        let masks = Masks::default();
        let mask = masks.of(&texts(&["abcd", "efgh"]));
        assert!(!masks.of(&texts(&["abcdefgh"])).is_in(b"abcd"));
        assert!(mask.is_in(b"efgh"));
    }
}
