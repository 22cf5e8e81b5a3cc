//! What shows that a worker was none the worse for what it got.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;

use longshore_testing::events::{PATIENCE, Seen};
use longshore_testing::scene::Scene;
use longshore_testing::worker::Worker;

/// The most memory that a worker may ever have held, in KiB: that of two directories of 50,000 entries, which
/// may be read at a time, and what any worker has.
pub(super) const MAX_PEAK_KIB: u64 = 100 * 1024;

/// What lies around the directory of the jobs, and when the engine was last known to be idle.
pub(super) struct Before {
    files: BTreeMap<String, Vec<u8>>,
    at: i64,
}

impl Before {
    /// Plants files that must be as they are when all is over.
    pub(super) fn plant(scene: &Scene) -> Self {
        for place in ["canary", "runtime/canary"] {
            let folder = scene.folder().join(place);
            std::fs::create_dir_all(folder.join("etc")).unwrap();
            std::fs::write(folder.join("alive"), "yes").unwrap();
            std::fs::write(folder.join("etc/passwd"), "root").unwrap();
        }
        Self { files: files_of(scene), at: jiff::Timestamp::now().as_second() - 1 }
    }

    /// Checks that nothing was written but by the worker itself, that no container was ever made,
    /// and that the worker is alive, has not panicked and was never large.
    pub(super) async fn nothing_has_happened(&self, scene: &Scene, worker: &mut Worker) {
        scene.is_tidy().await;
        assert_eq!(
            files_of(scene),
            self.files,
            "something was written outside of a job's directory"
        );
        assert_eq!(created_containers(scene, self.at).await, [""; 0], "a container was made");
        assert!(!worker.has_ended(), "the worker has ended");
        let log = worker.log();
        assert!(!log.contains("panicked"), "{log}");
        let peak = worker.peak_memory_kib();
        eprintln!("the worker's peak memory was {peak} KiB");
        assert!(peak < MAX_PEAK_KIB, "the worker's peak memory was {peak} KiB");
    }
}

/// Every file around the directory of the jobs with its content, the worker's own left out.
fn files_of(scene: &Scene) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    collect(scene.folder(), scene, &mut found);
    found
}

fn collect(folder: &Path, scene: &Scene, found: &mut BTreeMap<String, Vec<u8>>) {
    let jobs = scene.temp_dir().join(&scene.namespace);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(scene.folder()).unwrap().to_string_lossy().into_owned();
        let is_workers_own = path == jobs
            || name == "spool"
            || name.ends_with(".log")
            || name == "runtime/.cache"
            || name.starts_with(&format!("runtime/.{}.", scene.namespace));
        if is_workers_own {
            continue;
        }
        if path.is_dir() {
            found.insert(format!("{name}/"), Vec::new());
            collect(&path, scene, found);
        } else {
            found.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// The containers of this scene that the engine has made since then, gone or not, but for those in which a worker
/// tries whether it can run jobs.
async fn created_containers(scene: &Scene, since: i64) -> Vec<String> {
    let until = jiff::Timestamp::now().as_second() + 1;
    let label = format!("runtime.namespace={}", scene.namespace);
    let filters = HashMap::from([
        ("label".to_owned(), vec![label]),
        ("event".to_owned(), vec!["create".to_owned()]),
    ]);
    let options = EventsOptionsBuilder::default()
        .since(&since.to_string())
        .until(&until.to_string())
        .filters(&filters)
        .build();
    let events = scene.docker.events(Some(options)).collect::<Vec<_>>();
    let events = tokio::time::timeout(PATIENCE, events).await.unwrap();
    let actors = events.into_iter().filter_map(|event| event.unwrap().actor);
    let is_of_a_job = |attributes: &HashMap<String, String>| {
        let rehearsal = format!("{}.rehearsal.", scene.namespace);
        !attributes.get("name").is_some_and(|name| name.starts_with(&rehearsal))
    };
    actors
        .filter(|actor| actor.attributes.as_ref().is_none_or(is_of_a_job))
        .filter_map(|actor| actor.id)
        .collect()
}

/// The result that came of the message with this id.
pub(super) async fn rejection(scene: &Scene, message_id: &str, body: &[u8]) -> Seen {
    let event_id = longshore::job::refusal_id(Some(message_id), body);
    let what = format!("rejection of {message_id}");
    scene.events.wait_for(&what, |seen| seen.is_result() && seen.id() == event_id).await
}
