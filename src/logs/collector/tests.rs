use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::logs::reader::{LogQuery, read};
use crate::logs::testing::{MemoryStore, Op};
use crate::logs::{LogSummary, Mask, Stream};
use crate::settings::{Loader, Reader, Sources};
use crate::storage::Bucket;

const SOON: Duration = Duration::from_mins(1);

fn settings() -> LogSettings {
    LogSettings {
        max_buffer_bytes: 8 << 20,
        max_memory_bytes: 64 << 20,
        spool_dir: std::env::temp_dir(),
        max_container_spool_bytes: 0,
        max_spool_bytes: 0,
        ..Loader::new(Sources::default()).read(Reader::logs).unwrap()
    }
}

struct Fixture {
    store: Arc<MemoryStore>,
    collector: LogCollector,
}

impl Fixture {
    fn new(settings: LogSettings) -> Self {
        let store = Arc::new(MemoryStore::default());
        let collector = collector(&store, settings);
        Self { store, collector }
    }

    /// Attaches to a container whose output goes on.
    fn open(&self, source: LogSource, live: Option<LiveTap>) -> (mpsc::Sender<Frame>, LogHandle) {
        let (send, frames) = mpsc::channel(16);
        let frames = ReceiverStream::new(frames).map(Ok::<_, String>).boxed();
        (send, self.collector.attach(source, frames, live))
    }

    /// Attaches to a container that has ended, and finishes.
    async fn whole(&self, source: LogSource, frames: Vec<Frame>) -> LogSummary {
        let frames = stream::iter(frames).map(Ok::<_, String>).boxed();
        self.collector.attach(source, frames, None).finish(SOON).await
    }

    async fn log(&self, job: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let sink = &mut |line: crate::logs::StoredLine<'_>| {
            lines.push(line.text.to_owned());
            std::ops::ControlFlow::Continue(())
        };
        read(&*self.store, &job.parse().unwrap(), &LogQuery::default(), sink).await.unwrap();
        lines
    }

    /// The chunks that were asked to be stored, with repeats.
    fn chunk_puts(&self) -> Vec<String> {
        let puts = self.store.asked(Op::Put).into_iter();
        puts.filter(|key| key.contains(".1.") && !key.contains("done")).collect()
    }
}

fn collector(store: &Arc<MemoryStore>, settings: LogSettings) -> LogCollector {
    let collector = LogCollector::new(Arc::clone(store) as Arc<dyn ObjectStore>, settings);
    collector.start();
    collector
}

fn source(job: &str, terminating: bool) -> LogSource {
    LogSource {
        job: job.parse().unwrap(),
        run: "r".parse().unwrap(),
        attempt: 1,
        entrypoint: crate::job::Entrypoint::Bot,
        interval: Duration::from_secs(30),
        terminating,
        resume: false,
        is_new_job: false,
        series_key: Some(format!("{job}/r/series/1.jsonl")),
        mask: Mask::default(),
    }
}

fn frame(text: &str) -> Frame {
    let (stream, time) = (Stream::Stdout, Timestamp::now());
    Frame { stream, time, bytes: Bytes::copy_from_slice(text.as_bytes()), after_gap: false }
}

/// When every test of this process began: what comes again has to carry the same stamps.
static BEGUN: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);

