//! Code that runs share.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use tempfile::TempDir;

use super::*;
use crate::runner::cache::How;
use crate::runner::code::CachePlan;
use crate::runner::temp_dir::Passage;

/// A cache beside the jobs' directories.
pub(super) fn plan(temp_dir: &Path) -> CachePlan {
    CachePlan {
        directory: temp_dir.join(".cache"),
        max_bytes: 1 << 20,
        passage: Passage::Closed,
        how: How::Link,
    }
}

pub(super) const CAPS: CodeCaps = CodeCaps {
    max_archive_bytes: 100_000,
    archive: ArchiveCaps {
        max_entries: 20,
        max_extracted_bytes: 1_000_000,
        max_depth: 8,
        max_name_bytes: 100,
        max_ratio: 1000,
        max_time: Duration::from_secs(60),
        keeps_ours: true,
    },
    max_input_bytes: 100_000,
};

fn zip_with(content: &'static str) -> Vec<u8> {
    zip(&[file("src/main.py", content), RawEntry { mode: 0o100_755, ..file("bin/run", "#!") }])
}

fn sha256(content: &'static str) -> String {
    hex::encode(Sha256::digest(zip_with(content)))
}

/// Jobs' directories with a cache beside them, and a store.
struct House {
    temp: TempDir,
    store: Arc<Answers>,
    plan: CachePlan,
}

impl House {
    fn of(store: Answers) -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self { plan: plan(temp.path()), temp, store: Arc::new(store) }
    }

    /// A worker: another one each time.
    fn manager(&self) -> Arc<CodeManager> {
        let store: Arc<dyn ObjectStore> = Arc::<Answers>::clone(&self.store);
        Arc::new(CodeManager::new(store, CAPS).with_cache(Some(self.plan.clone())))
    }

    fn directory(&self, attempt: u32) -> JobDirectory {
        let job = job();
        JobDirectory::new(self.temp.path(), "ns", &job.id, &job.run_id, attempt)
    }

    /// Runs a job, and gives what its script is.
    async fn run(&self, manager: &CodeManager, attempt: u32, job: &Job) -> Result<String, String> {
        let directory = self.directory(attempt);
        let fetched = manager.fetch_and_extract(job, &directory).await;
        fetched.map_err(|error| error.to_string())?;
        Ok(fs::read_to_string(directory.root().join("src/main.py")).unwrap())
    }

    /// The entries of the cache.
    fn entries(&self) -> Vec<PathBuf> {
        let read = fs::read_dir(self.plan.directory.join("entries")).into_iter().flatten();
        read.map(|entry| entry.unwrap().path()).collect()
    }

    /// What is being made, or was left half-made.
    fn making(&self) -> usize {
        fs::read_dir(self.plan.directory.join("making")).unwrap().count()
    }
}

#[tokio::test]
async fn a_second_run_of_the_same_zip_shares_the_files_of_the_first() {
    let house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    let manager = house.manager();
    for attempt in 1..=3 {
        assert_eq!(house.run(&manager, attempt, &job()).await.unwrap(), "one");
    }
    assert_eq!(house.store.counted(), (3, 1));
    let files = |attempt| {
        let root = house.directory(attempt).root().to_owned();
        ["src/main.py", "bin/run"].map(|name| fs::metadata(root.join(name)).unwrap())
    };
    for (one, other) in files(1).iter().zip(files(3)) {
        assert_eq!((one.ino(), one.mode()), (other.ino(), other.mode()));
    }
    assert_eq!(files(1).map(|file| file.mode() & 0o7777), [0o644, 0o755]);
    // The folders are each job's own.
    let folder = |attempt| fs::metadata(house.directory(attempt).root().join("src")).unwrap().ino();
    assert_ne!(folder(1), folder(2));
    assert_eq!(house.making(), 0);
}

#[tokio::test]
async fn a_changed_object_under_the_same_key_is_fetched_and_the_old_one_is_no_answer() {
    let changed = Arc::new(AtomicBool::new(false));
    let is_changed = Arc::clone(&changed);
    let house = House::of(Answers::new(move |_| {
        Ok(zip_with(if is_changed.load(Ordering::SeqCst) { "two" } else { "one" }))
    }));
    let manager = house.manager();
    assert_eq!(house.run(&manager, 1, &job()).await.unwrap(), "one");
    changed.store(true, Ordering::SeqCst);
    assert_eq!(house.run(&manager, 2, &job()).await.unwrap(), "two");
    changed.store(false, Ordering::SeqCst);
    assert_eq!(house.run(&manager, 3, &job()).await.unwrap(), "one");
    assert_eq!(house.entries().len(), 2);
}

