//! Logs in real stores: stored on a timer, resumed by another worker, compacted, read back.

mod follow;
mod rotated;
mod secrets;
mod soak;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use longshore::job::Entrypoint;
use longshore::logs::{
    Day, Frame, LogCollector, LogQuery, LogSource, Mask, StoredLine, Stream, daily_key, read,
};
use longshore::settings::{Loader, LogSettings, Reader, Sources};
use longshore::storage::{Bucket, DirectoryStore, ObjectStore, S3Store};

use longshore_testing::s3::{settings, unique};

const SOON: Duration = Duration::from_secs(30);

fn log_settings() -> LogSettings {
    LogSettings {
        interval: Duration::from_secs(1),
        max_chunk_bytes: 4 << 10,
        max_buffer_bytes: 64 << 10,
        max_memory_bytes: 1 << 20,
        spool_dir: std::env::temp_dir(),
        max_container_spool_bytes: 1 << 20,
        max_spool_bytes: 1 << 20,
        max_output_bytes: 1 << 20,
        tail_bytes: 100,
        ..Loader::new(Sources::default()).read(Reader::logs).unwrap()
    }
}

fn frames(count: usize) -> Vec<Frame> {
    let frame = |number| Frame {
        stream: if number % 3 == 0 { Stream::Stderr } else { Stream::Stdout },
        time: Timestamp::now(),
        bytes: Bytes::from(format!("{number}\n")),
        after_gap: false,
    };
    (0..count).map(frame).collect()
}

/// The stored lines of a job, each with where it was written.
async fn stored_lines(store: &dyn ObjectStore, job: &str) -> Vec<(Stream, String)> {
    let mut lines = Vec::new();
    let sink = &mut |line: StoredLine<'_>| {
        lines.push((line.stream.unwrap(), line.text.to_owned()));
        ControlFlow::Continue(())
    };
    read(store, &job.parse().unwrap(), &LogQuery::default(), sink).await.unwrap();
    lines
}

async fn log(store: &dyn ObjectStore, job: &str) -> Vec<String> {
    stored_lines(store, job).await.into_iter().map(|(_, text)| text).collect()
}

/// A bot writes, its worker goes, another one attaches, the bot ends.
async fn a_log_survives_its_worker(store: Arc<dyn ObjectStore>) {
    let job = unique("log");
    let source = LogSource {
        job: job.parse().unwrap(),
        run: "run-1".parse().unwrap(),
        attempt: 1,
        entrypoint: Entrypoint::Bot,
        interval: Duration::from_secs(1),
        terminating: true,
        resume: false,
        is_new_job: false,
        series_key: None,
        mask: Mask::default(),
    };
    let written = frames(500);
    let first = LogCollector::new(Arc::clone(&store), log_settings());
    first.start();
    let begun = stream::iter(written[..200].to_vec()).map(Ok::<_, String>);
    let handle = first.attach(source.clone(), begun.chain(stream::pending()).boxed(), None);
    while log(&*store, &job).await.len() < 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(first.stop(SOON).await);
    drop(handle);

    let second = LogCollector::new(Arc::clone(&store), log_settings());
    second.start();
    let whole = stream::iter(written).map(Ok::<_, String>).boxed();
    let summary =
        second.attach(LogSource { resume: true, ..source }, whole, None).finish(SOON).await;
    assert_eq!((summary.lines, summary.degraded), (500, None));

    let numbers: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    assert_eq!(log(&*store, &job).await, numbers);
    let output_key = summary.output_key.unwrap();
    let output = store.get(Bucket::Results, &output_key, 1 << 20).await.unwrap().bytes;
    assert_eq!(std::str::from_utf8(&output).unwrap().lines().collect::<Vec<_>>(), numbers);

    let today = daily_key(&job.parse().unwrap(), Day::of(Timestamp::now()));
    assert_eq!(summary.log_keys.last(), Some(&today));
    let keys = store.list(Bucket::Logs, &format!("logs/{job}/")).await.unwrap();
    let is_log = |key: &&String| Path::new(key).extension().is_some_and(|end| end == "log");
    assert_eq!(keys.iter().filter(is_log).count(), summary.log_keys.len(), "{keys:?}");
    for key in keys {
        store.delete(Bucket::Logs, &key).await.unwrap();
    }
    store.delete(Bucket::Results, &output_key).await.unwrap();
}

#[tokio::test]
async fn a_log_in_s3_survives_its_worker() {
    let store = S3Store::new(&settings()).unwrap();
    store.ensure_buckets().await.unwrap();
    a_log_survives_its_worker(Arc::new(store)).await;
}

#[tokio::test]
async fn a_log_in_a_directory_survives_its_worker() {
    let dir = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(dir.path());
    store.ensure_buckets().await.unwrap();
    a_log_survives_its_worker(Arc::new(store)).await;
}
