//! Where in a config a key leads, and whether a patch touches a place.

use serde_json::Value;

/// The most parts of a JSON Pointer.
const MAX_PARTS: usize = 16;

/// The longest key, in bytes.
const MAX_KEY_BYTES: usize = 256;

/// A place in a config: the names of fields, from the outside in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath(pub Vec<String>);

impl KeyPath {
    /// Where a key leads: the name of a field, or a JSON Pointer (RFC 6901).
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(key: &str) -> Result<Self, String> {
        let Some(pointer) = key.strip_prefix('/') else {
            return match key {
                "" => Err("is empty: name a field of config".to_owned()),
                _ if key.len() > MAX_KEY_BYTES => Err(too_long()),
                name => Ok(Self(vec![name.to_owned()])),
            };
        };
        if key.len() > MAX_KEY_BYTES {
            return Err(too_long());
        }
        let unescaped = |part: &str| part.replace("~1", "/").replace("~0", "~");
        let parts: Vec<_> = pointer.split('/').map(unescaped).collect();
        if parts.len() > MAX_PARTS {
            return Err(format!("has more than {MAX_PARTS} parts"));
        }
        Ok(Self(parts))
    }

    /// Whether one of the two places is within the other, or is the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// What is in the way of this place in `config`: the name of a value that is no object.
    #[must_use]
    pub fn blocked_in(&self, config: &Value) -> Option<String> {
        let (mut at, mut pointer) = (config, String::new());
        for part in self.0.iter().take(self.0.len() - 1) {
            pointer.push('/');
            pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
            match at.get(part) {
                None | Some(Value::Null) => return None,
                Some(inner) if inner.is_object() => at = inner,
                Some(_) => return Some(pointer),
            }
        }
        None
    }

    /// The value at this place.
    #[must_use]
    pub fn find<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        let step = |value: &'v Value, part: &String| match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            value => value.get(part),
        };
        self.0.iter().try_fold(value, step)
    }
}

fn too_long() -> String {
    format!("is longer than {MAX_KEY_BYTES} bytes")
}

/// Whether a patch changes the value at a place, or what is around it.
#[must_use]
pub fn touches(patch: &Value, place: &KeyPath) -> bool {
    let mut at = patch;
    for part in &place.0 {
        match at {
            Value::Object(fields) => match fields.get(part) {
                Some(inner) => at = inner,
                None => return false,
            },
            _ => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(key: &str) -> KeyPath {
        KeyPath::parse(key).unwrap()
    }

    #[test]
    fn a_key_is_a_field_or_a_pointer() {
        assert_eq!(path("fast").0, ["fast"]);
        assert_eq!(path("a.b").0, ["a.b"]);
        assert_eq!(path("/risk/stop").0, ["risk", "stop"]);
        assert_eq!(path("/a~1b/~0").0, ["a/b", "~"]);
        assert!(KeyPath::parse("").is_err());
        assert!(KeyPath::parse(&"/a".repeat(17)).is_err());
        assert!(KeyPath::parse(&"a".repeat(257)).is_err());
    }

    #[test]
    fn places_within_each_other_overlap() {
        assert!(path("/risk").overlaps(&path("/risk/stop")));
        assert!(path("/risk/stop").overlaps(&path("risk")));
        assert!(!path("/risk/stop").overlaps(&path("/risk/take")));
    }

    #[test]
    fn a_key_leads_through_objects_alone() {
        let config = json!({"risk": {"stop": 1}, "list": [1], "gone": null});
        for (key, blocked) in [
            ("/risk/stop", None),
            ("/risk/new/er", None),
            ("/gone/x", None),
            ("/list/0", Some("/list")),
            ("/risk/stop/x", Some("/risk/stop")),
        ] {
            assert_eq!(path(key).blocked_in(&config).as_deref(), blocked, "{key}");
        }
    }

    #[test]
    fn a_patch_touches_what_it_changes() {
        let secret = path("/exchange/key");
        for (patch, touched) in [
            (json!({"exchange": {"key": "x"}}), true),
            (json!({"exchange": {"key": {"deep": 1}}}), true),
            (json!({"exchange": null}), true),
            (json!({"exchange": 1}), true),
            (json!({"exchange": {"name": "x"}}), false),
            (json!({"fast": 1}), false),
        ] {
            assert_eq!(touches(&patch, &secret), touched, "{patch}");
        }
    }
}