#[tokio::test]
async fn another_key_with_the_same_version_is_another_object() {
    // As of a store that makes its versions badly.
    let house =
        House::of(Answers::new(|key| Ok(zip_with(if key == "bot-1.zip" { "one" } else { "two" }))));
    let manager = house.manager();
    assert_eq!(house.run(&manager, 1, &job()).await.unwrap(), "one");
    let other = Job { code_key: "other.zip".to_owned(), ..job() };
    assert_eq!(house.run(&manager, 2, &other).await.unwrap(), "two");
    assert_eq!(house.store.counted(), (2, 2));
}

#[tokio::test]
async fn a_named_hash_needs_no_request_once_it_came_from_the_bucket() {
    let house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    let named = Job { code_sha256: Some(sha256("one")), ..job() };
    assert_eq!(house.run(&house.manager(), 1, &named).await.unwrap(), "one");
    assert_eq!(house.store.counted(), (1, 1));
    // Also after a restart, and under another key.
    let other = Job { code_key: "other.zip".to_owned(), ..named.clone() };
    assert_eq!(house.run(&house.manager(), 2, &named).await.unwrap(), "one");
    assert_eq!(house.run(&house.manager(), 3, &other).await.unwrap(), "one");
    assert_eq!(house.store.counted(), (1, 1));
    let wrong = Job { code_sha256: Some("0".repeat(64)), ..job() };
    let error = house.run(&house.manager(), 4, &wrong).await.unwrap_err();
    assert!(error.contains(&format!("has the SHA-256 {}, not 000", sha256("one"))), "{error}");
}

#[tokio::test]
async fn many_jobs_at_once_fetch_once_and_ask_once_more() {
    let store =
        Answers { delay: Duration::from_millis(200), ..Answers::new(|_| Ok(zip_with("one"))) };
    let house = Arc::new(House::of(store));
    let manager = house.manager();
    let mut runs = tokio::task::JoinSet::new();
    for attempt in 1..=16 {
        let (house, manager) = (Arc::clone(&house), Arc::clone(&manager));
        runs.spawn(async move { house.run(&manager, attempt, &job()).await.unwrap() });
    }
    assert!(runs.join_all().await.iter().all(|script| script == "one"));
    // Who came while the first request was under way must not take its answer: the object may have
    // changed since. They share the next one.
    assert_eq!(house.store.counted(), (2, 1));
}

