//! Messages whose AMQP properties are at the edge of what can be sent, as bytes, each with the
//! right outcome. No client library writes most of them.

/// What happens to a message that would be accepted if its properties were plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// It is accepted.
    Followed,
    /// It is refused, and the error has this text.
    Refused(&'static str),
    /// The broker does not take it from its publisher.
    NotTaken,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: &'static str,
    /// Flags and values, as a content header has them after the size of the body.
    pub properties: Vec<u8>,
    /// Another routing key than that of its kind.
    pub key: Option<&'static [u8]>,
    pub right: Right,
}

/// The positions of the properties, as the flags count them from the highest bit.
const CONTENT_TYPE: usize = 0;
const CONTENT_ENCODING: usize = 1;
const HEADERS: usize = 2;
const DELIVERY_MODE: usize = 3;
const PRIORITY: usize = 4;
const CORRELATION_ID: usize = 5;
const REPLY_TO: usize = 6;
const EXPIRATION: usize = 7;
const MESSAGE_ID: usize = 8;
const TIMESTAMP: usize = 9;
const TYPE: usize = 10;
const USER_ID: usize = 11;
const APP_ID: usize = 12;
const CLUSTER_ID: usize = 13;

/// Bits of the flags that belong to no property.
const CONTINUED: u16 = 1;
const RESERVED: u16 = 2;

/// Properties, by their positions in rising order.
fn properties(values: &[(usize, Vec<u8>)]) -> Vec<u8> {
    let flags = values.iter().fold(0_u16, |flags, (place, _)| flags | 1 << (15 - place));
    let values = values.iter().flat_map(|(_, value)| value.iter().copied());
    flags.to_be_bytes().into_iter().chain(values).collect()
}

fn short(text: &[u8]) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[length], &text[..length.into()]].concat()
}

/// A field with a length in four bytes.
fn long(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), content].concat()
}

fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&short(name), value].concat()
}

/// A value with a length: text, bytes, an array or a table.
fn sized(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind][..], &long(content)].concat()
}

/// Arrays or tables in one another.
fn nested(kind: u8, levels: usize) -> Vec<u8> {
    (0..levels).fold(b"V".to_vec(), |inner, _| {
        sized(kind, &if kind == b'A' { inner } else { entry(b"x", &inner) })
    })
}

/// Every message, for an inbox whose routing key is `key`.
pub fn all(key: &str) -> Vec<Case> {
    [texts(), message_ids(), headers(), values(), numbers(), flags(), keys(key)].concat()
}

fn case(name: &'static str, properties: Vec<u8>, right: Right) -> Case {
    Case { name, properties, key: None, right }
}

/// A text in Latin-1 in each property that is a text.
fn texts() -> Vec<Case> {
    use Right::{Followed, NotTaken, Refused};
    let with =
        |name, place, text: &[u8], right| case(name, properties(&[(place, short(text))]), right);
    let latin = b"caf\xe9";
    vec![
        with("type-latin", CONTENT_TYPE, latin, Refused("properties.content_type: is not UTF-8")),
        with("encoding-latin", CONTENT_ENCODING, latin, Refused("properties.content_encoding: is")),
        with("correlation-latin", CORRELATION_ID, latin, Refused("properties.correlation_id: is")),
        with("reply-to-latin", REPLY_TO, latin, Refused("properties.reply_to: is not UTF-8")),
        with("kind-latin", TYPE, latin, Refused("properties.type: is not UTF-8")),
        with("app-latin", APP_ID, latin, Refused("properties.app_id: is not UTF-8")),
        with("cluster-latin", CLUSTER_ID, latin, Refused("properties.cluster_id: is not UTF-8")),
        with("expiration-latin", EXPIRATION, latin, NotTaken),
        with("user-latin", USER_ID, latin, NotTaken),
        with("user-of-somebody", USER_ID, b"somebody", NotTaken),
        with("expiration-text", EXPIRATION, b"soon", NotTaken),
        with("expiration-negative", EXPIRATION, b"-1", NotTaken),
        with("correlation-cut", CORRELATION_ID, b"ab\xe2\x82", Refused("correlation_id: is not")),
        with("correlation-all-ones", CORRELATION_ID, &[0xff; 255], Refused("correlation_id: is")),
        with("correlation-long", CORRELATION_ID, "ä".repeat(127).as_bytes(), Followed),
        with("app-nul", APP_ID, b"a\0b", Followed),
        with("app-control", APP_ID, b"\x1b[2J\r\n", Followed),
        with("app-byte-order-mark", APP_ID, b"\xef\xbb\xbfapp", Followed),
        with("app-empty", APP_ID, b"", Followed),
        with("app-beyond-the-plane", APP_ID, "\u{10ffff}".as_bytes(), Followed),
        with("kind-longest", TYPE, &[b'k'; 255], Followed),
    ]
}

