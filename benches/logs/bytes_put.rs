//! Bytes to the store for each byte of log, over a day.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use longshore::job::Entrypoint;
use longshore::logs::{Frame, LogCollector, LogSource, Mask, Stream};
use longshore::settings::{Loader, LogSettings, Reader, Sources};
use longshore::storage::{Bucket, Condition, Download, ETag, Object, ObjectStore, StoreError};
use tokio_stream::wrappers::ReceiverStream;

use crate::{float, row};

const TICK: Duration = Duration::from_secs(30);

const TICKS: u32 = 24 * 60 * 2;

/// Lines in a tick, and bytes of text in one.
const LINES: u32 = 5;

const TEXT: &str =
    "BTC-EUR bid 61000.5 ask 61001.0 position 0.25 pnl 12.75 signal hold latency_ms 41";

/// A store in memory that counts what is put.
#[derive(Default)]
struct Counting {
    objects: Mutex<BTreeMap<String, (Bytes, u64)>>,
    put: Mutex<(u64, u64)>,
}

impl Counting {
    /// Bytes that were put so far, and how often.
    fn so_far(&self) -> (u64, u64) {
        *self.put.lock().unwrap()
    }
}

/// Simulates the day of one bot, in ticks; prints the table.
pub(crate) fn measure() {
    let ours = Arc::new(Counting::default());
    let quarters = paused(simulate(Arc::clone(&ours)));
    let others = Counting::default();
    let rewritten = paused(rewrite(&others));
    println!(
        "\nBytes put for each byte of log: {TICKS} ticks of {} s, {LINES} lines a tick\n",
        TICK.as_secs()
    );
    let head = ["1st", "2nd", "3rd", "4th", "day"].map(str::to_owned);
    row("quarter of the day", &head, "");
    row("chunks (Longshore)", &ratios(&quarters.chunks, quarters.logged), "×");
    row("read, append, write the day at each tick", &ratios(&rewritten, quarters.logged), "×");
    let whole = float(quarters.with_compaction) / float(quarters.logged);
    row("chunks and compaction at the end (Longshore)", &[blank(4), format!("{whole:.3}")], "×");
    row(
        "the same for each byte that the bot wrote",
        &[blank(4), format!("{:.3}", float(quarters.with_compaction) / float(quarters.written))],
        "×",
    );
    row("PUTs (Longshore)", &[blank(4), quarters.puts.to_string()], "");
}

fn blank(columns: usize) -> String {
    " ".repeat(10 * (columns.max(1) - 1))
}

/// Of each quarter and of the whole, against the log's bytes in it.
fn ratios(put: &[u64; 4], logged: u64) -> Vec<String> {
    let quarter = float(logged) / 4.0;
    let each = put.iter().map(|bytes| format!("{:.3}", float(*bytes) / quarter));
    let all: u64 = put.iter().sum();
    each.chain([format!("{:.3}", float(all) / float(logged))]).collect()
}

struct Day {
    /// Of each quarter.
    chunks: [u64; 4],
    with_compaction: u64,
    puts: u64,
    /// Bytes of log, with time and stream of each line.
    logged: u64,
    /// Bytes that the bot wrote.
    written: u64,
}

fn paused<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work)
}

async fn simulate(store: Arc<Counting>) -> Day {
    let collector = LogCollector::new(Arc::clone(&store) as Arc<dyn ObjectStore>, settings());
    collector.start();
    let (send, frames) = tokio::sync::mpsc::channel(64);
    let frames = ReceiverStream::new(frames).map(Ok::<Frame, String>).boxed();
    let handle = collector.attach(source(), frames, None);
    let (mut chunks, mut before) = ([0; 4], 0);
    for (quarter, put) in chunks.iter_mut().enumerate() {
        let first = u32::try_from(quarter).unwrap() * TICKS / 4;
        for tick in first..first + TICKS / 4 {
            for frame in frames_of(tick) {
                send.send(frame).await.unwrap();
            }
            tokio::time::sleep(TICK).await;
        }
        let (bytes, _) = store.so_far();
        *put = bytes - before;
        before = bytes;
    }
    drop(send);
    let summary = handle.finish(Duration::from_mins(1)).await;
    assert_eq!((summary.degraded, summary.lines), (None, u64::from(TICKS * LINES)));
    let (with_compaction, puts) = store.so_far();
    let logged = u64::from(TICKS * LINES) * line(0).len() as u64;
    Day { chunks, with_compaction, puts, logged, written: summary.bytes }
}

