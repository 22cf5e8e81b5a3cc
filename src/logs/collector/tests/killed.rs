//! A worker that is killed at any moment, by dropping its runtime with everything in it: nothing is
//! lost, nothing repeated, whatever was on its way.

use proptest::prelude::*;

use super::*;
use crate::logs::{CUT_MARK, StoredLine};

/// Pieces of lines of both outputs, stamped as an engine does it: the pieces of a line share their
/// stamp, each output goes forward, and the two are not quite in order.
fn output() -> impl Strategy<Value = Vec<Frame>> {
    let piece = (any::<bool>(), "[a-c]{0,3}", 0u8..4, 0i64..20);
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| {
        let (mut open, mut now) = ([None, None], *BEGUN);
        let mut frames = Vec::new();
        for (number, (is_error, text, ended, jitter)) in pieces.into_iter().enumerate() {
            now += SignedDuration::from_nanos(20);
            let stream = if is_error { Stream::Stderr } else { Stream::Stdout };
            let open = &mut open[stream as usize];
            let jitter = SignedDuration::from_nanos(jitter * i64::from(is_error));
            let time = *open.get_or_insert(now - jitter);
            let newline = if ended > 0 { "\n" } else { "" };
            if ended > 0 {
                *open = None;
            }
            let text = format!("{number}{text}{newline}");
            frames.push(Frame { stream, time, ..frame(&text) });
        }
        frames
    })
}

/// Runs a worker for so long, of its own time, and kills it then.
fn run_and_kill(store: &Arc<MemoryStore>, frames: &[Frame], resume: bool, millis: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let small = LogSettings { max_chunk_bytes: 200, ..settings() };
        let quick = LogSource { interval: Duration::from_secs(1), resume, ..source("j", false) };
        let paced = stream::iter(frames.to_vec()).then(|frame| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<_, String>(frame)
        });
        let collector = collector(store, small);
        let handle = collector.attach(quick, paced.chain(stream::pending()).boxed(), None);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(handle);
    });
    drop(runtime);
}

fn end(store: &Arc<MemoryStore>, frames: Vec<Frame>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let fixture = Fixture { store: Arc::clone(store), collector: collector(store, settings()) };
        let last = LogSource { resume: true, ..source("j", false) };
        let summary = fixture.whole(last, frames).await;
        assert_eq!((summary.dropped, summary.degraded), (0, None));
        let mut raw = Vec::new();
        let sink = &mut |line: StoredLine<'_>| {
            raw.push(line.raw.to_owned());
            std::ops::ControlFlow::Continue(())
        };
        read(&**store, &"j".parse().unwrap(), &LogQuery::default(), sink).await.unwrap();
        raw
    })
}

/// What one stream wrote, from stored lines; newlines but for those of cut lines.
fn written(lines: &[String], stream: Stream) -> String {
    let mut out = String::new();
    for line in lines.iter().map(|raw| StoredLine::parse(raw)) {
        if line.stream == Some(stream) {
            match line.text.strip_suffix(CUT_MARK) {
                Some(text) => out.push_str(text),
                None => out.extend([line.text, "\n"]),
            }
        }
    }
    out.trim_end_matches('\n').to_owned()
}

fn sent(frames: &[Frame], stream: Stream) -> String {
    let of_stream = frames.iter().filter(|frame| frame.stream == stream);
    let texts: String = of_stream.map(|frame| std::str::from_utf8(&frame.bytes).unwrap()).collect();
    texts.trim_end_matches('\n').to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// compat.md 5: lines were repeated or vanished.
    #[test]
    fn compat_5_a_worker_killed_at_any_moment_loses_and_repeats_nothing(
        frames in output(),
        lives in proptest::collection::vec((0u64..6000, 0u64..400, any::<bool>()), 1..4),
    ) {
        let store = Arc::new(MemoryStore::default());
        for (number, (millis, slow, compacts)) in lives.into_iter().enumerate() {
            // A kill finds a PUT before it is stored, or stored and its answer on the way.
            store.slow_down("logs/j", Duration::from_millis(slow));
            run_and_kill(&store, &frames, number > 0, millis);
            store.slow_down("none", Duration::ZERO);
            if compacts {
                let day = Day::of(*BEGUN);
                let job = "j".parse().unwrap();
                futures_util::future::FutureExt::now_or_never(compact(&*store, &job, day))
                    .unwrap()
                    .unwrap();
            }
        }
        let lines = end(&store, frames.clone());
        for stream in [Stream::Stdout, Stream::Stderr] {
            prop_assert_eq!(written(&lines, stream), sent(&frames, stream));
        }
    }
}
