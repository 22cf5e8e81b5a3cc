//! Workers on hosts of their own, as far as one machine can be several.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use longshore::broker::{Binding, Broker, Feed, MessageOptions, Subscription};
use longshore::job::{Executable, parse_executable};
use longshore::settings::BrokerSettings;
use longshore::storage::Bucket;
use longshore_testing::costless_engine::CostlessEngine;
use longshore_testing::process::Processes;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::rabbit::Rabbit;
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::report::Figures;
use crate::servers::Servers;

/// Runs that a worker has at a time.
const MAX_TERMINATING: usize = 16;

/// How many starts are published at a time.
const PUBLISHERS: usize = 16;

/// A pause after jobs.
const PAUSE: Duration = Duration::from_secs(5);

/// How long idle workers are watched.
const IDLE: Duration = Duration::from_secs(10);

/// The longest that a round may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Never run.
const SOURCE: &str = "def main(id, config):\n    return {\"ok\": True}\n";

/// Some workers and a client, in a namespace of their own.
pub(crate) struct Fleet {
    scene: Scene,
    engines: Vec<CostlessEngine>,
    workers: Vec<Worker>,
    broker: Broker,
    results: Subscription,
    code: String,
}

impl Fleet {
    pub(crate) async fn start(size: usize) -> Self {
        let scene = Scene::new().await;
        let (mut engines, mut workers) = (Vec::new(), Vec::new());
        for number in 0..size {
            let host = scene.folder().join(format!("host-{number}"));
            std::fs::create_dir_all(host.join("runtime")).unwrap();
            let engine = CostlessEngine::start(&host);
            workers.push(scene.spawn_worker(&[
                ("DOCKER_HOST", &engine.docker_host()),
                ("TEMP_DIR", &host.join("runtime").to_string_lossy()),
                ("LOG_SPOOL_DIR", &host.join("spool").to_string_lossy()),
                ("MAX_TERMINATING", &MAX_TERMINATING.to_string()),
                ("MAX_CONCURRENT_STARTS", &MAX_TERMINATING.to_string()),
                ("LOG_INTERVAL_SECONDS", "30"),
                ("LOG_LEVEL", "info"),
                // Neither makes sense without containers.
                ("WARM_CONTAINERS", "0"),
                ("CODE_COMPILE_TIMEOUT_SECONDS", "0"),
            ]));
            engines.push(engine);
        }
        futures_util::future::join_all(workers.iter_mut().map(Worker::ready)).await;
        let code = scene.put_code("trivial", &[(PYTHON_BACKTEST.script, SOURCE)]).await;
        let broker = client(&scene.namespace);
        let all_results = vec![Binding::all(Feed::Results)];
        let results = broker.subscribe(all_results, CancellationToken::new()).await.unwrap();
        Self { scene, engines, workers, broker, results, code }
    }

    /// Watches the idle workers, then gives them jobs.
    pub(crate) async fn measure(&mut self, jobs: usize, servers: &Servers) -> Figures {
        let size = self.workers.len();
        // Connections, caches, the code.
        self.run(size * MAX_TERMINATING).await;
        sleep(PAUSE).await;
        let processes = Processes::of(self.workers.iter().filter_map(Worker::pid).collect());
        let (before, workers) = (servers.used(), processes.cpu());
        sleep(IDLE).await;
        let idle = servers.used().since(before);
        let idle_workers = processes.cpu().saturating_sub(workers);

        let made: Vec<_> = self.engines.iter().map(CostlessEngine::made).collect();
        let (before, workers) = (servers.used(), processes.cpu());
        let took = self.run(jobs).await;
        let used = servers.used().since(before);
        let workers = processes.cpu().saturating_sub(workers);
        let shares = self.engines.iter().zip(made).map(|(engine, before)| engine.made() - before);
        let shares: Vec<_> = shares.collect();

        let per_job = |cpu: Duration| cpu.as_secs_f64() * 1e3 / float(jobs);
        let idle_for = IDLE.as_secs_f64() * float(size);
        let per_idle_worker = |cpu: Duration| cpu.as_secs_f64() * 1e3 / idle_for;
        let cores = std::thread::available_parallelism().unwrap().get();
        Figures {
            jobs_per_second: float(jobs) / took.as_secs_f64(),
            worker_ms: per_job(workers),
            broker_ms: per_job(used.broker),
            store_ms: per_job(used.store),
            ports_ms: per_job(used.ports),
            bench_ms: per_job(used.own),
            busy_percent: used.machine.as_secs_f64() / took.as_secs_f64() / float(cores) * 100.0,
            idle_worker_ms: per_idle_worker(idle_workers),
            idle_broker_ms: per_idle_worker(idle.broker),
            idle_store_ms: per_idle_worker(idle.store),
            fewest_jobs: float(shares.iter().copied().min().unwrap_or_default()),
            most_jobs: float(shares.iter().copied().max().unwrap_or_default()),
        }
    }

