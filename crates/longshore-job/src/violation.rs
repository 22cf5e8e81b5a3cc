//! What is wrong with a message, in a form that fits into an event, a header and a line of a log.

use std::fmt;

use super::{Entrypoint, JobId, RunId};

/// One thing that is wrong with a message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The JSON path, such as `limits.memory_mb`; `$` is the whole message.
    pub path: String,
    /// What is wrong there, as the end of a sentence.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// Why a message is refused. Names every mistake that could be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct MessageError {
    /// What is wrong, at least one.
    pub violations: Vec<Violation>,
    /// The job's id, as far as the message could be read.
    pub id: Option<JobId>,
    /// The kind of program, as far as the message could be read.
    pub entrypoint: Option<Entrypoint>,
    /// The run, as far as the message could be read.
    pub run_id: Option<RunId>,
}

impl MessageError {
    /// The same with `change` made to every text of it.
    #[must_use]
    pub fn with_texts(mut self, change: impl Fn(String) -> String) -> Self {
        for violation in &mut self.violations {
            violation.path = change(std::mem::take(&mut violation.path));
            violation.problem = change(std::mem::take(&mut violation.problem));
        }
        self
    }
}

/// How many characters of a violation's path, and of its problem, are kept: both may quote the
/// message.
const MAX_PATH_CHARS: usize = 200;
const MAX_PROBLEM_CHARS: usize = 600;

/// The most violations that are reported for one message.
pub(super) const MAX_VIOLATIONS: usize = 20;

pub(super) fn violation(path: &str, problem: impl AsRef<str>) -> Violation {
    Violation {
        path: shown(path, MAX_PATH_CHARS),
        problem: shown(problem.as_ref(), MAX_PROBLEM_CHARS),
    }
}

/// How many characters of a text of the message a problem quotes.
const MAX_QUOTED_CHARS: usize = 160;

/// A text of the message, in quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A text that may quote a stranger's text: on one line, harmless on a terminal, and short.
fn shown(text: &str, max_chars: usize) -> String {
    let mut out = String::new();
    for (number, c) in text.chars().enumerate() {
        if number == max_chars {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