/// The way that each tick reads the day's object, appends, and writes it whole.
async fn rewrite(store: &Counting) -> [u64; 4] {
    let (mut put, mut before) = ([0; 4], 0);
    for tick in 0..TICKS {
        let key = "logs/bot/day.log";
        let mut day = match store.get(Bucket::Logs, key, u64::MAX).await {
            Ok(object) => object.bytes.to_vec(),
            Err(_) => Vec::new(),
        };
        (0..LINES).for_each(|number| day.extend_from_slice(line(tick * LINES + number).as_bytes()));
        store.put(Bucket::Logs, key, day.into(), "text/plain", Condition::None).await.unwrap();
        let (bytes, _) = store.so_far();
        put[usize::try_from(tick / (TICKS / 4)).unwrap()] += bytes - before;
        before = bytes;
    }
    put
}

/// A line as it is stored.
fn line(number: u32) -> String {
    format!("2026-11-22T10:00:00.{number:09}Z stdout {TEXT}\n")
}

fn frames_of(tick: u32) -> Vec<Frame> {
    // Of today, for a past day would be compacted at once.
    let day = SignedDuration::from_hours(24);
    let now = Timestamp::now();
    let begun = now - SignedDuration::from_secs(now.as_second() % day.as_secs());
    let at = |number: u32| {
        let nanos = i64::from(tick * LINES + number);
        begun + SignedDuration::from_nanos(nanos)
    };
    let frame = |number| Frame {
        stream: Stream::Stdout,
        time: at(number),
        bytes: Bytes::from(format!("{TEXT}\n")),
        after_gap: false,
    };
    (0..LINES).map(frame).collect()
}

fn source() -> LogSource {
    LogSource {
        job: "bot".parse().unwrap(),
        run: "run".parse().unwrap(),
        attempt: 1,
        entrypoint: Entrypoint::Bot,
        interval: TICK,
        terminating: false,
        resume: false,
        is_new_job: false,
        series_key: None,
        mask: Mask::default(),
    }
}

fn settings() -> LogSettings {
    LogSettings {
        interval: TICK,
        max_chunk_bytes: 1 << 20,
        max_buffer_bytes: 2 << 20,
        spool_dir: std::env::temp_dir(),
        max_container_spool_bytes: 0,
        max_spool_bytes: 0,
        ..Loader::new(Sources::default()).read(Reader::logs).unwrap()
    }
}

fn not_found(key: &str) -> StoreError {
    StoreError::NotFound { bucket: "logs".to_owned(), key: key.to_owned() }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn download_if_changed(
        &self,
        bucket: Bucket,
        key: &str,
        to: &Path,
        max_bytes: u64,
        _: Option<&ETag>,
    ) -> Result<Download, StoreError> {
        let object = self.get(bucket, key, max_bytes).await?;
        std::fs::write(to, &object.bytes).unwrap();
        Ok(Download::Done { bytes: object.bytes.len() as u64, etag: object.etag })
    }

    async fn get(&self, _: Bucket, key: &str, _: u64) -> Result<Object, StoreError> {
        let objects = self.objects.lock().unwrap();
        let (bytes, version) = objects.get(key).ok_or_else(|| not_found(key))?;
        Ok(Object { bytes: bytes.clone(), etag: ETag(version.to_string()) })
    }

    async fn put(
        &self,
        _: Bucket,
        key: &str,
        body: Bytes,
        _: &str,
        _: Condition,
    ) -> Result<ETag, StoreError> {
        let mut put = self.put.lock().unwrap();
        *put = (put.0 + body.len() as u64, put.1 + 1);
        self.objects.lock().unwrap().insert(key.to_owned(), (body, put.1));
        Ok(ETag(put.1.to_string()))
    }

    async fn upload(&self, _: Bucket, _: &str, _: &Path, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn list(&self, _: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        let objects = self.objects.lock().unwrap();
        Ok(objects.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    async fn delete(&self, _: Bucket, key: &str) -> Result<(), StoreError> {
        self.objects.lock().unwrap().remove(key);
        Ok(())
    }

    async fn delete_unchanged(
        &self,
        bucket: Bucket,
        key: &str,
        _: &ETag,
    ) -> Result<bool, StoreError> {
        self.delete(bucket, key).await.map(|()| true)
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn bucket_name(&self, _: Bucket) -> &'static str {
        "logs"
    }

    fn origin(&self, _: Bucket) -> String {
        "logs".to_owned()
    }
}
