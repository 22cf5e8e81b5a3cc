//! Whole numbers in settings.

/// Digits alone: `u64`'s own parser would also take a leading `+`.
pub(super) fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
