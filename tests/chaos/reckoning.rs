//! What was asked for against what came of it. Pure.

mod bots;
mod files;
mod runs;
mod states;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::evidence::{Evidence, Ticket};

/// Cases that a line shows at most.
const SHOWN_CASES: usize = 5;

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) what: String,
    /// What it must be; a line without one only tells.
    pub(crate) expected: Option<String>,
    pub(crate) found: String,
    /// What to look at where it is not as expected.
    pub(crate) cases: Vec<String>,
}

impl Line {
    /// A line that counts cases of which there must be none.
    pub(crate) fn none(what: &str, cases: Vec<String>) -> Self {
        let found = cases.len().to_string();
        Self { what: what.to_owned(), expected: Some("0".to_owned()), found, cases }
    }

    /// A line that only tells.
    pub(crate) fn told(what: &str, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { what: what.to_owned(), expected: None, found, cases: Vec::new() }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.expected.as_ref().is_none_or(|expected| *expected == self.found)
    }
}

/// Everything that must hold, and some figures beside it.
pub(crate) fn reckon(tickets: &[Ticket], evidence: &Evidence) -> Vec<Line> {
    let mut lines = runs::reckon(tickets, evidence);
    lines.extend(files::reckon(tickets, evidence));
    lines.extend([
        Line::none("entries left in the journal's index", evidence.index.clone()),
        Line::none("records that are not finished", evidence.unfinished.clone()),
        Line::none("containers left", evidence.containers.clone()),
        Line::none("directories left", evidence.directories.clone()),
        Line::none("queues with messages left", evidence.waiting.clone()),
        Line::none("workers that broke down", evidence.breakdowns.clone()),
    ]);
    lines.extend(bots::reckon(evidence));
    lines.extend(states::reckon(evidence));
    let by_themselves = evidence.shifts.iter().filter(|shift| shift.ended_by_itself).count();
    lines.push(Line::told("workers that ended by themselves", by_themselves.to_string()));
    lines
}

/// The table, and what to look at.
pub(crate) fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or_default();
    let mut text = format!("{:<width$}  {:>10}  {:>10}\n", "", "expected", "found");
    for line in lines {
        let expected = line.expected.as_deref().unwrap_or("");
        let mark = if line.is_good() { "" } else { "  <--" };
        writeln!(text, "{:<width$}  {expected:>10}  {:>10}{mark}", line.what, line.found).unwrap();
    }
    for line in lines.iter().filter(|line| !line.is_good()) {
        writeln!(text, "\n{}:", line.what).unwrap();
        for case in line.cases.iter().take(SHOWN_CASES) {
            writeln!(text, "  {case}").unwrap();
        }
        if line.cases.len() > SHOWN_CASES {
            writeln!(text, "  and {} more", line.cases.len() - SHOWN_CASES).unwrap();
        }
    }
    text
}
