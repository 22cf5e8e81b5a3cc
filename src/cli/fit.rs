//! Text that fits into so many columns of a terminal. Pure.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What stands for the text that is left out.
const ELLIPSIS: char = '…';

/// The beginning of a text, in at most `columns` columns.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    beginning(text.chars(), columns - 1) + &String::from(ELLIPSIS)
}

/// The beginning and the end of an id, in at most `columns` columns: often only the end differs.
pub(super) fn without_middle(id: &str, columns: usize) -> String {
    if id.width() <= columns {
        return id.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let end: String = beginning(id.chars().rev(), kept / 2).chars().rev().collect();
    cut(id, columns - end.width()) + &end
}

/// A text with spaces after it, so that it takes `columns` columns.
pub(super) fn padded(text: &str, columns: usize) -> String {
    format!("{text}{:1$}", "", columns.saturating_sub(text.width()))
}

fn beginning(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_loses_its_end() {
        assert_eq!(cut("whole", 5), "whole");
        assert_eq!(cut("too long", 5), "too …");
        assert_eq!((cut("ab", 1), cut("ab", 0)), ("…".to_owned(), String::new()));
        assert_eq!(cut("日本語", 5), "日本…", "a wide character takes two columns");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn an_id_that_is_too_long_loses_its_middle() {
        assert_eq!(without_middle("bot-7", 5), "bot-7");
        assert_eq!(without_middle("sma-eurusd-2024", 8), "sma-…024");
        assert_eq!(without_middle("abcdef", 2), "a…");
        for columns in 0..12 {
            for id in ["0123456789abcdef", "日本語日本語日本語"] {
                assert!(without_middle(id, columns).width() <= columns, "{id} in {columns}");
            }
        }
    }

    #[test]
    fn padding_counts_columns() {
        assert_eq!((padded("ab", 4), padded("日本", 5)), ("ab  ".to_owned(), "日本 ".to_owned()));
        assert_eq!(padded("abc", 2), "abc");
    }
}