/// What other languages put into a message id.
fn message_ids() -> Vec<Case> {
    use Right::{Followed, Refused};
    let uuid = b"\x9b\x1d\xeb\x4d\x3b\x7d\x4b\xad\x9b\xdd\x2b\x0d\x7b\x3d\xcb\x6d";
    let said = Refused("properties.message_id: is not UTF-8");
    let with = |name, id: &[u8], right| case(name, properties(&[(MESSAGE_ID, short(id))]), right);
    let two = properties(&[(CORRELATION_ID, short(b"\xff")), (MESSAGE_ID, short(b"\xfe"))]);
    vec![
        with("id-raw-uuid", uuid, said),
        with("id-latin", b"caf\xe9", said),
        with("id-continuation", b"\x80", said),
        with("id-overlong", b"\xc0\xaf", said),
        with("id-surrogate", b"\xed\xa0\x80", said),
        with("id-beyond-unicode", b"\xf5\x80\x80\x80", said),
        with("id-utf-16", b"\xff\xfei\0d\0", said),
        with("id-all-ones", &[0xff; 255], said),
        with("id-multi-byte", "żółw-🐢".as_bytes(), Followed),
        with("id-nul", b"\0\0\0\0", Followed),
        case(
            "id-and-correlation",
            two,
            Refused("correlation_id: is not UTF-8; properties.message"),
        ),
    ]
}

fn with_headers(entries: &[u8]) -> Vec<u8> {
    properties(&[(HEADERS, long(entries))])
}

/// Tables that cannot be read, and the largest that can.
fn headers() -> Vec<Case> {
    use Right::{Followed, NotTaken, Refused};
    let with = |name, entries: &[u8], right| case(name, with_headers(entries), right);
    let value = |name, value: &[u8], right| case(name, with_headers(&entry(b"x", value)), right);
    let deep = Refused("properties.headers: are nested more than 64 deep");
    let crowded = Refused("properties.headers: have more than 4096 values");
    let odd_name = Refused("properties.headers: have a name that is not UTF-8");
    let mixed =
        (0..500).fold(nested(b'A', 1), |inner, _| sized(b'A', &sized(b'F', &entry(b"y", &inner))));
    let late = (0..200).flat_map(|number| entry(format!("h-{number}").as_bytes(), b"V"));
    let late: Vec<u8> = late.chain(entry(b"\xff", b"V")).collect();
    let beside = properties(&[
        (HEADERS, long(&entry(b"x", &nested(b'A', 70)))),
        (CORRELATION_ID, short(b"\xff")),
    ]);
    let nameless = [entry(b"", b"V"), entry(b"longest", b"t\x01")].concat();
    vec![
        value("arrays-6000-deep", &nested(b'A', 6000), deep),
        value("arrays-700-deep", &nested(b'A', 700), deep),
        value("arrays-100-deep", &nested(b'A', 100), deep),
        value("tables-3000-deep", &nested(b'F', 3000), deep),
        value("tables-and-arrays-deep", &mixed, deep),
        value("arrays-60-deep", &nested(b'A', 60), Followed),
        value("tables-60-deep", &nested(b'F', 60), Followed),
        value("array-of-100000", &sized(b'A', &[b'V'; 100_000]), crowded),
        value("array-of-4000", &sized(b'A', &[b'V'; 4000]), Followed),
        with("name-latin", &entry(b"caf\xe9", b"V"), odd_name),
        value("inner-name-latin", &sized(b'F', &entry(b"\xff\xfe", b"I\0\0\0\x01")), odd_name),
        with("last-name-of-many", &late, odd_name),
        with("name-empty", &nameless, Followed),
        with("name-longest", &entry(&[b'n'; 255], b"V"), Followed),
        // The broker keeps one of the two.
        with("name-twice", &entry(b"x", b"V").repeat(2), Followed),
        with(
            "unreadable-forged",
            &entry(b"x-longshore-unreadable", &sized(b'S', b"all of it")),
            Refused("which only a worker sets"),
        ),
        case("two-faults", beside, Refused("64 deep; properties.correlation_id: is not UTF-8")),
        value("type-unknown", b"z", NotTaken),
        value("type-zero", b"\0", NotTaken),
        value("length-too-long", b"S\xff\xff\xff\xffab", NotTaken),
        value("number-cut", b"I\0\0", NotTaken),
        with("table-cut", b"\x05ab", NotTaken),
        with("copies-text", &entry(b"CC", &sized(b'S', b"stop")), NotTaken),
        with("empty-table", b"", Followed),
        with("large", &entry(b"x", &sized(b'S', &[b'x'; 130_000])), Followed),
    ]
}

