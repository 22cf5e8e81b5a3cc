//! The workers of a round. Each place has a network of its own, and one process after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::plan::{Scale, Sickness, Way};
use super::stage::Stage;
use longshore_testing::http_proxy::{Asked, Deed, HttpProxy};
use longshore_testing::proxy::Proxy;
use longshore_testing::worker::{Worker, settings_of_a_worker};

/// How often it is looked whether a worker has ended by itself.
const SUPERVISION: Duration = Duration::from_millis(500);

/// Settings of every worker: short times, small containers, and no run lost to the faults alone.
const SETTINGS: [(&str, &str); 15] = [
    ("SEGMENT_GRACE_SECONDS", "15"),
    ("HANDOVER_GRACE_SECONDS", "60"),
    ("MAX_SEGMENTS", "16"),
    ("MAX_TERMINATING", "4"),
    ("MAX_LONG_RUNNING", "50"),
    ("JOB_MAX_ATTEMPTS", "50"),
    ("JOB_TIMEOUT_SECONDS", "120"),
    ("RETRY_DELAYS_SECONDS", "1,2,4"),
    ("STORE_TIMEOUT_SECONDS", "4"),
    ("STORE_MAX_ATTEMPTS", "3"),
    ("DRAIN_GRACE_SECONDS", "3"),
    ("STOP_TIMEOUT_SECONDS", "3"),
    ("LOG_INTERVAL_SECONDS", "3"),
    ("BOT_MEMORY_LIMIT_MB", "128"),
    ("LOG_LEVEL", "info"),
];

/// The worker that is soon full, and how many bots fill it: it cannot start what a lost one leaves.
const FULL: usize = 1;
const FULL_AT: &str = "2";

/// How long a sick store takes for a request, and a sick engine for a start.
const SLOW_STORE: Duration = Duration::from_millis(300);
const SLOW_START: Duration = Duration::from_secs(6);

/// One process of a place, for the reckoning.
#[derive(Debug, Clone)]
pub(crate) struct Shift {
    pub(crate) place: usize,
    pub(crate) engine: usize,
    pub(crate) log: PathBuf,
    /// When it was killed, if it was.
    pub(crate) killed_at: Option<Timestamp>,
    /// It ended though nobody had asked it to.
    pub(crate) ended_by_itself: bool,
}

struct Place {
    engine: usize,
    env: BTreeMap<String, String>,
    to_broker: Proxy,
    to_store: Proxy,
    /// What the store, or the engine, does with a request of this worker's.
    store: HttpProxy,
    container_engine: HttpProxy,
    now: Mutex<Now>,
}

struct Now {
    worker: Option<Worker>,
    shifts: Vec<Shift>,
}

/// All workers.
pub(crate) struct Crew {
    folder: PathBuf,
    places: Vec<Place>,
}

impl Crew {
    /// Starts them, and waits until all are ready.
    pub(crate) async fn start(stage: &Stage, scale: &Scale) -> Self {
        let mut places = Vec::new();
        for number in 0..scale.workers {
            places.push(Place::new(stage, number, number % scale.engines).await);
        }
        let crew = Self { folder: stage.folder().to_owned(), places };
        for number in 0..scale.workers {
            let mut now = crew.places[number].now.lock().await;
            crew.begin_shift(number, &mut now);
            now.worker.as_mut().unwrap().ready().await;
        }
        crew
    }

    pub(crate) fn to_broker(&self, worker: usize) -> &Proxy {
        &self.places[worker].to_broker
    }

    pub(crate) fn to_store(&self, worker: usize) -> &Proxy {
        &self.places[worker].to_store
    }

    /// The store is sick for a worker.
    pub(crate) async fn sicken_store(&self, worker: usize, sickness: Sickness, away: Duration) {
        let store = &self.places[worker].store;
        store.rule(move |asked| match sickness {
            Sickness::Refuses if asked.is_write() => Deed::Refuse(403),
            Sickness::Refuses => Deed::Pass,
            Sickness::Slow => Deed::Slow(SLOW_STORE),
        });
        sleep(away).await;
        store.restore();
    }

    /// The engine is sick for a worker.
    pub(crate) async fn sicken_engine(&self, worker: usize, sickness: Sickness, away: Duration) {
        let engine = &self.places[worker].container_engine;
        let is_start = |asked: &Asked| asked.is("POST", "/start");
        engine.rule(move |asked| match sickness {
            Sickness::Refuses if is_start(asked) => Deed::Refuse(500),
            Sickness::Slow if is_start(asked) => Deed::Slow(SLOW_START),
            _ => Deed::Pass,
        });
        sleep(away).await;
        engine.restore();
    }