#[tokio::test]
async fn a_job_that_stops_waiting_does_not_break_off_the_fetch() {
    let store =
        Answers { delay: Duration::from_millis(300), ..Answers::new(|_| Ok(zip_with("one"))) };
    let house = House::of(store);
    let manager = house.manager();
    let (job, directory) = (job(), house.directory(1));
    let stopped = manager.fetch_and_extract(&job, &directory);
    tokio::time::timeout(Duration::from_millis(50), stopped).await.unwrap_err();
    directory.remove().await.unwrap();
    assert_eq!(house.run(&manager, 2, &job).await.unwrap(), "one");
    assert_eq!(house.store.counted(), (2, 1));
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_and_not_remembered() {
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let answer = move |_: &str| {
        if !away.load(Ordering::SeqCst) {
            return Ok(zip_with("one"));
        }
        Err(StoreError::Unavailable {
            endpoint: "store:9000".into(),
            action: "reading".into(),
            attempts: 5,
            reason: "no route".into(),
        })
    };
    let store = Answers { delay: Duration::from_millis(100), ..Answers::new(answer) };
    let house = Arc::new(House::of(store));
    let manager = house.manager();
    let mut runs = tokio::task::JoinSet::new();
    for attempt in 1..=8 {
        let (house, manager) = (Arc::clone(&house), Arc::clone(&manager));
        runs.spawn(async move { house.run(&manager, attempt, &job()).await.unwrap_err() });
    }
    let errors = runs.join_all().await;
    assert!(errors.iter().all(|error| error.contains("store:9000 failed")), "{errors:?}");
    assert_eq!(house.store.counted(), (2, 0));
    is_away.store(false, Ordering::SeqCst);
    assert_eq!(house.run(&manager, 9, &job()).await.unwrap(), "one");
    assert_eq!(house.making(), 0);
}

#[tokio::test]
async fn a_damaged_entry_is_made_again() {
    let house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    assert_eq!(house.run(&house.manager(), 1, &job()).await.unwrap(), "one");
    let manager = house.manager();
    for (attempt, keeps_time) in [(2, true), (3, false)] {
        let script = house.entries()[0].join("tree/src/main.py");
        let modified = fs::metadata(&script).unwrap().modified().unwrap();
        fs::write(&script, "two").unwrap();
        if keeps_time {
            // Then only its hash tells, which is looked at after a start.
            fs::File::options().append(true).open(&script).unwrap().set_modified(modified).unwrap();
        }
        assert_eq!(house.run(&manager, attempt, &job()).await.unwrap(), "one", "{keeps_time}");
    }
    fs::remove_file(house.entries()[0].join("tree/bin/run")).unwrap();
    assert_eq!(house.run(&manager, 4, &job()).await.unwrap(), "one");
    fs::remove_file(house.entries()[0].join("use")).unwrap();
    assert_eq!(house.run(&manager, 5, &job()).await.unwrap(), "one");
    fs::write(house.entries()[0].join("manifest"), "no").unwrap();
    assert_eq!(house.run(&manager, 6, &job()).await.unwrap(), "one");
    assert_eq!((house.entries().len(), house.making()), (1, 0));
}

#[tokio::test]
async fn a_cache_that_somebody_removes_is_made_again() {
    let house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    let manager = house.manager();
    for attempt in 1..=3 {
        assert_eq!(house.run(&manager, attempt, &job()).await.unwrap(), "one");
        let inside = if attempt == 1 { "entries" } else { "" };
        fs::remove_dir_all(house.plan.directory.join(inside)).unwrap();
    }
    assert_eq!(house.store.counted(), (3, 3));
}

#[tokio::test]
async fn where_the_cache_cannot_be_used_each_run_unpacks_its_own() {
    let mut house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    let in_the_way = house.temp.path().join("file");
    fs::write(&in_the_way, "").unwrap();
    house.plan.directory = in_the_way;
    assert_eq!(house.run(&house.manager(), 1, &job()).await.unwrap(), "one");
    // One that breaks later.
    let house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    let manager = house.manager();
    manager.open_cache().await;
    fs::remove_dir_all(&house.plan.directory).unwrap();
    fs::write(&house.plan.directory, "").unwrap();
    assert_eq!(house.run(&manager, 1, &job()).await.unwrap(), "one");
}

#[tokio::test]
async fn what_a_job_may_write_to_is_its_own() {
    let mut house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    house.plan.how = How::Copy;
    let manager = house.manager();
    assert_eq!(house.run(&manager, 1, &job()).await.unwrap(), "one");
    let script = house.directory(1).root().join("src/main.py");
    assert_eq!(fs::metadata(&script).unwrap().nlink(), 1);
    fs::write(&script, "changed").unwrap();
    assert_eq!(house.run(&manager, 2, &job()).await.unwrap(), "one");
}

#[tokio::test]
async fn what_unpacks_under_other_limits_is_not_shared() {
    let house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    assert_eq!(house.run(&house.manager(), 1, &job()).await.unwrap(), "one");
    let caps = CodeCaps { archive: ArchiveCaps { max_entries: 1, ..CAPS.archive }, ..CAPS };
    let store: Arc<dyn ObjectStore> = Arc::<Answers>::clone(&house.store);
    let strict = CodeManager::new(store, caps).with_cache(Some(house.plan.clone()));
    let error = house.run(&strict, 2, &job()).await.unwrap_err();
    assert!(error.contains("CODE_MAX_ENTRIES"), "{error}");
}

#[tokio::test]
async fn what_no_run_uses_any_more_makes_room() {
    let contents = ["one", "two", "three", "four"];
    let answer = move |key: &str| Ok(zip_with(contents[key.parse::<usize>().unwrap()]));
    let mut house = House::of(Answers::new(answer));
    // Room for two: each takes two blocks for its files, and six for the rest.
    house.plan.max_bytes = 2 * 6 * 4096;
    let manager = house.manager();
    for (number, content) in (0..).zip(contents) {
        let job = Job { code_key: number.to_string(), ..job() };
        assert_eq!(house.run(&manager, number + 1, &job).await.unwrap(), content);
    }
    // All are in use, and stay.
    manager.tidy_cache().await;
    assert_eq!(house.entries().len(), 4);
    for attempt in [1, 3, 4] {
        house.directory(attempt).remove().await.unwrap();
    }
    manager.tidy_cache().await;
    let left: Vec<_> = house
        .entries()
        .iter()
        .map(|entry| fs::read_to_string(entry.join("tree/src/main.py")).unwrap())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(["two", "four"].iter().all(|kept| left.iter().any(|found| found == kept)), "{left:?}");
    let directory = house.directory(2);
    assert_eq!(fs::read_to_string(directory.root().join("src/main.py")).unwrap(), "two");
}

#[tokio::test]
async fn what_a_worker_left_half_made_is_removed_by_the_next_and_what_another_makes_is_not() {
    let house = House::of(Answers::new(|_| Ok(zip_with("one"))));
    let making = house.plan.directory.join("making");
    let (left, in_work) = (making.join("left"), making.join("in-work"));
    for folder in [&left, &in_work] {
        fs::create_dir_all(folder.join("entry/tree")).unwrap();
        fs::write(folder.join("lock"), "").unwrap();
    }
    let lock = fs::File::open(in_work.join("lock")).unwrap();
    lock.try_lock().unwrap();
    house.manager().open_cache().await;
    assert_eq!((left.exists(), in_work.exists()), (false, true));
    drop(lock);
    house.manager().open_cache().await;
    assert_eq!(house.making(), 0);
}