fn frames(count: usize) -> Vec<Frame> {
    let numbered = |number: usize| {
        let offset = SignedDuration::from_nanos(i64::try_from(number).unwrap());
        Frame { time: *BEGUN + offset, ..frame(&format!("{number}\n")) }
    };
    (0..count).map(numbered).collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_run_leaves_its_daily_log_its_whole_output_and_its_tail() {
    let fixture = Fixture::new(settings());
    let mut output = frames(2);
    output.push(Frame { stream: Stream::Stderr, ..frame("no newline") });
    let summary = fixture.whole(source("j", true), output).await;
    assert_eq!((summary.lines, summary.bytes, summary.degraded), (3, 14, None));
    assert_eq!(summary.tail, "0\n1\nno newline");
    let whole = fixture.store.text(Bucket::Results, &summary.output_key.unwrap());
    assert_eq!(whole.as_deref(), Some("0\n1\nno newline"));
    assert_eq!(fixture.log("j").await, ["0", "1", "no newline"]);
    assert_eq!(fixture.store.keys(".log"), summary.log_keys);
}

/// compat.md 5: output was cut at 1,000 lines, and a tick asked for the last 100.
#[tokio::test(start_paused = true)]
async fn compat_5_thousands_of_lines_are_stored_whole_and_once() {
    let fixture = Fixture::new(settings());
    let summary = fixture.whole(source("j", true), frames(5000)).await;
    assert_eq!(summary.lines, 5000);
    assert_eq!(fixture.log("j").await, numbers(0..5000));
    let whole = fixture.store.text(Bucket::Results, "j/logs.txt").unwrap();
    assert_eq!(whole.lines().collect::<Vec<_>>(), numbers(0..5000));
}

/// compat.md 7: each tick rewrote the whole object.
#[tokio::test(start_paused = true)]
async fn compat_7_a_tick_stores_only_what_is_new_and_an_empty_one_nothing() {
    let fixture = Fixture::new(settings());
    let (send, _handle) = fixture.open(source("j", false), None);
    for tick in 0..3 {
        send.send(frame(&format!("{tick}\n"))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(31)).await;
    }
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(fixture.chunk_puts().len(), 3);
    assert_eq!(fixture.store.asked(Op::Put).len(), 3);
    assert_eq!(fixture.log("j").await, numbers(0..3));
}

/// compat.md 5: there was no flush at stop.
#[tokio::test(start_paused = true)]
async fn compat_5_stopping_the_collector_stores_what_waits_and_the_next_worker_goes_on_exactly() {
    let fixture = Fixture::new(settings());
    let (send, handle) = fixture.open(source("j", false), None);
    for frame in frames(3) {
        send.send(frame).await.unwrap();
    }
    send.send(frame("begun ")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fixture.collector.stop(SOON).await);
    assert!(handle.finish(SOON).await.degraded.unwrap().contains("stopped"));
    assert_eq!(fixture.log("j").await, numbers(0..3));

    let next = LogCollector::new(Arc::clone(&fixture.store) as Arc<dyn ObjectStore>, settings());
    let mut all = frames(3);
    all.extend([frame("begun "), frame("and ended\n")]);
    let all = stream::iter(all).map(Ok::<_, String>).boxed();
    let resumed = LogSource { resume: true, ..source("j", false) };
    let summary = next.attach(resumed, all, None).finish(SOON).await;
    assert_eq!(summary.lines, 4);
    assert_eq!(fixture.log("j").await, ["0", "1", "2", "begun and ended"]);
}

#[tokio::test(start_paused = true)]
async fn dropped_output_of_the_engine_is_reported_and_the_rest_is_complete() {
    for (stored, thrown_away) in [(10, 5), (10, 10), (10, 14), (0, 3)] {
        let fixture = Fixture::new(settings());
        let (send, handle) = fixture.open(source("j", false), None);
        for frame in frames(stored) {
            send.send(frame).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(31)).await;
        assert!(fixture.collector.stop(SOON).await);
        drop(handle);

        let next = Fixture { collector: collector(&fixture.store, settings()), ..fixture };
        let left = frames(20).split_off(thrown_away);
        let resumed = LogSource { resume: true, ..source("j", false) };
        let summary = next.whole(resumed, left).await;
        let mut expected = numbers(0..stored);
        // What was not stored and is not there any more cannot be told where nothing was stored.
        let is_told = stored > 0 && thrown_away > stored - 1;
        expected.extend(is_told.then(|| crate::logs::LOST_NOTICE.to_owned()));
        expected.extend(numbers(stored.max(thrown_away)..20));
        assert_eq!(next.log("j").await, expected, "{stored} stored, {thrown_away} thrown away");
        assert_eq!(summary.degraded.is_some(), is_told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_output_is_reported_at_its_place() {
    let fixture = Fixture::new(settings());
    let mut output = frames(4);
    output[2].after_gap = true;
    let summary = fixture.whole(source("j", false), output).await;
    assert_eq!(fixture.log("j").await, ["0", "1", crate::logs::LOST_NOTICE, "2", "3"]);
    assert!(summary.degraded.is_some());
}

#[tokio::test(start_paused = true)]
async fn secrets_are_seen_neither_in_the_log_nor_in_the_whole_output_nor_in_the_tail() {
    let fixture = Fixture::new(settings());
    let mask = Mask::new(["of-the-worker", "hunter22"]);
    let mine = LogSource { mask, ..source("j", true) };
    let (live, mut lines) = mpsc::channel(16);
    let (send, handle) = fixture.open(mine, Some(live));
    for text in ["a hunt", "er22 b\n", "of-the-worker\n", "prompt: hunter"] {
        send.send(frame(text)).await.unwrap();
    }
    // Over several ticks the open line is cut and stored.
    tokio::time::sleep(Duration::from_secs(95)).await;
    send.send(frame("22\n")).await.unwrap();
    drop(send);
    let summary = handle.finish(SOON).await;
    let mut seen = fixture.log("j").await.join("\n");
    seen.push_str(&summary.tail);
    seen.push_str(&fixture.store.text(Bucket::Results, "j/logs.txt").unwrap());
    while let Ok(line) = lines.try_recv() {
        seen.push_str(&line.text);
    }
    for part in ["hunter22", "hunter", "of-the-worker"] {
        assert!(!seen.contains(part), "{part} in {seen}");
    }
    assert_eq!(summary.tail, "a [masked] b\n[masked]\nprompt: [masked]\n");
}

#[tokio::test(start_paused = true)]
async fn a_slow_container_delays_no_other() {
    let fixture = Fixture::new(settings());
    fixture.store.slow_down("logs/slow", Duration::from_secs(100));
    let (slow, _slow_handle) = fixture.open(source("slow", false), None);
    let (quick, _quick_handle) = fixture.open(source("quick", false), None);
    for send in [&slow, &quick] {
        send.send(frame("0\n")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert_eq!(fixture.store.keys(".log").len(), 1);
    assert_eq!(fixture.log("quick").await, ["0"]);
    // Ticks do not overlap: while one PUT is on its way, no second one of that container begins.
    slow.send(frame("1\n")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(fixture.chunk_puts().iter().filter(|key| key.contains("slow")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn output_beyond_the_limit_is_counted_and_the_limit_is_reported() {
    let fixture = Fixture::new(LogSettings { max_output_bytes: 4, tail_bytes: 4, ..settings() });
    let summary = fixture.whole(source("j", true), frames(9)).await;
    assert_eq!((summary.lines, summary.bytes, summary.truncated), (9, 18, true));
    assert_eq!(summary.tail, "7\n8\n");
    let notice = "[longshore] output capped at 4 bytes";
    let whole = fixture.store.text(Bucket::Results, "j/logs.txt").unwrap();
    assert_eq!(whole, format!("0\n1\n{notice}\n"));
    assert_eq!(fixture.log("j").await, ["0", "1", notice]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_stays_open_does_not_hold_up_the_other_stream() {
    let fixture = Fixture::new(settings());
    let (send, _handle) = fixture.open(source("j", false), None);
    send.send(frame("prompt> ")).await.unwrap();
    send.send(Frame { stream: Stream::Stderr, ..frame("0\n") }).await.unwrap();
    tokio::time::sleep(Duration::from_secs(95)).await;
    let cut = format!("prompt> {}", crate::logs::CUT_MARK);
    assert_eq!(fixture.log("j").await, ["0", &cut]);
}

#[tokio::test(start_paused = true)]
async fn a_tap_gets_every_line_and_a_stuck_one_does_not_stop_the_timer() {
    let fixture = Fixture::new(settings());
    let (live, mut lines) = mpsc::channel(1);
    let (send, handle) = fixture.open(source("j", false), Some(live));
    let sender = async {
        for frame in frames(100) {
            send.send(frame).await.unwrap();
        }
        drop(send);
    };
    let reader = async {
        tokio::time::sleep(Duration::from_secs(35)).await;
        assert_eq!(fixture.chunk_puts().len(), 1);
        let mut got = Vec::new();
        while let Some(line) = lines.recv().await {
            got.push(line.text);
            if got.len() == 100 {
                break;
            }
        }
        got
    };
    let ((), got) = tokio::join!(sender, reader);
    assert_eq!(got, numbers(0..100));
    assert_eq!(handle.finish(SOON).await.lines, 100);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_does_not_end_is_given_up_in_time() {
    let fixture = Fixture::new(settings());
    let (send, handle) = fixture.open(source("j", true), None);
    send.send(frame("0\n")).await.unwrap();
    let begun = Instant::now();
    let summary = handle.finish(SOON).await;
    assert!(begun.elapsed() <= SOON);
    assert!(summary.degraded.unwrap().contains("did not end in time"));
    assert_eq!(fixture.log("j").await, ["0"]);
}

#[tokio::test(start_paused = true)]
async fn a_past_day_is_compacted_while_the_container_runs_on() {
    let fixture = Fixture::new(settings());
    let (send, _handle) = fixture.open(source("j", false), None);
    let time: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    for text in ["0\n", "1\n"] {
        send.send(Frame { time, ..frame(text) }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(35)).await;
    }
    for text in ["2\n", "3\n"] {
        send.send(Frame { time, ..frame(text) }).await.unwrap();
        tokio::time::sleep(Duration::from_secs(35)).await;
    }
    tokio::time::sleep(Duration::from_mins(6)).await;
    assert_eq!(fixture.store.keys(".log"), ["logs/j/20260102.log"]);
    assert_eq!(fixture.log("j").await, numbers(0..4));
    let written = fixture.store.asked(Op::Put).into_iter().filter(|key| key.ends_with("02.log"));
    assert_eq!(written.count(), 2, "a past day is not written anew for each line");
}

mod heard;
mod killed;
mod listened;
mod outages;
mod series;
mod short;
