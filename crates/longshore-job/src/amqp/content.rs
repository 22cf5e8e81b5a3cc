//! The header of a message's content: its size and its properties.

use super::bytes::Reader;
use super::table::{UNREADABLE_HEADER, check_headers};

/// The name of a body that was left out, in a line of [`UNREADABLE_HEADER`].
pub const BODY: &str = "body";

/// The largest body that is read into memory, in bytes. `RabbitMQ` 4 takes no larger body by
/// default, and `MESSAGE_MAX_KB` can allow no larger one. Older brokers take 128 MiB and more.
const MAX_BODY: u64 = 16 * 1024 * 1024;

/// The longest short string, in bytes.
const MAX_SHORT: usize = 255;

/// How a property is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Short,
    Table,
    Fixed(usize),
}

/// The properties in the order of their flags, from the highest bit down.
const PROPERTIES: [(&str, Kind); 14] = [
    ("content_type", Kind::Short),
    ("content_encoding", Kind::Short),
    ("headers", Kind::Table),
    ("delivery_mode", Kind::Fixed(1)),
    ("priority", Kind::Fixed(1)),
    ("correlation_id", Kind::Short),
    ("reply_to", Kind::Short),
    ("expiration", Kind::Short),
    ("message_id", Kind::Short),
    ("timestamp", Kind::Fixed(8)),
    ("type", Kind::Short),
    ("user_id", Kind::Short),
    ("app_id", Kind::Short),
    ("cluster_id", Kind::Short),
];

/// The place of the headers in [`PROPERTIES`].
const HEADERS: usize = 2;

/// Bits of the flags that belong to no property.
const UNKNOWN_FLAGS: u16 = 0b11;

/// A content header that lapin can read. It replaces one that lapin could not read.
pub(super) struct Rewritten {
    pub(super) payload: Vec<u8>,
    /// Bytes of body that must not be passed on, because the header says that there are none.
    pub(super) withheld: u64,
}

/// What can be kept of the properties, and what is wrong with the rest.
#[derive(Default)]
struct Content<'a> {
    class_and_weight: [u8; 4],
    body_size: u64,
    /// Each property that is set, encoded for the frame, without the headers.
    kept: [Option<Vec<u8>>; PROPERTIES.len()],
    /// The entries of the headers.
    headers: &'a [u8],
    faults: Vec<(&'static str, String)>,
}

/// Checks the payload of a content header. Returns `None` if lapin can read it unchanged. `room` is
/// the largest payload that lapin takes.
pub(super) fn make_readable(payload: &[u8], room: usize) -> Option<Rewritten> {
    let mut content = Content::read(payload);
    if payload.len() > room {
        let problem = format!("are larger than a frame of the connection: {} bytes", payload.len());
        content.headers = &[];
        content.faults.push(("headers", problem));
    }
    (!content.faults.is_empty()).then(|| content.rewritten(room))
}

/// A header that is too large to be read in full: only its beginning was read.
pub(super) fn cut_off(beginning: &[u8], size: usize, room: usize) -> Rewritten {
    let mut content = Content::read(beginning);
    content.kept = Default::default();
    content.headers = &[];
    content.faults = vec![("headers", format!("have {size} bytes, more than is read at all"))];
    content.refuse_large_body();
    content.rewritten(room)
}

impl<'a> Content<'a> {
    fn read(payload: &'a [u8]) -> Self {
        let mut content = Self::default();
        let mut reader = Reader::new(payload);
        if content.read_all(&mut reader).is_none() {
            content.fault("properties", "are cut short");
        } else if !reader.is_empty() {
            let problem = format!("have {} bytes more than they declare", reader.left());
            content.fault("properties", problem);
        }
        content.refuse_large_body();
        content
    }

    /// `None` where there is too little to read.
    fn read_all(&mut self, reader: &mut Reader<'a>) -> Option<()> {
        self.class_and_weight = *reader.take(4)?.first_chunk()?;
        self.body_size = reader.u64()?;
        let flags = reader.u16()?;
        if flags & UNKNOWN_FLAGS != 0 {
            self.fault("properties", "have a flag that AMQP 0-9-1 does not know");
            reader.take(reader.left())?;
            return Some(());
        }
        for (number, (name, kind)) in PROPERTIES.into_iter().enumerate() {
            if flags & (1 << (15 - number)) == 0 {
                continue;
            }
            match kind {
                Kind::Table => {
                    let entries = reader.long()?;
                    match check_headers(entries) {
                        Ok(()) => self.headers = entries,
                        Err(fault) => self.fault(name, fault.to_string()),
                    }
                }
                Kind::Fixed(width) => self.kept[number] = Some(reader.take(width)?.to_vec()),
                Kind::Short => {
                    let text = reader.short()?;
                    let (text, is_valid) = readable(text);
                    if !is_valid {
                        self.fault(name, "is not UTF-8");
                    }
                    let length = u8::try_from(text.len()).ok()?;
                    self.kept[number] = Some([&[length], text.as_bytes()].concat());
                }
            }
        }
        Some(())
    }

    fn fault(&mut self, property: &'static str, problem: impl Into<String>) {
        self.faults.push((property, problem.into()));
    }

    fn refuse_large_body(&mut self) {
        if self.body_size > MAX_BODY {
            let problem = format!("is {} bytes, more than is read at all", self.body_size);
            self.fault(BODY, problem);
        }
    }

    fn rewritten(&self, room: usize) -> Rewritten {
        let withheld = if self.body_size > MAX_BODY { self.body_size } else { 0 };
        let payload = self.payload(self.headers, self.body_size - withheld);
        let payload = if payload.len() > room {
            self.payload(&[], self.body_size - withheld)
        } else {
            payload
        };
        Rewritten { payload, withheld }
    }

    fn payload(&self, headers: &[u8], body_size: u64) -> Vec<u8> {
        let lines = self.faults.iter().map(|(property, problem)| format!("{property} {problem}"));
        let said = lines.collect::<Vec<_>>().join("\n");
        let name = UNREADABLE_HEADER.as_bytes();
        let marker =
            [&length(name)[3..], name, b"S", &length(said.as_bytes()), said.as_bytes()].concat();
        let table = [headers, &marker].concat();
        let mut flags = 0;
        let mut values = Vec::new();
        for (number, value) in self.kept.iter().enumerate() {
            if number == HEADERS {
                flags |= 1 << (15 - number);
                values.extend(length(&table));
                values.extend(&table);
            } else if let Some(value) = value {
                flags |= 1 << (15 - number);
                values.extend(value);
            }
        }
        let flags: u16 = flags;
        let size = body_size.to_be_bytes();
        [&self.class_and_weight[..], &size, &flags.to_be_bytes(), &values].concat()
    }
}

/// The length of a thing that fits into a frame.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// The text, cut to a short string, with each byte that is not UTF-8 written as `\xff`; and whether
/// all of it was UTF-8. So two different identities stay different.
fn readable(bytes: &[u8]) -> (String, bool) {
    if let Ok(text) = str::from_utf8(bytes) {
        return (text.to_owned(), true);
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text.truncate(text.floor_char_boundary(MAX_SHORT));
    (text, false)
}

#[cfg(test)]
#[path = "content_tests.rs"]
mod tests;
