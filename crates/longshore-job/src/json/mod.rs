//! JSON as text: every digit and the order of keys stay as they were written.
//!
//! A parser that makes 64-bit numbers and sorted maps changes what it reads. But Longshore must not
//! change what a publisher passes to a program, nor what a program returns.

mod find;
mod text;
mod tokens;
mod writer;

pub use find::{Found, find_texts};
pub use text::{JsonText, object};
pub use tokens::{JsonProblem, Kind, Token, Tokens};
pub use writer::Writer;

/// How deep lists and objects may be nested. Many JSON parsers stop at 128, and so do ours.
pub const MAX_DEPTH: usize = 127;

/// How deep lists and objects of a JSON text may be nested within a message, an event or a record.
/// The text is some levels deeper there, and a reader that stops at [`MAX_DEPTH`] levels can still
/// read it.
pub const MAX_EMBEDDED_DEPTH: usize = 100;

/// The longest number within a message, an event or a record, in characters: Python refuses to
/// read an integer of more than 4,300 digits, and with it the whole text.
pub const MAX_EMBEDDED_NUMBER: usize = 4300;

/// Why a number is not allowed in a message or an event: its readers would refuse it, or read
/// infinity. An integer of any size up to the bound is fine.
#[must_use]
pub fn number_problem(number: &str) -> Option<&'static str> {
    if number.len() > MAX_EMBEDDED_NUMBER {
        return Some("has a number of more than 4300 digits, which not every program can read");
    }
    let is_float = number.contains(['.', 'e', 'E']);
    let is_infinite = || number.parse().is_ok_and(f64::is_infinite);
    (is_float && is_infinite()).then_some("has a number beyond what a 64-bit float can hold")
}
