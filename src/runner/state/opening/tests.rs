use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::job::{Bounds, Job, State, Verdict, parse_executable};
use crate::runner::managed::ManagedContainers;
use crate::runner::recorder::{Recorder, Script, site};
use crate::storage::{DirectoryStore, ObjectStore, StateRecord};

/// A worker that owns the segment under an epoch, as long as it can show it.
struct Worker {
    epoch: u64,
    is_proven: AtomicBool,
}

impl Worker {
    fn of(epoch: u64) -> Self {
        Self { epoch, is_proven: AtomicBool::new(true) }
    }
}

impl RunObserver for Worker {
    fn state(&self, _: State, _: Option<&str>) {}

    fn epoch(&self) -> u64 {
        self.epoch
    }

    fn may_start(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }
}

async fn a_site() -> (TempDir, Site) {
    let root = tempfile::tempdir().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(&root.path().join("s3")));
    store.ensure_buckets().await.unwrap();
    let engine = Arc::new(Recorder::new(Script::default()));
    let site = site(engine, store, &root.path().join("jobs"));
    (root, site)
}

fn run(state: &serde_json::Value) -> Run {
    let message = json!({
        "id": "job", "run_id": "r1", "runtime": "python3.11", "entrypoint": "bot",
        "entrypoint_files": {"bot": "main.py"}, "file_path": "code.zip", "config": {},
        "is_long_running": true, "persist_results": false, "state": state,
    });
    let executable = parse_executable(message.to_string().as_bytes()).unwrap();
    let job = Job::validate(executable, &Bounds::default(), None).unwrap();
    Run { job: Arc::new(job), attempt: 1, segment: 3, is_new: false }
}

async fn stored(site: &Site) -> Option<StateRecord> {
    site.states.state(&"job".parse().unwrap()).await.unwrap().map(|(record, _)| record)
}

#[tokio::test]
async fn each_owner_takes_the_state_and_a_former_one_does_not_get_it_back() {
    let (_root, site) = a_site().await;
    let run = run(&json!({}));
    for epoch in [4, 5, 5] {
        let kept = take(&site, &run, &Worker::of(epoch)).await.ok().unwrap();
        assert_eq!(stored(&site).await, Some(kept.record));
    }
    let before = stored(&site).await.unwrap();
    assert_eq!((before.epoch, before.seq), (5, 3));
    assert!(matches!(take(&site, &run, &Worker::of(4)).await, Err(NotTaken::NotShown)));
    assert_eq!(stored(&site).await.unwrap(), before);
}

#[tokio::test]
async fn nobody_takes_a_state_who_cannot_show_that_the_run_is_theirs() {
    let (_root, site) = a_site().await;
    let worker = Worker::of(4);
    worker.is_proven.store(false, Ordering::Relaxed);
    assert!(matches!(take(&site, &run(&json!({})), &worker).await, Err(NotTaken::NotShown)));
    assert_eq!(stored(&site).await, None);
}

#[tokio::test]
async fn what_was_kept_is_in_the_file_unless_it_is_too_large_or_reset() {
    let (_root, site) = a_site().await;
    let id = "job".parse().unwrap();
    let text = format!("{:?}", "x".repeat(2000));
    let record = StateRecord {
        segment: 9,
        epoch: 9,
        seq: 9,
        run: "r0".parse().unwrap(),
        written_at: Timestamp::UNIX_EPOCH,
        value: Some(text.parse().unwrap()),
    };
    for (state, expected) in [
        (json!({"max_kb": 2}), Ok(Some(text.as_str()))),
        (json!({"max_kb": 1}), Err(Verdict::Rejected)),
        (json!({"max_kb": 1, "reset": true}), Ok(Some(""))),
        (json!(null), Ok(None)),
    ] {
        let seen = site.states.state(&id).await.unwrap().map(|(_, version)| version);
        site.states.write_state(&id, &record, seen.as_ref()).await.unwrap().unwrap();
        let managed = ManagedContainers::default().begin(&run(&state)).unwrap();
        let directory = site.directory_of(&managed.run);
        directory.create().await.unwrap();
        fs::create_dir(directory.root().join(".longshore")).unwrap();
        let file = directory.root().join(STATE_FILE);
        fs::write(&file, "").unwrap();
        let restored = restore(&site, &managed, &directory, &Worker::of(1)).await;
        match (restored, expected) {
            (Ok(()), Ok(expected)) => {
                assert_eq!(fs::read_to_string(&file).unwrap(), expected.unwrap_or_default());
                assert_eq!(managed.state.lock().await.is_some(), expected.is_some(), "{state}");
            }
            (Err(failure), Err(verdict)) => {
                assert_eq!(failure.verdict(), Some(verdict));
                assert!(failure.to_string().contains("longshore state job --clear"), "{failure}");
            }
            (restored, _) => panic!("{state}: {restored:?}"),
        }
        directory.remove().await.unwrap();
    }
}
