mod inputs;
mod shared;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{CodeCaps, CodeError, CodeManager};
use crate::job::Job;
use crate::job::archive::{ArchiveCaps, Extracted};
use crate::runner::directory::{DirectoryError, JobDirectory};
use crate::storage::{Bucket, Condition, Download, ETag, Object, ObjectStore, StoreError};
use longshore_testing::hostile::zips::{RawEntry, file, folder, zip};

type Answer = fn(&str) -> Result<Vec<u8>, StoreError>;

type Answering = dyn Fn(&str) -> Result<Vec<u8>, StoreError> + Send + Sync;

/// A store that answers downloads, and counts them.
struct Answers {
    answer: Box<Answering>,
    /// How long an answer takes.
    delay: Duration,
    asked: AtomicUsize,
    /// Answers with the object itself.
    bodies: AtomicUsize,
}

impl Answers {
    fn new(answer: impl Fn(&str) -> Result<Vec<u8>, StoreError> + Send + Sync + 'static) -> Self {
        let (asked, bodies) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { answer: Box::new(answer), delay: Duration::ZERO, asked, bodies }
    }

    /// How many requests there were, and how many of them brought the object.
    fn counted(&self) -> (usize, usize) {
        (self.asked.load(Ordering::SeqCst), self.bodies.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl ObjectStore for Answers {
    async fn download_if_changed(
        &self,
        _: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
        known: Option<&ETag>,
    ) -> Result<Download, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = (self.answer)(key);
        tokio::time::sleep(self.delay).await;
        let bytes = answer?;
        if bytes.len() as u64 > max_bytes {
            return Err(StoreError::TooLarge { bucket: "b".into(), key: key.into(), max_bytes });
        }
        let etag = ETag(hex::encode(Sha256::digest(&bytes)));
        if known == Some(&etag) {
            return Ok(Download::Unchanged);
        }
        self.bodies.fetch_add(1, Ordering::SeqCst);
        fs::write(to, &bytes).unwrap();
        Ok(Download::Done { bytes: bytes.len() as u64, etag })
    }

    async fn get(&self, _: Bucket, _: &str, _: u64) -> Result<Object, StoreError> {
        unreachable!()
    }

    async fn put(
        &self,
        _: Bucket,
        _: &str,
        _: Bytes,
        _: &str,
        _: Condition,
    ) -> Result<ETag, StoreError> {
        unreachable!()
    }

    async fn upload(&self, _: Bucket, _: &str, _: &Path, _: &str) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn list(&self, _: Bucket, _: &str) -> Result<Vec<String>, StoreError> {
        unreachable!()
    }

    async fn delete(&self, _: Bucket, _: &str) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn delete_unchanged(&self, _: Bucket, _: &str, _: &ETag) -> Result<bool, StoreError> {
        unreachable!()
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn check(&self) -> Result<(), StoreError> {
        unreachable!()
    }

    fn bucket_name(&self, _: Bucket) -> &str {
        unreachable!()
    }

    fn origin(&self, bucket: Bucket) -> String {
        format!("store/{bucket:?}")
    }
}

pub(crate) fn job() -> Job {
    let executable = serde_json::from_value(serde_json::json!({
        "id": "bot-1",
        "runtime": "python3.11",
        "entrypoint": "bot",
        "entrypoint_files": {"bot": "src/main.py"},
        "file_path": "bot-1.zip",
        "config": {},
        "is_long_running": true,
        "persist_results": false,
    }));
    let bounds = crate::job::Bounds::default();
    Job::validate(executable.unwrap(), &bounds, Some("m")).unwrap()
}

fn good() -> Vec<u8> {
    zip(&[file("src/main.py", "x"), file("result.json", "{}"), folder("doc/")])
}

struct Fetched {
    temp: tempfile::TempDir,
    directory: JobDirectory,
    outcome: Result<Extracted, CodeError>,
}

/// Fetches the code for one run alone, and by way of an empty cache: it must be the same.
async fn fetch(answer: Answer, change: fn(&mut Job)) -> [Fetched; 2] {
    [fetch_with(false, answer, change).await, fetch_with(true, answer, change).await]
}

async fn fetch_with(is_shared: bool, answer: Answer, change: fn(&mut Job)) -> Fetched {
    let temp = tempfile::tempdir().unwrap();
    let mut job = job();
    change(&mut job);
    let directory = JobDirectory::new(temp.path(), "ns", &job.id, &job.run_id, 1);
    let caps = CodeCaps {
        max_archive_bytes: 10_000,
        archive: ArchiveCaps::new(20, 10_000),
        max_input_bytes: 10_000,
    };
    let plan = is_shared.then(|| shared::plan(temp.path()));
    let manager = CodeManager::new(Arc::new(Answers::new(answer)), caps).with_cache(plan);
    let outcome = manager.fetch_and_extract(&job, &directory).await;
    let outcome = outcome.map(|fetched| fetched.extracted);
    Fetched { temp, directory, outcome }
}

#[tokio::test]
async fn the_code_and_nothing_else_is_in_the_directory() {
    for fetched in fetch(|_| Ok(good()), |_| {}).await {
        let extracted = fetched.outcome.unwrap();
        assert_eq!((extracted.files, extracted.bytes, extracted.notes.len()), (1, 1, 1));
        assert!(fetched.directory.root().join("src/main.py").is_file());
        assert!(fetched.directory.root().join("doc").is_dir());
        assert!(!fetched.directory.root().join("result.json").exists());
        let beside = fs::read_dir(fetched.directory.root().parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1);
    }
}

#[tokio::test]
async fn compat_14_the_checksum_decides_when_it_is_given() {
    let right = |job: &mut Job| job.code_sha256 = Some(hex::encode(Sha256::digest(good())));
    for fetched in fetch(|_| Ok(good()), right).await {
        fetched.outcome.unwrap();
    }
    let wrong = |job: &mut Job| job.code_sha256 = Some("0".repeat(64));
    for fetched in fetch(|_| Ok(good()), wrong).await {
        let error = fetched.outcome.unwrap_err();
        assert!(matches!(error, CodeError::Checksum { .. }), "{error}");
    }
    // Also where the archive is bad as well.
    for fetched in fetch(|_| Ok(b"text".to_vec()), wrong).await {
        let error = fetched.outcome.unwrap_err();
        assert!(matches!(error, CodeError::Checksum { .. }), "{error}");
    }
}

#[tokio::test]
async fn compat_14_every_failure_is_distinct_and_leaves_no_file() {
    fn gone(key: &str) -> StoreError {
        StoreError::NotFound { bucket: "custom-bots".into(), key: key.into() }
    }
    let unavailable: Answer = |_| {
        Err(StoreError::Unavailable {
            endpoint: "store:9000".into(),
            action: "reading".into(),
            attempts: 5,
            reason: "no route".into(),
        })
    };
    let denied: Answer =
        |_| Err(StoreError::Denied { action: "reading".into(), reason: "403".into() });
    let local: Answer = |_| {
        let source = std::io::Error::other("no space left");
        Err(StoreError::LocalFile { action: "writing x".into(), source })
    };
    let symlink: Answer = |_| Ok(zip(&[RawEntry { mode: 0o120_777, ..file("l", "/") }]));
    let top_folder: Answer = |_| {
        let others = ["a.py", "b.py", "c.py", "d.py", "e.py"].map(|name| file(name, "x"));
        Ok(zip(&[&others[..], &[file("my-bot/src/main.py", "x")]].concat()))
    };
    let cases: [(Answer, bool, &str); 10] = [
        (|key| Err(gone(key)), true, r#"no object "bot-1.zip" in the bucket "custom-bots""#),
        (
            |_| Ok(vec![0; 10_001]),
            true,
            "\"bot-1.zip\" is larger than the 10000 bytes allowed (CODE_MAX_ARCHIVE_MB)",
        ),
        (|_| Ok(b"text".to_vec()), true, r#"the code "bot-1.zip" cannot be unpacked: the archive"#),
        (symlink, true, r#""l" is a symbolic link"#),
        (
            top_folder,
            true,
            r#""src/main.py" is not a file in the code "bot-1.zip"; there are "my-bot/src/main.py", "a.py", "b.py", "c.py", "d.py""#,
        ),
        (|_| Ok(zip(&[folder("src/main.py/")])), true, "there are none"),
        (|_| Err(StoreError::NoBucket { bucket: "b".into() }), false, "there is no bucket"),
        (denied, false, "the store refused reading"),
        (unavailable, false, "the store at store:9000 failed"),
        (local, false, "no space left"),
    ];
    for (answer, is_rejection, reason) in cases {
        for fetched in fetch(answer, |_| {}).await {
            let error = fetched.outcome.expect_err(reason);
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(error.is_rejection(), is_rejection, "{error}");
            let left = fs::read_dir(fetched.temp.path().join("ns")).unwrap();
            assert_eq!(left.count(), 0, "{error}");
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_in_use_is_left_alone() {
    let first = fetch_with(false, |_| Ok(good()), |_| {}).await;
    let caps =
        CodeCaps { max_archive_bytes: 1, archive: ArchiveCaps::new(1, 1), max_input_bytes: 1 };
    let manager = CodeManager::new(Arc::new(Answers::new(|_| unreachable!())), caps);
    let error = manager.fetch_and_extract(&job(), &first.directory).await.unwrap_err();
    assert!(matches!(error, CodeError::Directory(DirectoryError::Taken { .. })), "{error}");
    assert!(!error.is_rejection());
    assert!(first.directory.root().join("src/main.py").is_file());
}

#[tokio::test]
async fn a_script_is_found_in_whichever_form_the_zip_writes_its_accents() {
    let decomposed: Answer =
        |_| Ok(zip(&[file("stra\u{74}e\u{301}gie/gro\u{308}\u{df}e.py", "x")]));
    let change = |job: &mut Job| "strat\u{e9}gie/gr\u{f6}\u{df}e.py".clone_into(&mut job.script);
    for fetched in fetch(decomposed, change).await {
        fetched.outcome.unwrap();
        let script = fetched.directory.root().join("strat\u{e9}gie/gr\u{f6}\u{df}e.py");
        assert_eq!(fs::read_to_string(script).unwrap(), "x");
    }
}
