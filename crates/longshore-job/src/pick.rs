//! Picks a few texts out of a JSON document and skips the rest, because a whole document can take
//! many times its size in memory.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// How many bytes of a text are kept.
const MAX_TEXT_BYTES: usize = 8 * 1024;

/// The texts of these fields of the object `json`: the last one of each name, cut if it is long;
/// `None` if the value is no text.
///
/// # Errors
///
/// It is not JSON.
pub fn pick_texts<const N: usize>(
    json: &[u8],
    names: [&str; N],
) -> Result<[Option<String>; N], serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let picked = Object { names }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(picked)
}

struct Object<'n, const N: usize> {
    names: [&'n str; N],
}

struct Text;

/// Other values are read to their end, to be sure that the document is JSON.
macro_rules! skip_others {
    ($skipped:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($skipped)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($skipped)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($skipped)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($skipped)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($skipped)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok($skipped)
        }
    };
}

impl<'de, const N: usize> DeserializeSeed<'de> for Object<'_, N> {
    type Value = [Option<String>; N];

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = [Option<String>; N];

    skip_others!([const { None }; N]);

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok([const { None }; N])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked = [const { None }; N];
        while let Some(name) = map.next_key::<String>()? {
            match self.names.iter().position(|wanted| *wanted == name) {
                Some(place) => picked[place] = map.next_value_seed(Text)?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(picked)
    }
}

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    skip_others!(None);

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(json: &str) -> Option<[Option<String>; 2]> {
        pick_texts(json.as_bytes(), ["a", "b"]).ok()
    }

    #[test]
    fn texts_are_found_whatever_stands_beside_them() {
        let [a, b] = picked(r#"{"x": [{"a": "no"}], "b": "two", "a": "old", "a": "new"}"#).unwrap();
        assert_eq!((a.as_deref(), b.as_deref()), (Some("new"), Some("two")));
    }

    #[test]
    fn what_is_no_text_is_none() {
        for other in ["1", "-1", "1.5", "null", "true", "[[1], {}]", r#"{"a": {"b": 1}}"#] {
            let [a, b] = picked(&format!(r#"{{"a": {other}, "b": "x"}}"#)).unwrap();
            assert_eq!((a, b.as_deref()), (None, Some("x")), "{other}");
            if !other.starts_with('{') {
                assert_eq!(picked(other).unwrap(), [None, None], "{other}");
            }
        }
        assert_eq!(picked(r#""text""#).unwrap(), [None, None]);
    }

    #[test]
    fn what_is_not_json_is_an_error() {
        for text in ["", "{", r#"{"a": "x"} x"#, "{'a': 1}", "nul"] {
            assert_eq!(picked(text), None, "{text}");
        }
    }

    #[test]
    fn of_a_long_text_the_beginning_is_kept() {
        let [a, _] = picked(&format!(r#"{{"a": "{}"}}"#, "ä".repeat(MAX_TEXT_BYTES))).unwrap();
        assert_eq!(a.unwrap().len(), MAX_TEXT_BYTES);
    }
}
