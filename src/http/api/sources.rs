//! Where the facts come from, and the answers that are shared.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::ApiError;
use super::shared::Shared;
use crate::broker::Broker;
use crate::facts::JobIndex;
use crate::http::readiness::Readiness;
use crate::job::JobId;
use crate::storage::{Journal, ObjectStore};

/// How long answers about one job hold.
const JOB_HOLDS: Duration = Duration::from_secs(1);

/// How long answers about the fleet hold.
const FLEET_HOLDS: Duration = Duration::from_secs(2);

/// How long a list of dead letters holds. To look, they are taken and put back.
const DEAD_HOLDS: Duration = Duration::from_secs(2);

/// How many live answers there may be at a time. Each has a queue of its own at the broker.
const MAX_LIVE: usize = 32;

/// An answer as it is sent.
#[derive(Clone)]
pub(super) struct Body(Bytes);

impl Body {
    pub(super) fn of(value: &impl Serialize) -> Result<Self, ApiError> {
        let text = serde_json::to_vec(value);
        Ok(Self(text.map_err(|error| ApiError::away(error.to_string()))?.into()))
    }
}

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        let kind = [(axum::http::header::CONTENT_TYPE, "application/json")];
        (kind, self.0).into_response()
    }
}

/// Where the facts come from.
#[derive(Clone)]
pub(super) struct Sources {
    readiness: Readiness,
    tasks: TaskTracker,
    closing: CancellationToken,
    kept: Arc<Kept>,
}

/// What all who ask share.
struct Kept {
    index: Mutex<Option<Arc<JobIndex>>>,
    jobs: Shared<JobId, Body>,
    fleet: Shared<&'static str, Body>,
    dead: Shared<usize, Body>,
    /// Two looks at the dead letters at once would change their order.
    letters: tokio::sync::Mutex<()>,
    live: Arc<Semaphore>,
}

impl Sources {
    pub(super) fn new(
        readiness: Readiness,
        tasks: TaskTracker,
        closing: CancellationToken,
    ) -> Self {
        let kept = Kept {
            index: Mutex::default(),
            jobs: Shared::holding(JOB_HOLDS),
            fleet: Shared::holding(FLEET_HOLDS),
            dead: Shared::holding(DEAD_HOLDS),
            letters: tokio::sync::Mutex::default(),
            live: Arc::new(Semaphore::new(MAX_LIVE)),
        };
        Self { readiness, tasks, closing, kept: Arc::new(kept) }
    }

    /// The broker, connected.
    pub(super) fn broker(&self) -> Result<Broker, ApiError> {
        let broker = self.readiness.broker().filter(Broker::is_connected);
        broker.ok_or_else(|| {
            ApiError::away(
                "there is no connection to the broker: is RabbitMQ running, and is AMQP_URL right?",
            )
        })
    }

    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>, ApiError> {
        let store = self.readiness.store();
        store.ok_or_else(|| {
            ApiError::away("the object store is not set up yet: try again in a moment")
        })
    }

    pub(super) fn journal(&self) -> Result<Journal, ApiError> {
        let broker = self.readiness.broker();
        let broker = broker.ok_or_else(|| ApiError::away("the worker is still starting"))?;
        Ok(Journal::new(self.store()?, broker.topology().namespace().to_owned()))
    }

    pub(super) fn index(&self) -> Result<Arc<JobIndex>, ApiError> {
        let journal = self.journal()?;
        let broker = self.readiness.broker();
        let broker = broker.ok_or_else(|| ApiError::away("the worker is still starting"))?;
        let mut index = self.kept.index.lock();
        let make = || JobIndex::new(journal, broker, self.tasks.clone(), self.closing.clone());
        Ok(Arc::clone(index.get_or_insert_with(|| Arc::new(make()))))
    }

    /// Where work goes on whose client may go away.
    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(super) fn jobs(&self) -> &Shared<JobId, Body> {
        &self.kept.jobs
    }

    pub(super) fn fleet(&self) -> &Shared<&'static str, Body> {
        &self.kept.fleet
    }

    pub(super) fn dead(&self) -> &Shared<usize, Body> {
        &self.kept.dead
    }

    /// Waits until nobody else looks at the dead letters.
    pub(super) async fn letters(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.kept.letters.lock().await
    }

    /// A place for a live answer.
    pub(super) fn live(&self) -> Result<(OwnedSemaphorePermit, CancellationToken), ApiError> {
        let permit = Arc::clone(&self.kept.live).try_acquire_owned();
        let permit = permit.map_err(|_| {
            ApiError::away(format!("{MAX_LIVE} live views are open already: close one of them"))
        })?;
        Ok((permit, self.closing.child_token()))
    }
}