    /// Publishes so many starts and waits for their results; gives the time from the first start to the last result.
    async fn run(&mut self, jobs: usize) -> Duration {
        let starts: Vec<_> = (0..jobs).map(|_| start(&self.scene.namespace, &self.code)).collect();
        let mut open: HashSet<_> = starts.iter().map(|one| one.id.to_string()).collect();
        let begun = Instant::now();
        let (broker, results) = (&self.broker, &mut self.results);
        let publishing = publish(broker, starts);
        let reading = async {
            while !open.is_empty() {
                let event = results.next().await.unwrap().unwrap();
                let key = event.routing_key();
                assert!(key.as_str().starts_with("succeeded."), "{event:#?}");
                open.remove(event.subject.as_deref().unwrap_or_default());
            }
        };
        let both = async { tokio::join!(publishing, reading) };
        tokio::time::timeout(PATIENCE, both).await.expect("results did not come");
        begun.elapsed()
    }

    /// Ends the workers, and gives what one job has left in the store. Nothing else may be left, and no worker may have
    /// asked for what the engine does not know.
    pub(crate) async fn finish(self) -> Kept {
        let kept = Kept::of_one_job(&self.scene).await;
        self.scene.finish(self.workers).await;
        for engine in &self.engines {
            assert_eq!(engine.unknown(), [""; 0]);
            assert_eq!(engine.left(), [""; 0]);
        }
        kept
    }
}

/// What a job leaves in the store for good: its record, result, output and log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) objects: usize,
    pub(crate) bytes: usize,
}

impl Kept {
    async fn of_one_job(scene: &Scene) -> Self {
        let results = scene.objects(Bucket::Results, &format!("{}-", scene.namespace)).await;
        let id = results.first().and_then(|key| key.split('/').next()).unwrap();
        let mut kept = Self { objects: 0, bytes: 0 };
        for (bucket, prefix) in [
            (Bucket::Results, format!("{id}/")),
            (Bucket::Logs, format!("logs/{id}/")),
            (Bucket::State, format!("{}/", scene.namespace)),
        ] {
            for key in scene.objects(bucket, &prefix).await {
                if key.contains(id) {
                    kept.objects += 1;
                    kept.bytes += scene.read_object(bucket, &key).await.len();
                }
            }
        }
        kept
    }
}

/// A client of a namespace.
pub(crate) fn client(namespace: &str) -> Broker {
    let settings = BrokerSettings {
        namespace: namespace.to_owned(),
        publish_channels: 4,
        confirm_timeout: Duration::from_secs(30),
        retry_delays: vec![Duration::from_secs(1)],
        ..Rabbit::new().settings
    };
    Broker::connect(&settings, "scale", &CancellationToken::new()).unwrap()
}

/// A start of a new job.
pub(crate) fn start(namespace: &str, code: &str) -> Executable {
    let id = format!("{namespace}-{}", uuid::Uuid::new_v4().simple());
    let message = PYTHON_BACKTEST.message(&id, code).to_string();
    parse_executable(message.as_bytes()).unwrap()
}

/// Publishes starts, several at a time, each confirmed.
pub(crate) async fn publish(broker: &Broker, starts: Vec<Executable>) {
    let publishing = futures_util::stream::iter(starts);
    let publishing = publishing.for_each_concurrent(PUBLISHERS, |start| async move {
        let message_id = uuid::Uuid::new_v4().to_string();
        let options = MessageOptions { message_id, ..Default::default() };
        broker.publish_start(&start, &options).await.unwrap();
    });
    publishing.await;
}

pub(crate) fn float(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}
