use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::job::mask::Mask;
use crate::logs::line::{Assembler, CUT_MARK, StoredLine};
use crate::logs::{CursorTracker, Frame};

fn origin() -> Origin {
    Origin { run: "r".parse().unwrap(), attempt: 1 }
}

fn at(second: i64) -> Timestamp {
    let midnight: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
    Timestamp::from_second(midnight.as_second() + second).unwrap()
}

fn frame(stream: Stream, second: i64, text: &str) -> Frame {
    Frame {
        stream,
        time: at(second),
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        after_gap: false,
    }
}

/// Feeds frames as the collector does.
struct Session {
    assembler: Assembler,
    cutter: Cutter,
    tracker: CursorTracker,
}

impl Session {
    fn new(chunk: usize) -> Self {
        let assembler = Assembler::new(Mask::default());
        Self {
            assembler,
            cutter: Cutter::new(origin(), 0, chunk),
            tracker: CursorTracker::default(),
        }
    }

    fn push(&mut self, frame: &Frame) {
        let mut lines = Vec::new();
        self.assembler.push(frame, &mut lines);
        self.tracker.advance(frame);
        self.take(&lines);
    }

    fn take(&mut self, lines: &[Line]) {
        for line in lines {
            self.cutter.push(line);
        }
        if let Some(cursor) = self.tracker.now()
            && self.assembler.is_clean()
        {
            self.cutter.commit(self.assembler.frames(), cursor);
        }
    }

    fn cut(&mut self) {
        let mut lines = Vec::new();
        self.assembler.cut(&mut lines);
        self.take(&lines);
    }

    fn end(mut self) -> Vec<Chunk> {
        let mut lines = Vec::new();
        self.assembler.finish(&mut lines);
        self.take(&lines);
        self.cutter.seal();
        self.chunks()
    }

    fn chunks(&mut self) -> Vec<Chunk> {
        std::iter::from_fn(|| self.cutter.take()).collect()
    }
}

const ROOMY: usize = 1 << 20;

fn text(chunks: &[Chunk]) -> String {
    chunks.iter().map(|chunk| std::str::from_utf8(&chunk.bytes).unwrap()).collect()
}

/// What one stream wrote, from stored chunks; newlines but for those of cut lines.
fn written(chunks: &[Chunk], stream: Stream) -> String {
    let mut out = String::new();
    for line in text(chunks).lines().map(StoredLine::parse) {
        if line.stream == Some(stream) {
            match line.text.strip_suffix(CUT_MARK) {
                Some(text) => out.push_str(text),
                None => out.extend([line.text, "\n"]),
            }
        }
    }
    out
}

#[test]
fn a_chunk_ends_only_where_every_line_is_complete() {
    let mut session = Session::new(ROOMY);
    session.push(&frame(Stream::Stdout, 0, "a\n"));
    session.push(&frame(Stream::Stdout, 1, "begun "));
    session.push(&frame(Stream::Stderr, 2, "b\n"));
    session.cutter.seal();
    let ranges: Vec<_> =
        session.chunks().iter().map(|chunk| (chunk.range.first, chunk.range.last)).collect();
    assert_eq!(ranges, [(0, 0)]);
    session.push(&frame(Stream::Stdout, 3, "and ended\n"));
    let chunks = session.end();
    assert_eq!((chunks[0].range.first, chunks[0].range.last), (1, 3));
    assert_eq!(written(&chunks, Stream::Stdout), "begun and ended\n");
}

#[test]
fn a_chunk_never_spans_two_days_and_a_late_stamp_does_not_go_back() {
    let mut session = Session::new(ROOMY);
    for (second, text) in [(-2, "old\n"), (1, "new\n"), (-1, "late\n"), (2, "newer\n")] {
        session.push(&frame(Stream::Stdout, second, text));
    }
    let chunks = session.end();
    let days: Vec<_> = chunks.iter().map(|chunk| (chunk.day.to_string(), chunk.lines)).collect();
    assert_eq!(days, [("20261122".to_owned(), 1), ("20261123".to_owned(), 3)]);
}

#[test]
fn chunks_are_sealed_by_size() {
    let mut session = Session::new(100);
    for _ in 0..10 {
        session.push(&frame(Stream::Stdout, 0, "0123456789\n"));
    }
    let chunks = session.end();
    assert_eq!(chunks.len(), 10 / 2);
    assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= 100));
}

#[test]
fn a_chunk_knows_the_place_of_its_last_frame() {
    let mut session = Session::new(ROOMY);
    session.push(&frame(Stream::Stdout, 1, "a\n"));
    session.push(&frame(Stream::Stderr, 0, "b\n"));
    let end = session.end()[0].range.end;
    assert_eq!((end.stream, end.time, end.count, end.latest), (Stream::Stderr, at(0), 1, at(1)));
}

#[derive(Debug, Clone)]
struct Step {
    frame: Frame,
    cut: bool,
    seal: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    let step = (stream, -3i64..3, "[a-c]{0,3}", any::<bool>(), 0u8..8, 0u8..4).prop_map(
        |(stream, second, text, ended, cut, seal)| Step {
            frame: frame(stream, second, &format!("{text}{}", if ended { "\n" } else { "" })),
            cut: cut == 0,
            seal: seal == 0,
        },
    );
    proptest::collection::vec(step, 0..40)
}

fn run(session: &mut Session, steps: &[Step]) {
    for step in steps {
        if step.cut {
            session.cut();
        }
        session.push(&step.frame);
        if step.seal {
            session.cutter.seal();
        }
    }
}

fn written_by(steps: &[Step], stream: Stream) -> String {
    let mut out: String = steps
        .iter()
        .filter(|step| step.frame.stream == stream)
        .map(|step| std::str::from_utf8(&step.frame.bytes).unwrap())
        .collect();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

proptest! {
    #[test]
    fn chunks_put_together_are_the_output(steps in steps(), chunk in 20usize..200) {
        let mut session = Session::new(chunk);
        run(&mut session, &steps);
        let chunks = session.end();
        let mut next = 0;
        for chunk in &chunks {
            prop_assert_eq!(chunk.range.first, next);
            next = chunk.range.last + 1;
        }
        for stream in [Stream::Stdout, Stream::Stderr] {
            // The last line of a stream may have been cut, and so have no end.
            let (stored, sent) = (written(&chunks, stream), written_by(&steps, stream));
            prop_assert_eq!(stored.trim_end_matches('\n'), sent.trim_end_matches('\n'));
        }
    }
}