/// Each type at an extreme.
fn values() -> Vec<Case> {
    let with = |name, value: &[u8]| case(name, with_headers(&entry(b"x", value)), Right::Followed);
    let trace = |name, value: &[u8]| {
        case(name, with_headers(&entry(b"traceparent", value)), Right::Followed)
    };
    vec![
        with("boolean-255", b"t\xff"),
        with("signed-8", b"b\x80"),
        with("unsigned-8", b"B\xff"),
        with("signed-16", b"s\x80\0"),
        with("unsigned-16", b"u\xff\xff"),
        with("signed-32", b"I\x80\0\0\0"),
        with("unsigned-32", b"i\xff\xff\xff\xff"),
        with("signed-64", b"l\x80\0\0\0\0\0\0\0"),
        Case { right: Right::NotTaken, ..with("float-nan", b"f\x7f\xc0\0\0") },
        with("float-largest", b"f\x7f\x7f\xff\xff"),
        Case { right: Right::NotTaken, ..with("infinite", b"d\x7f\xf0\0\0\0\0\0\0") },
        with("double-smallest", b"d\0\0\0\0\0\0\0\x01"),
        with("decimal", b"D\xff\xff\xff\xff\xff"),
        with("time-last", b"T\xff\xff\xff\xff\xff\xff\xff\xff"),
        with("nothing", b"V"),
        with("text-latin", &sized(b'S', b"caf\xe9")),
        with("bytes", &sized(b'x', b"\0\xff")),
        trace("trace-latin", &sized(b'S', &[0xff; 55])),
        trace("trace-bytes", &sized(b'x', &[b'0'; 55])),
        trace("trace-array", &nested(b'A', 3)),
    ]
}

fn numbers() -> Vec<Case> {
    let with = |name, place, value: &[u8]| {
        case(name, properties(&[(place, value.to_vec())]), Right::Followed)
    };
    vec![
        with("mode-0", DELIVERY_MODE, &[0]),
        with("mode-255", DELIVERY_MODE, &[255]),
        with("priority-255", PRIORITY, &[255]),
        with("timestamp-0", TIMESTAMP, &[0; 8]),
        with("timestamp-last", TIMESTAMP, &[255; 8]),
        with("timestamp-negative", TIMESTAMP, &[128, 0, 0, 0, 0, 0, 0, 0]),
    ]
}

/// Flags that do not fit the values.
fn flags() -> Vec<Case> {
    use Right::{Followed, NotTaken};
    let with_flags = |flags: u16, values: &[u8]| [&flags.to_be_bytes()[..], values].concat();
    let id =
        |extra| with_flags((1 << (15 - MESSAGE_ID)) | extra, &[&[0, 0][..], &short(b"m")].concat());
    vec![
        case("no-properties", with_flags(0, b""), Followed),
        case("flags-continued", id(CONTINUED), NotTaken),
        case("flag-reserved", id(RESERVED), NotTaken),
        case("value-missing", with_flags(0xffff - 3, b""), NotTaken),
        case("value-cut", with_flags(1 << (15 - MESSAGE_ID), b"\x09short"), NotTaken),
        case("value-too-many", with_flags(0, b"\x01m"), NotTaken),
    ]
}

/// A routing key that is not UTF-8 leads to no queue by itself, but a copy uses another key and
/// shows the first one.
fn keys(key: &str) -> Vec<Case> {
    let array = sized(b'A', &sized(b'S', key.as_bytes()));
    let with_header = |header: &[u8]| with_headers(&entry(header, &array));
    let with = |name, key: &'static [u8], header: &[u8]| Case {
        name,
        properties: with_header(header),
        key: Some(key),
        right: Right::Followed,
    };
    vec![
        with("key-latin-copied", b"caf\xe9", b"CC"),
        with("key-latin-hidden-copy", b"\xff\xfe", b"BCC"),
        with("key-longest-copied", &[0xff; 255], b"CC"),
    ]
}
