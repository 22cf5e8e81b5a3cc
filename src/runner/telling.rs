//! Tells the observer of a run how far its program says that it is.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::managed::Managed;
use super::observer::RunObserver;
use crate::job::RunProgress;
use crate::logs::Said;

/// How often it is told, at most. What the program says in between is left out, but not the last.
const TELL: Duration = Duration::from_secs(1);

/// What the program of a run says.
pub(super) struct Telling(Said);

impl Telling {
    /// Of a run whose container is held; `None` for a sweep, whose rows say how far it is.
    pub(super) fn of(managed: &Managed) -> Option<Self> {
        managed.said().filter(|_| managed.run.job.sweep.is_none()).map(Self)
    }

    /// Tells it as the program says it. It never ends, and may be dropped at any time.
    pub(super) async fn follow(&mut self, observer: &dyn RunObserver) -> Infallible {
        while self.0.changed().await.is_ok() {
            self.tell(observer);
            sleep(TELL).await;
        }
        pending().await
    }

    /// Tells what was said last, at the end of the output.
    pub(super) fn finish(mut self, observer: &dyn RunObserver) {
        if let Some(Ok(())) = self.0.changed().now_or_never() {
            self.tell(observer);
        }
    }

    fn tell(&mut self, observer: &dyn RunObserver) {
        let said = self.0.borrow_and_update().clone();
        if let Some(said) = said {
            observer.progress(RunProgress::Program(said));
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use tokio::sync::watch;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::job::{ProgramProgress, State};

    /// When each was told, in milliseconds, and what.
    struct Ear {
        begun: Instant,
        told: Mutex<Vec<(u128, Value)>>,
    }

    impl RunObserver for Ear {
        fn state(&self, _: State, _: Option<&str>) {}

        fn progress(&self, progress: RunProgress) {
            let percent = serde_json::to_value(progress).unwrap()["percent"].take();
            self.told.lock().push((self.begun.elapsed().as_millis(), percent));
        }
    }

    fn ear() -> Ear {
        Ear { begun: Instant::now(), told: Mutex::default() }
    }

    fn percent(number: u32) -> Option<ProgramProgress> {
        ProgramProgress::said_in(&format!("::longshore progress {number}"))
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_at_most_once_a_second_and_the_last_word_always() {
        let ear = ear();
        let (say, said) = watch::channel(None);
        let mut telling = Telling(said);
        let program = async {
            sleep(Duration::from_millis(300)).await;
            for number in 1..=25 {
                say.send_replace(percent(number));
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            never = telling.follow(&ear) => match never {},
            () = program => {}
        }
        say.send_replace(percent(100));
        drop(say);
        telling.finish(&ear);
        let told = ear.told.into_inner();
        let expected = [(300, 1.0), (1300, 10.0), (2300, 20.0), (2800, 100.0)];
        let seen: Vec<_> =
            told.iter().map(|(at, percent)| (*at, percent.as_f64().unwrap())).collect();
        assert_eq!(seen.len(), expected.len(), "{seen:?}");
        for ((at, percent), (then, about)) in seen.iter().zip(expected) {
            // Two timers that end at the same moment end in any order.
            assert!(at.abs_diff(then) <= 2 && (percent - about).abs() <= 1.0, "{seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_says_nothing_more_is_not_told_again() {
        let ear = ear();
        let (say, said) = watch::channel(None);
        let mut telling = Telling(said);
        say.send_replace(percent(7));
        assert!(timeout(Duration::from_secs(5), telling.follow(&ear)).await.is_err());
        drop(say);
        assert!(timeout(Duration::from_secs(5), telling.follow(&ear)).await.is_err());
        telling.finish(&ear);
        assert_eq!(*ear.told.lock(), [(0, json!(7.0))]);
    }
}
