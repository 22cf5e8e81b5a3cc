//! The output of containers: all of it, once and in order.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use longshore::logs::{Frame, Stream};
use longshore::runner::orchestrator::ContainerOrchestrator;

use longshore_testing::bench::{Bench, EngineProxy};

async fn frames(bench: &Bench, id: &str) -> Vec<Frame> {
    bench.engine.follow_logs(id).try_collect().await.unwrap()
}

fn bytes_of(frames: &[Frame], stream: Stream) -> Vec<u8> {
    frames.iter().filter(|f| f.stream == stream).flat_map(|f| f.bytes.clone()).collect()
}

#[tokio::test]
async fn compat_5_output_comes_in_order_of_arrival_and_byte_for_byte() {
    let bench = Bench::new().await;
    // The engine reads the two outputs apart: only a pause tells which was first.
    let program = "import os, time\n\
        for n in range(6):\n    os.write(1 + n % 2, b'%d\\n' % n)\n    time.sleep(0.3)\n\
        os.write(1, b'x' + '\u{e9}'.encode() * 20000 + b'\\n')\n\
        os.write(1, b'\\xff\\xfe\\0 bytes\\r\\n\\n')\n\
        os.write(1, b'no newline')\n";
    let id = bench.start(&bench.spec("logs", &["python", "-c", program])).await;
    let frames = frames(&bench, &id).await;
    let counted: Vec<_> = frames[..6].iter().map(|f| (f.stream, f.bytes.to_vec())).collect();
    let expected = (0..6).map(|n| {
        let stream = if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
        (stream, format!("{n}\n").into_bytes())
    });
    assert_eq!(counted, expected.collect::<Vec<_>>());

    let long = format!("0\n2\n4\nx{}\n", "\u{e9}".repeat(20000)).into_bytes();
    let whole = [&long[..], b"\xff\xfe\0 bytes\r\n\n", b"no newline"].concat();
    let came = bytes_of(&frames, Stream::Stdout);
    let same = came.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    let rest = |bytes: &[u8]| String::from_utf8_lossy(&bytes[same..]).chars().take(40).collect();
    let (came_rest, rest): (String, String) = (rest(&came), rest(&whole));
    assert_eq!(came_rest, rest, "after {same} bytes");
    assert_eq!(bytes_of(&frames, Stream::Stderr), b"1\n3\n5\n");
    let pieces: Vec<_> = frames.iter().filter(|f| f.bytes.len() > 100).collect();
    assert!(pieces.len() >= 3 && pieces.iter().all(|f| f.bytes.len() <= 16 * 1024));
    let newlines = pieces.iter().filter(|f| f.bytes.ends_with(b"\n")).count();
    assert_eq!(newlines, 1, "only the last piece of a line ends it");
}

#[tokio::test]
async fn the_last_words_of_a_program_are_never_missing() {
    let bench = Bench::new().await;
    for round in 0..5 {
        let spec = bench.shell(&round.to_string(), "echo first; printf last; printf words >&2");
        let id = bench.start(&spec).await;
        let frames = frames(&bench, &id).await;
        assert_eq!(bytes_of(&frames, Stream::Stdout), b"first\nlast", "round {round}");
        assert_eq!(bytes_of(&frames, Stream::Stderr), b"words", "round {round}");
    }
}

#[tokio::test]
async fn nothing_is_missing_and_nothing_repeated_when_the_engine_rotates_its_log() {
    let bench = Bench::new().await;
    // Beyond the size of the engine's log file, once in one go and once with pauses.
    for (suffix, pause) in [("fast", 0.0), ("slow", 0.05)] {
        let program = format!(
            "import sys, time\n\
            for n in range(9600):\n    \
                sys.stdout.buffer.write(b'%07d' % n + b'x' * 8184 + b'\\n')\n    \
                if n % 400 == 0: time.sleep({pause})\n"
        );
        let id = bench.start(&bench.spec(suffix, &["python", "-c", &program])).await;
        let mut output = bench.engine.follow_logs(&id);
        let (mut line, mut numbers) = (Vec::new(), Vec::new());
        while let Some(frame) = output.try_next().await.unwrap() {
            line.extend_from_slice(&frame.bytes);
            if line.ends_with(b"\n") {
                assert_eq!(line.len(), 8192, "{suffix}: after {:?}", numbers.last());
                numbers.push(String::from_utf8_lossy(&line[..7]).parse::<usize>().unwrap());
                line.clear();
            }
        }
        let wrong = (0..9600).zip(&numbers).find(|(expected, number)| expected != *number);
        assert_eq!((wrong, numbers.len()), (None, 9600), "{suffix}");
    }
}

