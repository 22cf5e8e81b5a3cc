//! What goes on beside a container that runs: the rows of its sweep or its health, its bot's state, and how far
//! its program says that it is.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use super::managed::Managed;
use super::observer::RunObserver;
use super::site::Site;
use super::state::Keeping;
use super::sweep::{Gathered, Gathering};
use super::telling::Telling;
use crate::job::State;

/// How long the last rows of a sweep may take to reach the store.
const ROWS_FINISH_TIMEOUT: Duration = Duration::from_mins(2);

/// All of it, of one attempt.
pub(super) struct Beside<'a> {
    site: &'a Site,
    managed: &'a Managed,
    observer: &'a dyn RunObserver,
    gathering: Option<Gathering<'a>>,
    keeping: Option<Keeping<'a>>,
    telling: Option<Telling>,
}

impl<'a> Beside<'a> {
    pub(super) fn of(site: &'a Site, managed: &'a Managed, observer: &'a dyn RunObserver) -> Self {
        let run = &managed.run;
        Self {
            site,
            managed,
            observer,
            gathering: Gathering::of(site, run, observer.mask(&run.job)),
            keeping: Keeping::of(site, managed, observer),
            telling: Telling::of(managed),
        }
    }

    /// Goes on until it is dropped, which may be at any time.
    pub(super) async fn follow(&mut self, container: &str) -> Infallible {
        let Self { site, managed, observer, gathering, keeping, telling } = self;
        let rows_or_health = async {
            match gathering {
                Some(gathering) => gathering.follow(*observer).await,
                None => watch_health(site, managed, container, *observer).await,
            }
        };
        let state = async {
            match keeping {
                Some(keeping) => keeping.follow().await,
                None => pending().await,
            }
        };
        let progress = async {
            match telling {
                Some(telling) => telling.follow(*observer).await,
                None => pending().await,
            }
        };
        let (never, _, _) = tokio::join!(rows_or_health, state, progress);
        never
    }

    /// Brings the last rows of an ended container to the store; `None` if it was no sweep.
    pub(super) fn last_rows(
        &mut self,
    ) -> impl Future<Output = Option<Result<Gathered, String>>> + use<'a> {
        let gathering = self.gathering.take();
        async {
            match gathering {
                Some(gathering) => Some(gathering.finish(ROWS_FINISH_TIMEOUT).await),
                None => None,
            }
        }
    }

    /// Brings the last state of an ended container to the store. Returns a sentence if it is not there.
    pub(super) fn last_state(&mut self) -> impl Future<Output = Option<String>> + use<'a> {
        let keeping = self.keeping.take();
        async {
            match keeping {
                Some(keeping) => keeping.finish().await,
                None => None,
            }
        }
    }

    /// Tells what the program said last, once its output has been read.
    pub(super) fn last_words(self) {
        if let Some(telling) = self.telling {
            telling.finish(self.observer);
        }
    }
}

/// Reports each turn of a health check. Never ends.
async fn watch_health(
    site: &Site,
    managed: &Managed,
    container: &str,
    observer: &dyn RunObserver,
) -> Infallible {
    let Some(check) = &managed.run.job.health_check else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(Duration::from_secs(check.interval_seconds));
    let mut was_healthy = true;
    loop {
        ticks.tick().await;
        let Ok(status) = site.engine.get_status(container).await else {
            continue;
        };
        let is_healthy = status.healthy != Some(false);
        if is_healthy != was_healthy {
            let state = if is_healthy { State::Running } else { State::Unhealthy };
            observer.state(state, Some(container));
            was_healthy = is_healthy;
        }
    }
}
