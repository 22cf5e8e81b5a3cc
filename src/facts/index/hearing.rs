//! Hears which jobs have changed, while somebody looks at them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Binding, Broker, Feed, Subscription, SubscriptionError};
use crate::job::{Event, EventData, JobId};

/// How long it goes on hearing after the last look.
const IDLE: Duration = Duration::from_secs(60);

/// The pause between two checks whether somebody still looks.
const CHECK_PAUSE: Duration = Duration::from_secs(10);

/// How many changed jobs are remembered. With more, the journal is listed.
const MAX_REMEMBERED: usize = 5_000;

/// Hears events from the broker.
pub(super) struct Hearing {
    broker: Broker,
    tasks: TaskTracker,
    closing: CancellationToken,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    /// Whether a task hears, or is about to.
    is_running: bool,
    /// Whether it hears every event now.
    is_complete: bool,
    /// Whether events may have been missed since the last look.
    has_missed: bool,
    ids: HashSet<JobId>,
    looked_at: Option<Instant>,
}

/// What has changed since the last look.
#[derive(Default)]
pub(super) struct Changes {
    /// These jobs.
    pub(super) ids: HashSet<JobId>,
    /// Others may have, too: nothing was heard for a while.
    pub(super) may_be_more: bool,
    /// Whether every change is heard from now on.
    pub(super) is_heard: bool,
}

impl Hearing {
    pub(super) fn new(broker: Broker, tasks: TaskTracker, closing: CancellationToken) -> Self {
        Self { broker, tasks, closing, heard: Arc::default() }
    }

    /// Takes what was heard. If nobody hears, begins to.
    pub(super) fn take(&self) -> Changes {
        let mut heard = self.heard.lock();
        heard.looked_at = Some(Instant::now());
        if !heard.is_running {
            heard.is_running = true;
            let (broker, heard) = (self.broker.clone(), Arc::clone(&self.heard));
            let ends = self.closing.child_token();
            self.tasks.spawn(async move {
                hear(&broker, &heard, ends).await;
                let mut heard = heard.lock();
                (heard.is_running, heard.is_complete) = (false, false);
            });
        }
        let is_heard = heard.is_complete;
        let may_be_more = std::mem::take(&mut heard.has_missed) || !is_heard;
        Changes { ids: std::mem::take(&mut heard.ids), may_be_more, is_heard }
    }
}

/// Hears until nobody looks any more.
async fn hear(broker: &Broker, heard: &Mutex<Heard>, ends: CancellationToken) {
    let bindings = [Feed::Status, Feed::Results].map(Binding::all).into();
    let _ends = ends.clone().drop_guard();
    let mut events: Subscription = match broker.subscribe(bindings, ends).await {
        Ok(events) => events,
        Err(error) => {
            tracing::debug!(%error, "could not hear which jobs change; the journal is listed instead");
            return;
        }
    };
    {
        let mut heard = heard.lock();
        (heard.is_complete, heard.has_missed) = (true, true);
    }
    let mut check = interval(CHECK_PAUSE);
    loop {
        tokio::select! {
            event = events.next() => match event {
                None => return,
                Some(event) => heard.lock().note(event),
            },
            _ = check.tick() => {
                if heard.lock().looked_at.is_none_or(|at| at.elapsed() > IDLE) {
                    return;
                }
            }
        }
    }
}

impl Heard {
    fn note(&mut self, event: Result<Event, SubscriptionError>) {
        let id = match event.map(|event| event.data) {
            Ok(EventData::Status(status)) => Some(status.id),
            Ok(EventData::Result(result)) => result.id,
            Err(_) => {
                self.has_missed = true;
                None
            }
        };
        self.ids.extend(id);
        if self.ids.len() > MAX_REMEMBERED {
            self.ids.clear();
            self.has_missed = true;
        }
    }
}
