//! Tokens back to text.

use super::tokens::{Kind, Token};

/// Writes tokens. They must come in the order of a JSON text.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    /// Whether the same list or object already has a value.
    follows: bool,
    /// For people: how many lists and objects are open.
    indent: Option<usize>,
}

impl Writer {
    /// Writes each value and each field on a line of its own; without this there is no space
    /// between tokens.
    #[must_use]
    pub fn for_people() -> Self {
        Self { indent: Some(0), ..Self::default() }
    }

    /// Appends a token.
    pub fn write(&mut self, token: &Token<'_>) {
        self.space(token);
        match token {
            Token::Open(Kind::List) => self.out.push(b'['),
            Token::Open(Kind::Object) => self.out.push(b'{'),
            Token::Close(Kind::List) => self.out.push(b']'),
            Token::Close(Kind::Object) => self.out.push(b'}'),
            Token::Key(name) => {
                self.string(name);
                self.out.extend_from_slice(if self.indent.is_some() { b": " } else { b":" });
            }
            Token::Text(text) => self.string(text),
            Token::Number(number) => self.out.extend_from_slice(number.as_bytes()),
            Token::Word(word) => self.out.extend_from_slice(word.as_bytes()),
        }
        self.follows = !matches!(token, Token::Open(_) | Token::Key(_));
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// What goes between the previous token and this one.
    fn space(&mut self, token: &Token<'_>) {
        let is_close = matches!(token, Token::Close(_));
        if self.follows && !is_close {
            self.out.push(b',');
        }
        let Some(depth) = &mut self.indent else { return };
        let level = if is_close { depth.saturating_sub(1) } else { *depth };
        let is_after_key = self.out.ends_with(b": ");
        let begins_line = if is_close { self.follows } else { level > 0 && !is_after_key };
        match token {
            Token::Open(_) => *depth += 1,
            Token::Close(_) => *depth = level,
            _ => {}
        }
        if begins_line {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + 2 * level, b' ');
        }
    }

    fn string(&mut self, text: &str) {
        // Writing a string into a Vec cannot fail.
        let _infallible = serde_json::to_writer(&mut self.out, text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tokens::Tokens;
    use super::*;

    #[test]
    fn for_people_every_value_has_a_line_of_its_own() {
        let value = json!({"a": [1, [], {}, "x: "], "b": {"c": null, "d": [[true]]}, "e": ": "});
        for value in [value, json!([]), json!("x"), json!({})] {
            let text = value.to_string();
            let (mut tokens, mut writer) = (Tokens::new(text.as_bytes(), 10), Writer::for_people());
            while let Some(token) = tokens.read().unwrap() {
                writer.write(&token);
            }
            let written = String::from_utf8(writer.into_bytes()).unwrap();
            assert_eq!(written, serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
