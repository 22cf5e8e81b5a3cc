//! Looks again at segments of ours after they were taken up: their last owner may have written until
//! it noticed the takeover, and what could not be finished is tried again. The pauses grow, so that
//! a segment in which nothing happens costs next to nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::patience::Patience;
use super::recover;
use crate::worker::context::Context;
use crate::worker::ownership::tenure::{Change, Tenure};

/// The first pause, after a segment was taken up or something could not be finished.
const FIRST: Duration = Duration::from_secs(5);

/// The longest pause.
const LONGEST: Duration = Duration::from_mins(10);

/// When each tenure is looked at again, by segment and epoch.
#[derive(Default)]
pub(super) struct Aftercare {
    next: BTreeMap<(u32, u64), Next>,
}

#[derive(Debug, Clone, Copy)]
struct Next {
    pause: Duration,
    at: Instant,
}

impl Next {
    fn soon() -> Self {
        Self { pause: FIRST, at: Instant::now() + FIRST }
    }

    fn later(self) -> Self {
        let pause = (self.pause * 2).min(LONGEST);
        Self { pause, at: Instant::now() + pause }
    }
}

impl Aftercare {
    /// Adopts what has been left in our segments since they were taken, and releases those that were
    /// taken over and have no jobs any more.
    pub(super) async fn look(
        &mut self,
        ctx: &Arc<Context>,
        home: &Tenure,
        patience: &mut Patience,
    ) {
        let tenures = ctx.known.tenures.all();
        self.next.retain(|key, _| tenures.iter().any(|tenure| key_of(tenure) == *key));
        for tenure in tenures.into_iter().filter(|tenure| tenure.is_settled_in()) {
            if !self.is_due(&tenure, tenure.segment == home.segment) {
                continue;
            }
            let segment = tenure.segment;
            match recover::look_again(ctx, &tenure, patience).await {
                Ok(is_empty) => {
                    if is_empty && segment != home.segment {
                        tenure.resign();
                    }
                }
                Err(error) => {
                    tracing::debug!(segment, %error, "could not look after a segment of ours");
                    tenure.note(Change::Unfinished);
                }
            }
        }
    }

    /// Whether a tenure is to be looked at now.
    fn is_due(&mut self, tenure: &Tenure, is_home: bool) -> bool {
        let changes = tenure.take_changes();
        let next = self.next.entry(key_of(tenure)).or_insert_with(Next::soon);
        // One that was taken over is released after its last job.
        if changes.is_unfinished || (changes.has_ended && !is_home) {
            *next = Next::soon();
        }
        let is_due = next.at <= Instant::now();
        if is_due {
            *next = next.later();
        }
        is_due
    }
}

fn key_of(tenure: &Tenure) -> (u32, u64) {
    (tenure.segment, tenure.epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::ownership::tenure::Asked;

    #[tokio::test(start_paused = true)]
    async fn looks_grow_rare_until_something_is_left_unfinished_or_a_taken_over_job_ends() {
        let tenure = Tenure::new(4, 1, Asked::now(None), None);
        let mut aftercare = Aftercare::default();
        assert!(!aftercare.is_due(&tenure, true));
        let mut looks = 0;
        for _ in 0..3600 {
            tokio::time::advance(Duration::from_secs(1)).await;
            looks += u32::from(aftercare.is_due(&tenure, true));
        }
        assert!((8..=13).contains(&looks), "{looks} in an hour");
        let mut is_due_soon = async |change, is_home| {
            tenure.note(change);
            aftercare.is_due(&tenure, is_home);
            tokio::time::advance(FIRST).await;
            aftercare.is_due(&tenure, is_home)
        };
        assert!(!is_due_soon(Change::Ended, true).await);
        assert!(is_due_soon(Change::Ended, false).await);
        assert!(is_due_soon(Change::Unfinished, true).await);
    }
}
