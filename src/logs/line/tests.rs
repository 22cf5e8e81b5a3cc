use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::logs::output::RawText;

fn frame(stream: Stream, bytes: &[u8]) -> Frame {
    Frame {
        stream,
        time: Timestamp::UNIX_EPOCH,
        bytes: Bytes::copy_from_slice(bytes),
        after_gap: false,
    }
}

fn assemble(frames: &[Frame]) -> Vec<Line> {
    let (mut assembler, mut lines) = (Assembler::new(Mask::default()), Vec::new());
    for frame in frames {
        assembler.push(frame, &mut lines);
    }
    assembler.finish(&mut lines);
    lines
}

fn texts(lines: &[Line]) -> Vec<(Stream, &str, Ending)> {
    lines.iter().map(|line| (line.stream, line.text.as_str(), line.ending)).collect()
}

/// compat.md 5: stdout and stderr were concatenated, so the order was lost.
#[test]
fn compat_5_lines_of_both_streams_keep_their_order_of_arrival() {
    let frames = [(Stream::Stdout, "1\n"), (Stream::Stderr, "2\n"), (Stream::Stdout, "3\n")]
        .map(|(stream, text)| frame(stream, text.as_bytes()));
    let lines = assemble(&frames);
    let order: Vec<_> = lines.iter().map(|line| (line.text.as_str(), line.seq)).collect();
    assert_eq!(order, [("1", 0), ("2", 1), ("3", 2)]);
}

#[test]
fn pieces_of_a_line_are_put_together_although_the_other_stream_writes_in_between() {
    let frames = [
        frame(Stream::Stdout, b"one "),
        frame(Stream::Stderr, b"oops\n"),
        frame(Stream::Stdout, b"line\n"),
        frame(Stream::Stderr, b"no newline"),
    ];
    assert_eq!(
        texts(&assemble(&frames)),
        [
            (Stream::Stderr, "oops", Ending::Newline),
            (Stream::Stdout, "one line", Ending::Newline),
            (Stream::Stderr, "no newline", Ending::End),
        ]
    );
}

#[test]
fn an_endless_line_is_cut_at_the_cap_and_not_through_a_character() {
    let text = format!("x{}", "é".repeat(MAX_LINE_BYTES));
    let lines = assemble(&[frame(Stream::Stdout, text.as_bytes())]);
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line.text.len() <= MAX_LINE_BYTES));
    assert_eq!(lines[0].ending, Ending::Cut);
    assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<String>(), text);
    let mut stored = Vec::new();
    lines[0].store_into(&mut stored);
    assert!(String::from_utf8(stored).unwrap().ends_with(&format!("{CUT_MARK}\n")));
}

#[test]
fn bytes_that_are_not_text_are_replaced() {
    let lines = assemble(&[frame(Stream::Stdout, b"a\xffb\n")]);
    assert_eq!(lines[0].text, "a\u{fffd}b");
}

#[test]
fn a_stored_line_comes_apart_again_and_a_foreign_one_is_all_text() {
    let line = Line {
        stream: Stream::Stderr,
        time: "2026-11-22T10:00:00.5Z".parse().unwrap(),
        text: " two  spaces ".to_owned(),
        ending: Ending::Newline,
        seq: 0,
    };
    let mut stored = Vec::new();
    line.store_into(&mut stored);
    let stored = String::from_utf8(stored).unwrap();
    assert_eq!(stored, "2026-11-22T10:00:00.500000000Z stderr  two  spaces \n");
    let parsed = StoredLine::parse(stored.trim_end_matches('\n'));
    assert_eq!((parsed.stream, parsed.text), (Some(Stream::Stderr), " two  spaces "));
    let foreign = StoredLine::parse("[info] an older log");
    assert_eq!((foreign.stream, foreign.text), (None, "[info] an older log"));
}

fn any_stream() -> impl Strategy<Value = Stream> {
    prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)]
}

#[test]
fn a_secret_is_masked_also_where_its_line_is_cut() {
    let mask = Mask::new(["hunter22"]);
    let (mut assembler, mut lines) = (Assembler::new(mask), Vec::new());
    for piece in ["pass: hun", "ter", "22 is it\n", "hunt", "ing\n", "h"] {
        assembler.push(&frame(Stream::Stdout, piece.as_bytes()), &mut lines);
        assembler.cut(&mut lines);
        assert!(assembler.is_clean());
    }
    assembler.finish(&mut lines);
    let (mut raw, mut text) = (RawText::default(), Vec::new());
    for line in &lines {
        raw.push(line, &mut text);
    }
    let masked = crate::logs::MASKED;
    assert_eq!(String::from_utf8(text).unwrap(), format!("pass: {masked} is it\nhunting\nh"));
}

proptest! {
    #[test]
    fn frames_cut_anywhere_give_the_same_lines(
        text in "[a-cé\n]{0,80}",
        sizes in proptest::collection::vec(1usize..6, 1..40),
    ) {
        let whole = assemble(&[frame(Stream::Stdout, text.as_bytes())]);
        let (mut rest, mut frames) = (text.as_bytes(), Vec::new());
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (head, tail) = rest.split_at((*size).min(rest.len()));
            frames.push(frame(Stream::Stdout, head));
            rest = tail;
        }
        let lines = assemble(&frames);
        prop_assert_eq!(texts(&lines), texts(&whole));
    }

    #[test]
    fn no_byte_of_a_stream_is_lost_or_repeated_wherever_lines_are_cut(
        pieces in proptest::collection::vec((any_stream(), "[a-c\n]{1,5}", any::<bool>()), 0..40),
    ) {
        let (mut assembler, mut lines) = (Assembler::new(Mask::default()), Vec::new());
        for (stream, text, cut) in &pieces {
            assembler.push(&frame(*stream, text.as_bytes()), &mut lines);
            if *cut {
                assembler.cut(&mut lines);
                prop_assert!(assembler.is_clean());
            }
        }
        assembler.finish(&mut lines);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let written: String = pieces
                .iter().filter(|piece| piece.0 == stream).map(|piece| piece.1.as_str()).collect();
            let (mut raw, mut text) = (RawText::default(), Vec::new());
            for line in lines.iter().filter(|line| line.stream == stream) {
                raw.push(line, &mut text);
            }
            prop_assert_eq!(String::from_utf8(text).unwrap(), written);
        }
    }
}
