//! Headers of a message, for people who look at it.

use amq_protocol::protocol::BasicProperties;
use amq_protocol::types::AMQPValue;

use super::message::{as_number, as_text};

/// How much of a header's value is shown, in characters.
const MAX_SHOWN: usize = 512;

/// The text of a header, if it is one.
#[must_use]
pub fn text_header(properties: &BasicProperties, name: &str) -> Option<String> {
    as_text(properties.headers().as_ref()?.inner().get(name)?)
}

/// The number in a header, if it is one.
#[must_use]
pub fn number_header(properties: &BasicProperties, name: &str) -> Option<i64> {
    as_number(properties.headers().as_ref()?.inner().get(name)?)
}

/// Every header, with its value as text. A long value is cut.
#[must_use]
pub fn shown_headers(properties: &BasicProperties) -> Vec<(String, String)> {
    let headers = properties.headers().as_ref().into_iter().flatten();
    headers.map(|(name, value)| (name.to_string(), cut(&shown(value)))).collect()
}

fn shown(value: &AMQPValue) -> String {
    let number = || as_number(value).map(|number| number.to_string());
    // Tables and arrays: the filter has bounded how deep and how large they are.
    as_text(value).or_else(number).unwrap_or_else(|| format!("{value:?}"))
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(MAX_SHOWN).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use amq_protocol::types::FieldTable;

    use super::*;

    #[test]
    fn headers_are_shown_as_text_and_cut() {
        let mut table = FieldTable::default();
        table.insert("a".into(), AMQPValue::LongString("x".repeat(600).as_str().into()));
        table.insert("b".into(), AMQPValue::LongLongInt(7));
        table.insert("c".into(), AMQPValue::Boolean(true));
        let properties = BasicProperties::default().with_headers(table);
        let shown = shown_headers(&properties);
        assert_eq!(shown[0].1.chars().count(), MAX_SHOWN + 1);
        assert_eq!(shown[1], ("b".to_owned(), "7".to_owned()));
        assert!(shown[2].1.contains("true"), "{shown:?}");
        assert_eq!(number_header(&properties, "b"), Some(7));
        assert_eq!(text_header(&properties, "c"), None);
    }
}
