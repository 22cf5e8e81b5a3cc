//! Checks whether lapin can read a table of headers without deep recursion.

use std::collections::HashSet;

use super::bytes::Reader;

/// The header that says what was wrong with the properties of a message, one line each: the
/// property, a space, the problem. Only this folder sets it. A header of this name from a publisher
/// is removed.
pub const UNREADABLE_HEADER: &str = "x-longshore-unreadable";

/// How deep tables and arrays may be nested. lapin's parser calls itself for each level, and
/// thousands of levels overflow its stack. Honest headers have two or three.
const MAX_DEPTH: usize = 64;

/// How many values the headers of a message may have. An empty value takes one byte on the wire and
/// about a hundred in memory, so one frame of 128 KiB could take 13 MB.
const MAX_VALUES: usize = 4096;

/// What is wrong with a table, as the end of a sentence that begins with "headers".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TableFault {
    #[error("are nested more than {MAX_DEPTH} deep")]
    Deep,
    #[error("have more than {MAX_VALUES} values")]
    Crowded,
    #[error("have a name that is not UTF-8")]
    Name,
    #[error("have the same name twice")]
    Twice,
    #[error("have a value of the unknown type 0x{0:02x}")]
    Type(u8),
    #[error("have a length that does not fit")]
    Length,
    #[error("have {UNREADABLE_HEADER}, which only a worker sets")]
    Reserved,
}

/// Checks the entries of a message's headers.
pub(super) fn check_headers(entries: &[u8]) -> Result<(), TableFault> {
    check_table(entries, 1, &mut 0)
}

fn check_table(entries: &[u8], depth: usize, values: &mut usize) -> Result<(), TableFault> {
    let mut reader = Reader::new(entries);
    let mut names = HashSet::new();
    while !reader.is_empty() {
        let name = reader.short().ok_or(TableFault::Length)?;
        let name = str::from_utf8(name).map_err(|_| TableFault::Name)?;
        if depth == 1 && name == UNREADABLE_HEADER {
            return Err(TableFault::Reserved);
        }
        if !names.insert(name) {
            return Err(TableFault::Twice);
        }
        check_value(&mut reader, depth, values)?;
    }
    Ok(())
}

fn check_array(entries: &[u8], depth: usize, values: &mut usize) -> Result<(), TableFault> {
    let mut reader = Reader::new(entries);
    while !reader.is_empty() {
        check_value(&mut reader, depth, values)?;
    }
    Ok(())
}

/// The types are those of `RabbitMQ`, as lapin reads them.
fn check_value(
    reader: &mut Reader<'_>,
    depth: usize,
    values: &mut usize,
) -> Result<(), TableFault> {
    *values += 1;
    if *values > MAX_VALUES {
        return Err(TableFault::Crowded);
    }
    let width = match reader.u8().ok_or(TableFault::Length)? {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'S' | b'x' => return reader.long().map(drop).ok_or(TableFault::Length),
        kind @ (b'A' | b'F') => {
            let entries = reader.long().ok_or(TableFault::Length)?;
            if depth == MAX_DEPTH {
                return Err(TableFault::Deep);
            }
            let check = if kind == b'A' { check_array } else { check_table };
            return check(entries, depth + 1, values);
        }
        other => return Err(TableFault::Type(other)),
    };
    reader.take(width).map(drop).ok_or(TableFault::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One entry: a name and the bytes of a value.
    fn entry(name: &[u8], value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        [&[length], name, value].concat()
    }

    fn sized(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], content].concat()
    }

    fn nested(kind: u8, levels: usize) -> Vec<u8> {
        (0..levels).fold(b"V".to_vec(), |inner, _| {
            let content = if kind == b'A' { inner } else { entry(b"x", &inner) };
            sized(kind, &content)
        })
    }

    #[test]
    fn every_type_that_the_broker_knows_passes() {
        let mut table = Vec::new();
        for (kind, width) in
            [(b't', 1), (b'b', 1), (b'B', 1), (b's', 2), (b'U', 2), (b'u', 2), (b'I', 4)]
                .into_iter()
                .chain([(b'i', 4), (b'f', 4), (b'D', 5), (b'l', 8), (b'L', 8), (b'd', 8)])
                .chain([(b'T', 8), (b'V', 0)])
        {
            table.extend(entry(&[kind], &[&[kind][..], &vec![0xff; width]].concat()));
        }
        for kind in [b'S', b'x', b'A', b'F'] {
            table.extend(entry(&[kind], &sized(kind, b"")));
        }
        assert_eq!(check_headers(&table), Ok(()));
        assert_eq!(check_headers(b""), Ok(()));
    }

    #[test]
    fn nesting_is_followed_to_its_bound_and_no_further() {
        for kind in [b'A', b'F'] {
            let table = |levels| entry(b"x", &nested(kind, levels));
            assert_eq!(check_headers(&table(MAX_DEPTH - 1)), Ok(()));
            assert_eq!(check_headers(&table(MAX_DEPTH)), Err(TableFault::Deep));
            assert_eq!(check_headers(&table(10_000)), Err(TableFault::Deep));
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let check = |bytes: &[u8]| check_headers(bytes).unwrap_err();
        assert_eq!(check(&entry(b"caf\xe9", b"V")), TableFault::Name);
        let inner = entry(b"\xff", b"V");
        assert_eq!(check(&entry(b"x", &sized(b'F', &inner))), TableFault::Name);
        assert_eq!(check(&entry(b"x", b"z")), TableFault::Type(b'z'));
        assert_eq!(check(&entry(b"x", b"I\0\0\0")), TableFault::Length);
        assert_eq!(check(&entry(b"x", b"S\xff\xff\xff\xffab")), TableFault::Length);
        assert_eq!(check(&entry(b"x", b"")), TableFault::Length);
        assert_eq!(check(b"\x05ab"), TableFault::Length);
        let twice = [entry(b"x", b"V"), entry(b"x", b"t\x01")].concat();
        assert_eq!(check(&twice), TableFault::Twice);
        let crowd = sized(b'A', &vec![b'V'; MAX_VALUES]);
        assert_eq!(check(&entry(b"x", &crowd)), TableFault::Crowded);
        assert_eq!(check(&entry(UNREADABLE_HEADER.as_bytes(), b"V")), TableFault::Reserved);
    }
}
