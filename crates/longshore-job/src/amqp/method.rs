//! The short strings of the broker's methods.
//!
//! Publishers choose routing keys and names of exchanges. A text of the broker may quote them, and
//! cut them in the middle of a character. lapin reads only short strings that are UTF-8.

/// A field of a method.
#[derive(Clone, Copy)]
enum Field {
    /// This many bytes that are no text.
    Fixed(usize),
    /// A short string.
    Short,
}

/// The class and method that say how large frames may be.
const TUNE: (u16, u16) = (10, 30);

/// The fields of each method of the broker that has short strings, up to the last short string.
fn fields(class: u16, method: u16) -> &'static [Field] {
    use Field::{Fixed, Short};
    match (class, method) {
        // connection: open-ok, blocked. queue: declare-ok. basic: consume-ok, cancel, cancel-ok
        (10, 41 | 60) | (50, 11) | (60, 21 | 30 | 31) => &[Short],
        // connection: close. channel: close
        (10, 50) | (20, 40) => &[Fixed(2), Short],
        // basic: return
        (60, 50) => &[Fixed(2), Short, Short, Short],
        // basic: deliver
        (60, 60) => &[Short, Fixed(9), Short, Short],
        // basic: get-ok
        (60, 71) => &[Fixed(9), Short, Short],
        _ => &[],
    }
}

fn class_and_method(payload: &[u8]) -> Option<(u16, u16)> {
    let (class, rest) = payload.split_first_chunk()?;
    let method = rest.first_chunk()?;
    Some((u16::from_be_bytes(*class), u16::from_be_bytes(*method)))
}

/// Replaces each byte of a short string that is not part of UTF-8.
pub(super) fn make_readable(payload: &mut [u8]) {
    let Some((class, method)) = class_and_method(payload) else { return };
    let mut rest = &mut payload[4..];
    for field in fields(class, method) {
        let length = match field {
            Field::Fixed(length) => *length,
            Field::Short => rest.first().map_or(0, |length| 1 + usize::from(*length)),
        };
        let Some((value, after)) = rest.split_at_mut_checked(length) else { return };
        if matches!(field, Field::Short)
            && let Some((_, text)) = value.split_first_mut()
        {
            replace_invalid(text);
        }
        rest = after;
    }
}

fn replace_invalid(mut text: &mut [u8]) {
    while let Err(error) = str::from_utf8(text) {
        let begin = error.valid_up_to();
        let end = error.error_len().map_or(text.len(), |length| begin + length);
        text[begin..end].fill(b'?');
        text = &mut text[end..];
    }
}

/// The largest frame that the broker proposes, if this is the method for it; 0 means no bound.
pub(super) fn proposed_frame_max(payload: &[u8]) -> Option<u32> {
    let is_tune = class_and_method(payload)? == TUNE;
    let bytes = payload.get(6..)?.first_chunk()?;
    is_tune.then_some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable(payload: &[u8]) -> Vec<u8> {
        let mut payload = payload.to_vec();
        make_readable(&mut payload);
        payload
    }

    #[test]
    fn a_routing_key_that_is_not_utf_8_is_made_readable_in_its_place() {
        let tag = b"\0\0\0\0\0\0\0\x07\x01";
        let deliver = [&b"\0\x3c\0\x3c\x02ct"[..], tag, b"\x02j\xff", b"\x05caf\xe9!"].concat();
        let expected = [&b"\0\x3c\0\x3c\x02ct"[..], tag, b"\x02j?", b"\x05caf?!"].concat();
        assert_eq!(readable(&deliver), expected);
        let get = [&b"\0\x3c\0\x47"[..], tag, b"\0", b"\x01\xc3", b"\0\0\0\x01"].concat();
        let expected = [&b"\0\x3c\0\x47"[..], tag, b"\0", b"\x01?", b"\0\0\0\x01"].concat();
        assert_eq!(readable(&get), expected);
    }

    #[test]
    fn a_character_that_is_cut_at_the_end_of_a_reply_is_replaced() {
        let close = b"\0\x14\0\x28\x01\x94\x04ab\xe2\x82\0\x32\0\x0a";
        assert_eq!(readable(close), b"\0\x14\0\x28\x01\x94\x04ab??\0\x32\0\x0a");
    }

    #[test]
    fn what_is_text_already_or_no_method_stays_as_it_is() {
        for payload in [&b"\0\x32\0\x0b\x03\xe2\x82\xac\0\0\0\0\0\0\0\0"[..], b"\0\x3c\0", b""] {
            assert_eq!(readable(payload), payload);
        }
        assert_eq!(readable(b"\0\x3c\0\x3c\xff\xff"), b"\0\x3c\0\x3c\xff\xff");
    }

    #[test]
    fn the_size_of_frames_is_read_where_it_is_said() {
        assert_eq!(proposed_frame_max(b"\0\x0a\0\x1e\x07\xff\0\x02\0\0\0\x3c"), Some(131_072));
        assert_eq!(proposed_frame_max(b"\0\x0a\0\x1f\x07\xff\0\x02\0\0\0\x3c"), None);
        assert_eq!(proposed_frame_max(b"\0\x0a\0\x1e\x07"), None);
    }
}
