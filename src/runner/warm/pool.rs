//! The containers of a worker that wait for a job, and the task that starts new ones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::handover::{Begun, Missed, hand_over};
use super::left_over;
use super::owner::Owner;
use super::plan;
use super::slot::Slot;
use crate::job::{Job, Runtime, RuntimeName};
use crate::runner::directory::JobDirectory;
use crate::runner::failure::RunFailure;
use crate::runner::ground::Ground;
use crate::runner::managed::Managed;
use crate::runner::observer::RunObserver;
use crate::runner::script::ScriptManager;
use crate::runner::site::Site;

/// How long a new container waits for the run that took the last one: the processors are that run's first.
const AFTER_TAKEN: Duration = Duration::from_millis(100);

/// The pause before it is asked again whether the engine has time to start one.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// The pause between two looks at what waits, and what dead workers have left.
const LOOK_PAUSE: Duration = Duration::from_secs(20);

/// The pause after one could not be started.
const FAILED_PAUSE: Duration = Duration::from_secs(30);

/// The containers that wait for a job.
pub(in crate::runner) struct WarmPool {
    site: Arc<Site>,
    ground: Ground,
    scripts: ScriptManager,
    slots: Mutex<Vec<Slot>>,
    taken: Notify,
    ending: CancellationToken,
    tracker: TaskTracker,
}

impl WarmPool {
    pub(in crate::runner) fn new(site: &Arc<Site>, ground: Ground) -> Arc<Self> {
        Arc::new(Self {
            site: Arc::clone(site),
            ground,
            scripts: ScriptManager::new(&site.settings.temp_dir),
            slots: Mutex::default(),
            taken: Notify::new(),
            ending: CancellationToken::new(),
            tracker: TaskTracker::new(),
        })
    }

    /// Removes what dead workers left, and begins to start containers, if that is asked for. Only the first
    /// call begins it.
    pub(in crate::runner) async fn open(self: &Arc<Self>) {
        if self.tracker.is_closed() || !self.tracker.close() {
            return;
        }
        left_over::remove(&self.site).await;
        if plan::is_possible(&self.site.settings) && !self.ending.is_cancelled() {
            let this = Arc::clone(self);
            self.tracker.spawn(async move { this.keep().await });
        }
    }

    /// Ends what waits, and waits until it is removed; also what dead workers left, for this worker may have had
    /// no time for that.
    pub(in crate::runner) async fn end(&self) {
        self.ending.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        left_over::remove(&self.site).await;
    }

    /// Begins a run in a waiting container, if there is one for it; `None` if not. The run's code is in
    /// `directory`.
    pub(in crate::runner) async fn begin(
        &self,
        managed: &Managed,
        image_id: Option<&str>,
        directory: &JobDirectory,
        observer: &dyn RunObserver,
    ) -> Result<Option<Begun>, RunFailure> {
        let Some(slot) = self.take(&managed.run.job, image_id) else { return Ok(None) };
        let (site, scripts) = (&self.site, &self.scripts);
        match hand_over(site, scripts, slot, managed, directory, observer).await {
            Ok(begun) => Ok(Some(begun)),
            Err(Missed::Container) => Ok(None),
            Err(Missed::Run(failure)) => Err(failure),
        }
    }

    fn take(&self, job: &Job, image_id: Option<&str>) -> Option<Slot> {
        if !plan::may_take(job, &self.site.settings) {
            return None;
        }
        let mut slots = self.slots.lock();
        let fits = |slot: &Slot| {
            slot.runtime.name == job.runtime.name
                && Some(&*slot.image_id) == image_id
                && slot.is_alive()
        };
        let found = slots.iter().position(fits);
        self.site.metrics.warm_run(found.is_some());
        let place = found?;
        self.taken.notify_one();
        Some(slots.remove(place))
    }

    /// Keeps as many waiting as there should be.
    async fn keep(&self) {
        let (temp_dir, namespace) = (&self.site.settings.temp_dir, &self.site.namespace);
        let owner = match Owner::begin(temp_dir, namespace) {
            Ok(owner) => owner,
            Err(error) => {
                tracing::warn!(%error, "no containers wait for jobs, because their folder cannot be made");
                return;
            }
        };
        let mut failed = BTreeMap::new();
        let mut swept_at = Instant::now();
        // A container that is being started is not forgotten half-way.
        while !self.ending.is_cancelled() {
            self.throw_away_unfit().await;
            let pause = self.fill(&owner, &mut failed).await;
            let waiting = async {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = self.taken.notified() => sleep(AFTER_TAKEN).await,
                }
            };
            if self.ending.run_until_cancelled(waiting).await.is_some()
                && swept_at.elapsed() > LOOK_PAUSE
            {
                left_over::remove(&self.site).await;
                swept_at = Instant::now();
            }
        }
        let slots = std::mem::take(&mut *self.slots.lock());
        futures_util::future::join_all(slots.into_iter().map(|slot| slot.discard(&self.site)))
            .await;
        // Its folder is now that of a worker that has ended, see `end`.
        drop(owner);
    }

    /// Starts what is missing, one after the other, while the engine has time for it. Gives how long to wait.
    async fn fill(&self, owner: &Owner, failed: &mut BTreeMap<RuntimeName, Instant>) -> Duration {
        let mut pause = LOOK_PAUSE;
        let settings = &self.site.settings;
        for runtime in settings.runtimes.iter() {
            while self.waiting_of(runtime) < plan::wanted(runtime, settings) {
                if self.ending.is_cancelled() {
                    return pause;
                }
                if failed.get(&runtime.name).is_some_and(|at| at.elapsed() < FAILED_PAUSE) {
                    break;
                }
                if !self.site.engine.has_free_start() {
                    pause = BUSY_PAUSE;
                    break;
                }
                match self.make(owner, runtime).await {
                    Ok(Some(slot)) => {
                        tracing::debug!(%runtime, container.id = %slot.container, "a container waits for a job");
                        self.slots.lock().push(slot);
                    }
                    // The first run pulls the image.
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%runtime, %error, "could not start a container that waits for a job; trying again later");
                        failed.insert(runtime.name.clone(), Instant::now());
                    }
                }
            }
        }
        pause
    }

    async fn make(
        &self,
        owner: &Owner,
        runtime: &Arc<Runtime>,
    ) -> Result<Option<Slot>, RunFailure> {
        let Some(id) = self.site.engine.image_id(&runtime.image).await? else { return Ok(None) };
        let (site, scripts) = (&self.site, &self.scripts);
        let of = (Arc::clone(runtime), id);
        let slot = Slot::make(site, self.ground, scripts, owner.path(), of, &self.ending).await?;
        Ok(Some(slot))
    }

    /// How many wait, of any runtime.
    pub(in crate::runner) fn waiting(&self) -> usize {
        self.slots.lock().len()
    }

    fn waiting_of(&self, runtime: &Runtime) -> usize {
        self.slots.lock().iter().filter(|slot| slot.runtime.name == runtime.name).count()
    }

    /// Removes those that have waited for too long, or have ended.
    async fn throw_away_unfit(&self) {
        let max_age = self.site.settings.warm.max_age;
        let is_unfit = |slot: &mut Slot| slot.made_at.elapsed() > max_age || !slot.is_alive();
        let unfit: Vec<_> = self.slots.lock().extract_if(.., is_unfit).collect();
        for slot in unfit {
            slot.discard(&self.site).await;
        }
    }
}
