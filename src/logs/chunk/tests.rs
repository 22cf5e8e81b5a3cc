use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::logs::Frame;
use crate::logs::key::{LogKey, next_seq};
use crate::logs::line::{Assembler, CUT_MARK, StoredLine};

fn origin() -> Origin {
    Origin { run: "r".parse().unwrap(), attempt: 1 }
}

fn at(second: i64) -> Timestamp {
    let midnight: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
    Timestamp::from_second(midnight.as_second() + second).unwrap()
}

fn frame(stream: Stream, second: i64, text: &str) -> Frame {
    Frame { stream, time: at(second), bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

/// Feeds frames as the collector does; `cut` ends open lines before the frame, `seal` after it.
struct Session {
    assembler: Assembler,
    cutter: Cutter,
    first: u64,
}

impl Session {
    fn new(first: u64, limits: CutterLimits) -> Self {
        Self { assembler: Assembler::new(), cutter: Cutter::new(origin(), first, limits), first }
    }

    fn push(&mut self, frame: &Frame, may_drop: bool) {
        let mut lines = Vec::new();
        let skipped = self.assembler.frames() < self.first;
        self.assembler.push(frame, &mut lines);
        if skipped {
            if self.assembler.frames() == self.first {
                self.assembler.cut(&mut lines);
            }
            return;
        }
        self.take(&lines, may_drop);
    }

    fn take(&mut self, lines: &[Line], may_drop: bool) {
        for line in lines {
            self.cutter.push(line, may_drop);
        }
        if self.assembler.is_clean() {
            self.cutter.commit(self.assembler.frames());
        }
    }

    fn cut(&mut self) {
        let mut lines = Vec::new();
        self.assembler.cut(&mut lines);
        self.take(&lines, false);
    }

    fn end(mut self) -> Vec<Chunk> {
        let mut lines = Vec::new();
        self.assembler.finish(&mut lines);
        self.take(&lines, false);
        self.cutter.seal();
        self.chunks()
    }

    fn chunks(&mut self) -> Vec<Chunk> {
        std::iter::from_fn(|| self.cutter.stored()).collect()
    }
}

const ROOMY: CutterLimits = CutterLimits { chunk: 1 << 20, buffer: 8 << 20 };

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
    let mut session = Session::new(0, ROOMY);
    session.push(&frame(Stream::Stdout, 0, "a\n"), false);
    session.push(&frame(Stream::Stdout, 1, "begun "), false);
    session.push(&frame(Stream::Stderr, 2, "b\n"), false);
    session.cutter.seal();
    let ranges: Vec<_> =
        session.chunks().iter().map(|chunk| (chunk.range.first, chunk.range.last)).collect();
    assert_eq!(ranges, [(0, 0)]);
    session.push(&frame(Stream::Stdout, 3, "and ended\n"), false);
    let chunks = session.end();
    assert_eq!((chunks[0].range.first, chunks[0].range.last), (1, 3));
    assert_eq!(written(&chunks, Stream::Stdout), "begun and ended\n");
}

#[test]
fn a_chunk_never_spans_two_days_and_a_late_stamp_does_not_go_back() {
    let mut session = Session::new(0, ROOMY);
    for (second, text) in [(-2, "old\n"), (1, "new\n"), (-1, "late\n"), (2, "newer\n")] {
        session.push(&frame(Stream::Stdout, second, text), false);
    }
    let chunks = session.end();
    let days: Vec<_> = chunks.iter().map(|chunk| (chunk.day.to_string(), chunk.lines)).collect();
    assert_eq!(days, [("20261122".to_owned(), 1), ("20261123".to_owned(), 3)]);
}

#[test]
fn chunks_are_sealed_by_size() {
    let mut session = Session::new(0, CutterLimits { chunk: 100, buffer: 1 << 20 });
    for _ in 0..10 {
        session.push(&frame(Stream::Stdout, 0, "0123456789\n"), false);
    }
    let chunks = session.end();
    assert_eq!(chunks.len(), 10 / 2);
    assert!(chunks.iter().all(|chunk| chunk.bytes.len() <= 100));
}

/// compat.md 8: the log degrades without the store, and says so.
#[test]
fn compat_8_what_does_not_fit_is_counted_and_the_gap_is_written_into_the_log() {
    let limits = CutterLimits { chunk: 50, buffer: 120 };
    let mut session = Session::new(0, limits);
    for number in 0..6 {
        session.push(&frame(Stream::Stdout, 0, &format!("{number}\n")), true);
    }
    assert_eq!(session.cutter.dropped(), 3);
    session.cutter.seal();
    let mut chunks = session.chunks();
    session.push(&frame(Stream::Stdout, 0, "6\n"), true);
    chunks.extend(session.end());
    let lines: Vec<_> =
        text(&chunks).lines().map(|raw| StoredLine::parse(raw).text.to_owned()).collect();
    let notice = "[longshore] 3 lines were dropped while the log store could not be reached";
    assert_eq!(lines, ["0", "1", "2", notice, "6"]);
    assert_eq!(chunks.last().unwrap().range.last, 6);
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
        if step.cut && session.assembler.frames() > session.first {
            session.cut();
        }
        session.push(&step.frame, false);
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
        let mut session = Session::new(0, CutterLimits { chunk, buffer: 1 << 20 });
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

    /// compat.md 5: lines were repeated or vanished.
    #[test]
    fn compat_5_resuming_after_any_number_of_stored_chunks_loses_and_repeats_nothing(
        steps in steps(),
        chunk in 20usize..200,
        died_after in 0usize..40,
        stored in 0usize..40,
    ) {
        let limits = CutterLimits { chunk, buffer: 1 << 20 };
        let mut first = Session::new(0, limits);
        run(&mut first, &steps[..died_after.min(steps.len())]);
        let mut chunks = first.chunks();
        chunks.truncate(stored);
        let keys: Vec<_> = chunks
            .iter().map(|chunk| LogKey::Chunk(chunk.day, chunk.range.clone())).collect();

        let mut second = Session::new(next_seq(&keys, &origin()), limits);
        run(&mut second, &steps);
        chunks.extend(second.end());
        for stream in [Stream::Stdout, Stream::Stderr] {
            let (stored, sent) = (written(&chunks, stream), written_by(&steps, stream));
            prop_assert_eq!(stored.trim_end_matches('\n'), sent.trim_end_matches('\n'));
        }
    }
}