/// Runs a container that says 12,000 numbers, more than are remembered to know a repetition by, with a
/// pause half-way, and reads its output while its end is waited for.
async fn all_comes_beside_a_wait(bench: &Bench, name: &str, pause: f64) {
    let script = format!(
        "echo begun >&2; seq 1 6000; sleep {pause}; seq 6001 12000; echo over >&2; printf last"
    );
    let id = bench.start(&bench.shell(name, &script)).await;
    let (ended, frames) = tokio::join!(bench.engine.wait(&id), frames(bench, &id));
    assert_eq!(ended.unwrap().exit_code, Some(0), "{name}");
    let numbers: Vec<_> = (1..=12_000).map(|number| number.to_string()).collect();
    let whole = format!("{}\nlast", numbers.join("\n"));
    let came = bytes_of(&frames, Stream::Stdout);
    let same = came.iter().zip(whole.bytes()).take_while(|(a, b)| **a == *b).count();
    assert!(came == whole.as_bytes(), "{name}: {} bytes, wrong after {same}", came.len());
    assert_eq!(bytes_of(&frames, Stream::Stderr), b"begun\nover\n", "{name}");
    assert!(frames.iter().all(|frame| !frame.after_gap), "{name}");
}

#[tokio::test]
async fn all_output_comes_once_and_in_order_while_the_end_is_waited_for_as_well() {
    let bench = Bench::new().await;
    for round in 0..5 {
        // Ended before its output is looked at, about then, just after that, and long after.
        let names = ["soon", "then", "after", "late"].map(|name| format!("{name}-{round}"));
        let runs = names.iter().zip([0.0, 0.2, 0.3, 1.0]);
        let runs = runs.map(|(name, pause)| all_comes_beside_a_wait(&bench, name, pause));
        futures_util::future::join_all(runs).await;
    }
}

#[tokio::test]
async fn a_second_look_at_the_logs_gives_the_same_frames() {
    let bench = Bench::new().await;
    let id = bench.start(&bench.shell("twice", "seq 1 3000")).await;
    let during = frames(&bench, &id).await;
    bench.engine.wait(&id).await.unwrap();
    assert_eq!(during.len(), 3000);
    assert_eq!(frames(&bench, &id).await, during);
    assert_eq!(bench.engine.get_logs(&id, Some(2)).await.unwrap(), "2999\n3000\n");
}

#[tokio::test]
async fn a_log_goes_on_where_it_was_when_an_engine_that_was_away_is_back() {
    let mut proxy = EngineProxy::new().await;
    let bench = Bench::with(&proxy.settings()).await;
    let counts = "n=0; while [ $n -lt 60 ]; do n=$((n+1)); echo $n; sleep 0.1; done";
    let id = bench.start(&bench.shell("cut", counts)).await;
    let mut output = bench.engine.follow_logs(&id);
    let mut frames = vec![output.next().await.unwrap().unwrap()];
    proxy.cut();
    let cut = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        proxy.restore();
    };
    let (rest, ()) = tokio::join!(output.try_collect::<Vec<_>>(), cut);
    frames.extend(rest.unwrap());
    let output = String::from_utf8(bytes_of(&frames, Stream::Stdout)).unwrap();
    let numbers: Vec<u32> = output.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
    assert!(frames.iter().all(|frame| !frame.after_gap));
}
