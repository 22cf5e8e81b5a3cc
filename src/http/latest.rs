//! The latest report on readiness. Only one check runs at a time, however many clients ask.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::readiness::{Readiness, Report};

/// How long a report is valid. A check costs requests to the store and the engine.
const HOLDS: Duration = Duration::from_millis(250);

/// How many requests may wait for a check.
const MAX_ASKING: usize = 64;

/// Reports on readiness, for many who ask.
#[derive(Clone)]
pub(super) struct Latest {
    readiness: Readiness,
    told: Arc<Mutex<Option<(Instant, Report)>>>,
    looking: Arc<tokio::sync::Mutex<()>>,
    room: Arc<Semaphore>,
}

impl Latest {
    pub(super) fn of(readiness: Readiness) -> Self {
        Self {
            readiness,
            told: Arc::default(),
            looking: Arc::default(),
            room: Arc::new(Semaphore::new(MAX_ASKING)),
        }
    }

    /// A valid report; or the last one, if any, if too many wait for a new one.
    pub(super) async fn report(&self) -> Option<Report> {
        let Ok(_place) = self.room.try_acquire() else {
            return self.told.lock().clone().map(|(_, report)| report);
        };
        let _look = self.looking.lock().await;
        if let Some((at, report)) = self.told.lock().clone()
            && at.elapsed() < HOLDS
        {
            return Some(report);
        }
        let report = self.readiness.report().await;
        *self.told.lock() = Some((Instant::now(), report.clone()));
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_room_gets_the_last_report() {
        let latest = Latest::of(Readiness::default());
        let all = Arc::clone(&latest.room).acquire_many_owned(64).await.unwrap();
        assert_eq!(latest.report().await, None);
        drop(all);
        let report = latest.report().await;
        assert!(report.is_some());
        let _all = Arc::clone(&latest.room).acquire_many_owned(64).await.unwrap();
        assert_eq!(latest.report().await, report);
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_holds_for_a_moment() {
        let latest = Latest::of(Readiness::default());
        let first = latest.report().await;
        let at = latest.told.lock().clone().map(|(at, _)| at);
        assert_eq!(latest.report().await, first);
        assert_eq!(latest.told.lock().clone().map(|(at, _)| at), at);
        tokio::time::advance(HOLDS).await;
        latest.report().await;
        assert_ne!(latest.told.lock().clone().map(|(at, _)| at), at);
    }
}
