//! The pauses between attempts at something that failed.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// The first pause of a back-off; each further one is twice as long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Endless pauses with jitter, none longer than `max`. backon adds up to the same again as jitter,
/// so the values are halved.
pub(super) fn back_off(max: Duration) -> impl Iterator<Item = Duration> + Send {
    let half = max / 2;
    ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE.min(half))
        .with_max_delay(half)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_never_exceed_the_setting() {
        let max = Duration::from_secs(30);
        let pauses: Vec<_> = back_off(max).take(40).collect();
        assert!(pauses.iter().all(|pause| *pause <= max), "{pauses:?}");
        assert!(pauses[0] <= FIRST_PAUSE * 2);
        assert!(pauses[39] >= max / 2);
    }

    #[test]
    fn a_small_setting_is_kept_too() {
        let max = Duration::from_millis(100);
        assert!(back_off(max).take(10).all(|pause| pause <= max));
    }
}
