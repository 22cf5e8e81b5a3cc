//! An engine that throws output away while nobody reads it.

use std::sync::Arc;
use std::time::Duration;

use longshore::job::Entrypoint;
use longshore::logs::{LOST_NOTICE, LogCollector, LogSource, Mask};
use longshore::runner::orchestrator::ContainerOrchestrator as _;
use longshore::settings::{EngineLog, RunnerSettings};
use longshore::storage::{DirectoryStore, ObjectStore};

use super::{SOON, log, log_settings};
use longshore_testing::bench::{Bench, settings};

/// Writes 100 lines, and when it is told to 20,000 more of 500 bytes.
const PROGRAM: &str = "
import signal, time
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
for n in range(100): print(n, flush=True)
while not told: time.sleep(0.05)
for n in range(100, 20100): print(n, 'x' * 494)
print('end', flush=True)
";

#[tokio::test]
async fn a_gap_is_reported_and_the_rest_is_complete() {
    let small = RunnerSettings { engine_log: EngineLog { file_mb: 1, files: 2 }, ..settings() };
    let bench = Bench::with(&small).await;
    let id = bench.start(&bench.spec("rotated", &["python", "-c", PROGRAM])).await;
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(dir.path()));
    store.ensure_buckets().await.unwrap();
    let source = LogSource {
        job: "rotated".parse().unwrap(),
        run: "run-1".parse().unwrap(),
        attempt: 1,
        entrypoint: Entrypoint::Bot,
        interval: Duration::from_secs(1),
        terminating: false,
        resume: false,
        is_new_job: false,
        series_key: None,
        mask: Mask::default(),
    };
    let first = LogCollector::new(Arc::clone(&store), log_settings());
    first.start();
    let handle = first.attach(source.clone(), bench.engine.follow_logs(&id), None);
    while log(&*store, "rotated").await.len() < 100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(first.stop(SOON).await);
    drop(handle);

    let docker = longshore_testing::servers::engine().await;
    let signal = bollard::query_parameters::KillContainerOptionsBuilder::default();
    docker.kill_container(&id, Some(signal.signal("SIGUSR1").build())).await.unwrap();
    bench.engine.wait(&id).await.unwrap();
    let second = LogCollector::new(Arc::clone(&store), log_settings());
    second.start();
    let resumed = LogSource { resume: true, ..source };
    let handle = second.attach(resumed, bench.engine.follow_logs(&id), None);
    let summary = handle.finish(SOON).await;
    assert!(summary.degraded.is_some());

    let lines = log(&*store, "rotated").await;
    let numbers: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(lines[..100], numbers);
    assert_eq!(lines[100], LOST_NOTICE);
    let left: Vec<usize> = lines[101..lines.len() - 1]
        .iter()
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(left.len() > 1000 && left[0] > 100, "{} lines from {}", left.len(), left[0]);
    assert_eq!(left, (left[0]..20_100).collect::<Vec<_>>());
    assert_eq!(lines.last().unwrap(), "end");
}