    /// A worker's process stands still for a while.
    pub(crate) async fn stand_still(&self, worker: usize, away: Duration) {
        // Nobody looks after it meanwhile.
        let now = self.places[worker].now.lock().await;
        let pid = now.worker.as_ref().and_then(Worker::pid);
        let signal = |signal| {
            if let Some(pid) = pid {
                // It may have ended by itself.
                kill(Pid::from_raw(pid.try_into().unwrap()), signal).ok();
            }
        };
        signal(Signal::SIGSTOP);
        sleep(away).await;
        signal(Signal::SIGCONT);
    }

    /// Ends a worker, and starts the next one after a while.
    pub(crate) async fn end(&self, number: usize, way: Way, away: Duration) {
        let mut now = self.places[number].now.lock().await;
        let Now { worker, shifts } = &mut *now;
        let shift = shifts.last_mut().unwrap();
        if let Some(worker) = worker {
            match way {
                Way::Stopped => worker.terminate(),
                Way::Killed => {
                    worker.kill();
                    shift.killed_at = Some(Timestamp::now());
                }
            }
            worker.wait().await;
        }
        now.worker = None;
        sleep(away).await;
        self.begin_shift(number, &mut now);
    }

    /// Starts the next worker wherever one ends by itself, as a service manager does.
    pub(crate) async fn supervise(&self, done: CancellationToken) {
        while done.run_until_cancelled(sleep(SUPERVISION)).await.is_some() {
            for number in 0..self.places.len() {
                // One that is being ended is not looked at.
                if let Ok(mut now) = self.places[number].now.try_lock()
                    && now.worker.as_mut().is_some_and(Worker::has_ended)
                {
                    now.shifts.last_mut().unwrap().ended_by_itself = true;
                    self.begin_shift(number, &mut now);
                }
            }
        }
    }

    /// Mends every network and waits until every worker is ready.
    pub(crate) async fn recover(&self) {
        for (number, place) in self.places.iter().enumerate() {
            place.to_broker.restore();
            place.to_store.restore();
            place.store.restore();
            place.container_engine.restore();
            let mut now = place.now.lock().await;
            if now.worker.as_mut().unwrap().has_ended() {
                now.shifts.last_mut().unwrap().ended_by_itself = true;
                self.begin_shift(number, &mut now);
            }
            now.worker.as_mut().unwrap().ready().await;
        }
    }

    /// Ends every worker well; gives all shifts that there were, and which did not end well.
    pub(crate) async fn dismiss(self) -> (Vec<Shift>, Vec<String>) {
        let mut shifts = Vec::new();
        let mut bad_ends = Vec::new();
        for place in self.places {
            let mut now = place.now.into_inner();
            if let Some(mut worker) = now.worker.take() {
                worker.terminate();
                let status = worker.wait().await;
                if !status.success() {
                    bad_ends.push(format!("worker {} ended with {status}", now.shifts[0].place));
                }
            }
            shifts.append(&mut now.shifts);
        }
        (shifts, bad_ends)
    }

    fn begin_shift(&self, number: usize, now: &mut Now) {
        let place = &self.places[number];
        let name = format!("worker-{number}-{}", now.shifts.len());
        let log = self.folder.join(format!("{name}.log"));
        let mut env = place.env.clone();
        env.insert("WORKER_NAME".to_owned(), name);
        now.worker = Some(Worker::spawn(&env, log.clone()));
        now.shifts.push(Shift {
            place: number,
            engine: place.engine,
            log,
            killed_at: None,
            ended_by_itself: false,
        });
    }
}

impl Place {
    async fn new(stage: &Stage, number: usize, engine: usize) -> Self {
        let to_broker = Proxy::start(stage.broker.addr()).await;
        let to_store = Proxy::start(stage.server.addr()).await;
        let temp_dir = stage.spools[engine].temp_dir();
        let mut env = settings_of_a_worker(&stage.namespace, &number.to_string(), &temp_dir);
        let own = stage.broker.addr().to_string();
        let url = stage.broker.url().replace(&own, &to_broker.addr().to_string());
        env.insert("AMQP_URL".to_owned(), url);
        let store = HttpProxy::start(to_store.addr()).await;
        env.insert("MINIO_ENDPOINT".to_owned(), store.endpoint());
        let container_engine =
            HttpProxy::start_for_engine_at(&stage.engines[engine].docker_host()).await;
        let host = format!("tcp://{}", container_engine.endpoint());
        env.insert("DOCKER_HOST".to_owned(), host);
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        env.extend(settings);
        if number == FULL {
            env.insert("MAX_LONG_RUNNING".to_owned(), FULL_AT.to_owned());
        }
        let now = Mutex::new(Now { worker: None, shifts: Vec::new() });
        Self { engine, env, to_broker, to_store, store, container_engine, now }
    }
}
