use amq_protocol::frame::{AMQPFrame, parse_frame};
use proptest::prelude::*;

use super::*;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind], &channel.to_be_bytes()[..], &size, payload, &[FRAME_END]].concat()
}

/// A content header with a message id.
fn header(channel: u16, body_size: u64, id: &[u8]) -> Vec<u8> {
    let length = u8::try_from(id.len()).unwrap();
    let size = body_size.to_be_bytes();
    let payload = [&[0, 60, 0, 0], &size[..], &[0, 0x80, length], id].concat();
    frame(HEADER, channel, &payload)
}

fn passed(filter: &mut Filter, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    filter.push(input, &mut out).unwrap();
    out
}

/// The frames as lapin reads them.
fn parsed(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).expect("lapin cannot read it");
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn only_header(bytes: &[u8]) -> amq_protocol::frame::AMQPContentHeader {
    let mut frames = parsed(bytes);
    match (frames.pop(), frames.is_empty()) {
        (Some(AMQPFrame::Header(_, header)), true) => header,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_lapin_can_read_passes_as_it_is() {
    let deliver = b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x01\0\x01x\x01k";
    let stream = [
        frame(METHOD, 1, deliver),
        header(1, 3, b"m"),
        frame(BODY, 1, b"{}\n"),
        frame(HEARTBEAT, 0, b""),
    ]
    .concat();
    assert_eq!(passed(&mut Filter::new(0), &stream), stream);
}

#[test]
fn a_body_passes_while_it_comes_and_a_header_once_it_is_whole() {
    let mut filter = Filter::new(0);
    let body = frame(BODY, 1, &[7; 1000]);
    assert_eq!(passed(&mut filter, &body[..500]), body[..500]);
    assert_eq!(passed(&mut filter, &body[500..]), body[500..]);
    let header = header(1, 3, b"m");
    assert_eq!(passed(&mut filter, &header[..header.len() - 1]), b"");
    assert_eq!(passed(&mut filter, &header[header.len() - 1..]), header);
}

#[test]
fn a_message_id_that_is_not_utf_8_reaches_lapin_escaped() {
    let out = passed(&mut Filter::new(0), &header(1, 3, b"\xff"));
    let id = only_header(&out).properties.message_id().clone();
    assert_eq!(id.unwrap().as_str(), r"\xff");
}

#[test]
fn a_body_that_is_too_large_never_arrives_and_the_next_message_does() {
    let mut filter = Filter::new(0);
    let size = 20 * 1024 * 1024;
    let out = passed(&mut filter, &header(1, size, b"m"));
    assert_eq!(only_header(&out).body_size, 0);
    let part = frame(BODY, 1, &vec![b'x'; 128 * 1024 - 8]);
    let other = frame(BODY, 2, b"other");
    let mut left = size;
    while left > 0 {
        let count = left.min(128 * 1024 - 8);
        let part = frame(BODY, 1, &vec![b'x'; usize::try_from(count).unwrap()]);
        assert_eq!(passed(&mut filter, &part), b"");
        assert_eq!(passed(&mut filter, &other), other, "another channel's body is kept");
        left -= count;
    }
    let next = [header(1, 2, b"n"), frame(BODY, 1, b"{}")].concat();
    assert_eq!(passed(&mut filter, &next), next);
    assert_eq!(passed(&mut filter, &part), part);
}

#[test]
fn a_header_beyond_what_is_held_is_read_at_its_beginning_alone() {
    let mut filter = Filter::new(0);
    let table = vec![0; 3 * MAX_HELD];
    let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x20, 0][..], &table].concat();
    let mut out = Vec::new();
    for chunk in frame(HEADER, 1, &payload).chunks(10_000) {
        filter.push(chunk, &mut out).unwrap();
        assert!(filter.held.capacity() <= 2 * MAX_HELD);
    }
    let header = only_header(&out);
    assert_eq!(header.body_size, 2);
    assert!(header.properties.headers().is_some());
    let next = frame(BODY, 1, b"{}");
    assert_eq!(passed(&mut filter, &next), next);
}

#[test]
fn a_header_never_exceeds_the_frames_that_both_sides_agree_on() {
    let tune = |size: u32| {
        frame(METHOD, 0, &[&b"\0\x0a\0\x1e\0\0"[..], &size.to_be_bytes(), b"\0\x0a"].concat())
    };
    let entry = [&b"\x01xS\0\0\x13\x88"[..], &[b'x'; 5000]].concat();
    let length = u32::try_from(entry.len()).unwrap().to_be_bytes();
    let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0][..], &length, &entry].concat();
    let large = frame(HEADER, 1, &payload);
    for (wanted, proposed, fits) in [
        (0, 131_072, true),
        (0, 4096, false),
        (4096, 0, false),
        (4096, 131_072, false),
        (0, 0, true),
    ] {
        let mut filter = Filter::new(wanted);
        assert_eq!(passed(&mut filter, &tune(proposed)), tune(proposed));
        let out = passed(&mut filter, &large);
        assert_eq!(out == large, fits, "{wanted} and {proposed}");
        assert!(fits || out.len() <= 4096);
    }
}

#[test]
fn a_peer_that_does_not_speak_amqp_is_heard_as_it_is() {
    for said in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x15\x03\x03\0\x02\x02\x46", b"\0"] {
        assert_eq!(passed(&mut Filter::new(0), said), said);
    }
    let mut filter = Filter::new(0);
    assert_eq!(passed(&mut filter, b"AMQP\0\0"), b"AMQP\0\0");
    assert_eq!(passed(&mut filter, b"\x09\x01"), b"\x09\x01");
    // A frame without its end is left to lapin, which does not read what is in it.
    let mut broken = header(1, 3, b"\xff");
    *broken.last_mut().unwrap() = 0;
    assert_eq!(passed(&mut filter, &broken), broken);
}

#[test]
fn a_method_of_absurd_size_ends_the_connection_with_a_sentence() {
    let error = Filter::new(0).push(b"\x01\0\x01\xff\xff\xff\xff", &mut Vec::new()).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("a method of 4294967295 bytes"), "{said}");
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(HEADER), Just(BODY), Just(HEARTBEAT)];
    let payload = prop::collection::vec(any::<u8>(), 0..60);
    (kind, 0_u16..3, payload).prop_map(|(kind, channel, payload)| {
        let begin: &[u8] =
            if kind == HEADER { &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9] } else { &[] };
        frame(kind, channel, &[begin, &payload].concat())
    })
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_makes_no_difference_and_lapin_reads_them_all(
        frames in prop::collection::vec(any_frame(), 1..6),
        cut in 1_usize..40,
    ) {
        let stream = frames.concat();
        let whole = passed(&mut Filter::new(0), &stream);
        let mut filter = Filter::new(0);
        let pieces: Vec<u8> = stream.chunks(cut).flat_map(|c| passed(&mut filter, c)).collect();
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(parsed(&whole).len(), frames.len());
    }
}
