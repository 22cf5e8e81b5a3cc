//! The scalars of a JSON text: what a table has columns for.

use crate::json::{Kind, Token, Tokens};

/// How deep scalars are looked for.
const MAX_DEPTH: usize = 127;

/// A number, a text, true, false or null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A number, digit for digit.
    Number(String),
    /// `true`, `false` or `null`.
    Word(&'static str),
}

impl Scalar {
    /// The scalar as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::Number(number) => number.clone(),
            Self::Word(word) => (*word).to_owned(),
        }
    }
}

/// The scalars of an object and of the objects in it, with their names, which dots join. Those in
/// lists are left out. A text that is no object has one scalar without a name, or none. Nothing comes
/// of a text that cannot be read.
#[must_use]
pub fn scalars(json: &str) -> Vec<(String, Scalar)> {
    let mut tokens = Tokens::new(json.as_bytes(), MAX_DEPTH);
    let (mut found, mut names, mut lists) = (Vec::new(), Vec::<String>::new(), 0_usize);
    // The name of the field whose value comes next, for each open object.
    while let Ok(Some(token)) = tokens.read() {
        let scalar = match token {
            Token::Open(Kind::List) => {
                lists += 1;
                continue;
            }
            Token::Close(Kind::List) => {
                lists = lists.saturating_sub(1);
                continue;
            }
            Token::Open(Kind::Object) if lists == 0 => {
                names.push(String::new());
                continue;
            }
            Token::Close(Kind::Object) if lists == 0 => {
                names.pop();
                continue;
            }
            Token::Key(name) if lists == 0 => {
                if let Some(last) = names.last_mut() {
                    *last = name.into_owned();
                }
                continue;
            }
            Token::Text(text) => Scalar::Text(text.into_owned()),
            Token::Number(number) => Scalar::Number(number.into_owned()),
            Token::Word(word) => Scalar::Word(word),
            Token::Open(_) | Token::Close(_) | Token::Key(_) => continue,
        };
        if lists == 0 {
            found.push((names.join("."), scalar));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_found_in_objects_and_not_in_lists() {
        let json =
            r#"{"a": 1.50, "b": {"c": "x", "d": [1, {"e": 2}], "f": null}, "g": [[]], "h": true}"#;
        let found: Vec<_> = scalars(json)
            .into_iter()
            .map(|(name, scalar)| format!("{name}={}", scalar.json()))
            .collect();
        assert_eq!(found, ["a=1.50", "b.c=\"x\"", "b.f=null", "h=true"]);
    }

    #[test]
    fn a_lone_value_has_no_name() {
        assert_eq!(scalars("7"), [(String::new(), Scalar::Number("7".to_owned()))]);
        assert_eq!(scalars("[7]"), []);
    }
}
