use amq_protocol::frame::AMQPContentHeader;
use amq_protocol::frame::parsing::parse_content_header;
use amq_protocol::types::AMQPValue;
use proptest::prelude::*;

use super::*;

const ROOM: usize = 128 * 1024 - 8;

/// A content header of a message with a body of one byte.
fn header(flags: u16, values: &[u8]) -> Vec<u8> {
    let size = 1_u64.to_be_bytes();
    [&[0, 60, 0, 0], &size[..], &flags.to_be_bytes(), values].concat()
}

/// Headers with the flag for them and for a message id, which is "m".
fn with_table(entries: &[u8]) -> Vec<u8> {
    header(0x2080, &[&length(entries)[..], entries, b"\x01m"].concat())
}

/// As lapin reads it.
fn parsed(payload: &[u8]) -> AMQPContentHeader {
    let (rest, header) = parse_content_header(payload).expect("lapin cannot read it");
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    header
}

fn rewritten(payload: &[u8]) -> (AMQPContentHeader, String, u64) {
    let Rewritten { payload, withheld } = make_readable(payload, ROOM).expect("it is readable");
    assert!(payload.len() <= ROOM);
    let header = parsed(&payload);
    let table = header.properties.headers().clone().unwrap();
    let Some(AMQPValue::LongString(said)) = table.inner().get(UNREADABLE_HEADER) else {
        panic!("nothing is said: {table:?}")
    };
    let said = said.to_string();
    (header, said, withheld)
}

#[test]
fn a_text_that_is_not_utf_8_is_escaped_and_named_and_the_rest_is_kept() {
    // correlation_id and message_id
    let (header, said, withheld) = rewritten(&header(0x0480, b"\x05caf\xe9!\x04\xff\x00id"));
    assert_eq!(said, "correlation_id is not UTF-8\nmessage_id is not UTF-8");
    let properties = header.properties;
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), r"caf\xe9!");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "\\xff\0id");
    assert_eq!((header.body_size, withheld), (1, 0));
}

#[test]
fn every_property_of_text_is_looked_at() {
    for (number, (name, kind)) in PROPERTIES.into_iter().enumerate() {
        if kind == Kind::Short {
            let (_, said, _) = rewritten(&header(1 << (15 - number), b"\x02\xc3\x28"));
            assert_eq!(said, format!("{name} is not UTF-8"));
        }
    }
}

#[test]
fn the_longest_text_that_is_not_utf_8_stays_a_short_string() {
    let (header, ..) = rewritten(&header(0x80, &[&[255], &[0xff; 255][..]].concat()));
    let id = header.properties.message_id().clone().unwrap();
    assert!(id.as_str().len() <= 255 && id.as_str().starts_with(r"\xff\xff"));
}

#[test]
fn headers_that_cannot_be_read_are_left_out() {
    let (header, said, _) = rewritten(&with_table(b"\x04good V\x01xz"));
    assert_eq!(said, "headers have a value of the unknown type 0x20");
    assert_eq!(header.properties.headers().as_ref().unwrap().inner().len(), 1);
    assert_eq!(header.properties.message_id().as_ref().unwrap().as_str(), "m");
    let deep = (0..6000).fold(Vec::new(), |inner, _| [b"A", &length(&inner)[..], &inner].concat());
    let (_, said, _) = rewritten(&with_table(&[b"\x01x", &deep[..]].concat()));
    assert_eq!(said, "headers are nested more than 64 deep");
}

#[test]
fn headers_that_can_be_read_stay_beside_what_is_wrong() {
    let table = b"\x01at\x01";
    let values = [&length(table)[..], table, b"\x01\xff"].concat();
    let (header, said, _) = rewritten(&header(0x2400, &values));
    assert_eq!(said, "correlation_id is not UTF-8");
    let table = header.properties.headers().clone().unwrap();
    assert_eq!(table.inner().get("a"), Some(&AMQPValue::Boolean(true)));
}

#[test]
fn nobody_else_can_say_that_a_message_was_unreadable() {
    let name = UNREADABLE_HEADER.as_bytes();
    let entry = [&length(name)[3..], name, b"S\0\0\0\x03all"].concat();
    let (_, said, _) = rewritten(&with_table(&entry));
    assert_eq!(said, format!("headers have {UNREADABLE_HEADER}, which only a worker sets"));
}

#[test]
fn properties_that_do_not_add_up_are_named() {
    let said = |payload: &[u8]| rewritten(payload).1;
    assert_eq!(said(&header(0x80, b"\x09short")), "properties are cut short");
    assert_eq!(said(&header(0x80, b"\x01mmore")), "properties have 4 bytes more than they declare");
    assert_eq!(
        said(&header(0x81, b"\0\0\x01m")),
        "properties have a flag that AMQP 0-9-1 does not know"
    );
    assert_eq!(said(b"\0\x3c\0"), "properties are cut short");
}

#[test]
fn a_body_that_is_too_large_is_withheld() {
    let size = |size: u64| {
        let mut payload = header(0x80, b"\x01m");
        payload[4..12].copy_from_slice(&size.to_be_bytes());
        payload
    };
    assert!(make_readable(&size(MAX_BODY), ROOM).is_none());
    for bytes in [MAX_BODY + 1, 1 << 63, u64::MAX] {
        let (header, said, withheld) = rewritten(&size(bytes));
        assert_eq!((header.body_size, withheld), (0, bytes));
        assert_eq!(said, format!("body is {bytes} bytes, more than is read at all"));
    }
}

#[test]
fn headers_give_way_where_they_would_not_fit_into_a_frame() {
    let entry = |size: usize| {
        let text = vec![b'x'; size];
        [&b"\x01xS"[..], &length(&text), &text].concat()
    };
    let (header, said, _) = rewritten(&with_table(&entry(ROOM)));
    assert!(said.starts_with("headers are larger than a frame of the connection: "), "{said}");
    assert_eq!(header.properties.message_id().as_ref().unwrap().as_str(), "m");
    // It fits, but not together with what is said about it.
    let entry = entry(ROOM - 100);
    let values = [&length(&entry)[..], &entry, b"\x01\xff"].concat();
    let (_, said, _) = rewritten(&self::header(0x2400, &values));
    assert_eq!(said, "correlation_id is not UTF-8");
}

#[test]
fn a_message_as_clients_send_it_is_not_touched() {
    let table = b"\x0btraceparentS\0\0\0\x0200\x01nI\0\0\0\x01";
    assert!(make_readable(&with_table(table), ROOM).is_none());
    assert!(make_readable(&header(0, b""), ROOM).is_none());
    let all = b"\x01a\x01b\0\0\0\0\x02\x09\x01c\x01d\x01e\x01f\0\0\0\0\0\0\0\0\x01g\x01h\x01i\x01j";
    assert!(make_readable(&header(0xfffc, all), ROOM).is_none());
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_lapin_reads_what_comes_of_them(
        flags in any::<u16>(),
        values in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..4, Just(b'A'), Just(b'F')], 0..200),
        size in any::<u64>(),
    ) {
        let mut payload = header(flags, &values);
        payload[4..12].copy_from_slice(&size.to_be_bytes());
        match make_readable(&payload, ROOM) {
            None => drop(parsed(&payload)),
            Some(rewritten) => drop(parsed(&rewritten.payload)),
        }
    }
}
