//! Whatever a publisher writes into a message's properties, lapin's parser reads what the filter
//! passes on, on a small stack. The message is accepted, or refused with its faults named.

use std::panic::resume_unwind;
use std::thread;

use amq_protocol::frame::{AMQPFrame, parse_frame};
use longshore_job::amqp::Filter;
use longshore_job::amqp::{MessageProperties, Sender};
use longshore_job::check_properties;

use super::start_message;

/// Half of what lapin's thread has.
const STACK: usize = 1024 * 1024;

/// An input is the length of the properties in two bytes, flags and values of the properties, and a
/// body. Without its guard the parser gets the frames as they are.
pub fn check(bytes: &[u8], is_guarded: bool) {
    let bytes = bytes.to_vec();
    let checking = move || {
        follow(&bytes, is_guarded);
        if is_guarded {
            survive(&bytes);
        }
    };
    let thread = thread::Builder::new().stack_size(STACK).spawn(checking).unwrap();
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

/// The bytes as properties and body of a delivery, from frames to a message.
fn follow(bytes: &[u8], is_guarded: bool) {
    let Some((length, rest)) = bytes.split_first_chunk() else { return };
    let (properties, body) =
        rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    let frames = delivery(properties, body);
    let passed = if is_guarded { filtered(&frames, 7) } else { frames };
    let mut rest = &passed[..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (after, frame) = parse_frame(rest).expect("lapin cannot read it");
        frames.push(frame);
        rest = after;
    }
    let [AMQPFrame::Method(1, _), AMQPFrame::Header(1, header), AMQPFrame::Body(1, read)] =
        &frames[..]
    else {
        panic!("other frames came out: {frames:?}")
    };
    assert!(read == body && header.body_size == body.len() as u64);
    let foreign = MessageProperties::read(&header.properties, Sender::Publisher);
    assert_eq!((foreign.attempt, foreign.first_try), (1, 1));
    let read = MessageProperties::read(&header.properties, Sender::Worker);
    assert!(read.attempt >= 1 && read.first_try >= 1);
    assert!(read.traceparent.is_none_or(|trace| (55..=255).contains(&trace.len())));
    let unreadable = read.unreadable.iter();
    let unreadable = unreadable.map(|one| (one.property.as_str(), one.problem.as_str()));
    match check_properties(body, unreadable) {
        Ok(()) => start_message::check(body),
        Err(error) => {
            let said = error.to_string();
            assert!(said.len() < 4000 && !said.contains(char::is_control), "{said:?}");
        }
    }
}

/// The bytes as data from a broker, which may not even be AMQP.
fn survive(bytes: &[u8]) {
    let passed = filtered(bytes, bytes.len().max(1));
    assert_eq!(filtered(bytes, 1), passed, "it depends on how the bytes are cut");
    let mut rest = &passed[..];
    while let Ok((after, _)) = parse_frame(rest) {
        rest = after;
    }
}

fn filtered(bytes: &[u8], at_a_time: usize) -> Vec<u8> {
    let (mut filter, mut passed) = (Filter::new(0), Vec::new());
    for piece in bytes.chunks(at_a_time) {
        if filter.push(piece, &mut passed).is_err() {
            break;
        }
    }
    passed
}

/// The frames of a delivery. Its routing key comes from the body.
fn delivery(properties: &[u8], body: &[u8]) -> Vec<u8> {
    let key = &body[..body.len().min(255)];
    let length = u8::try_from(key.len()).unwrap();
    let deliver = [&b"\0\x3c\0\x3c\x01c\0\0\0\0\0\0\0\x01\0\x04jobs"[..], &[length], key].concat();
    let size = (body.len() as u64).to_be_bytes();
    let header = [&[0, 60, 0, 0][..], &size, properties].concat();
    [frame(1, &deliver), frame(2, &header), frame(3, body)].concat()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, 0, 1][..], &size, payload, &[0xce]].concat()
}
