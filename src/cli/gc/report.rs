//! What a pass found, for people and for scripts. Pure.

use serde::Serialize;

use crate::cli::output::columns;
use crate::cli::size::size;
use crate::cli::terminal::one_line;
use crate::storage::Swept;

/// One kind of what grows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Part {
    /// What it is.
    pub(super) what: &'static str,
    /// What says how long it is kept: a setting, or a word.
    pub(super) rule: &'static str,
    /// The days of that setting; without any it is kept for ever.
    pub(super) days: Option<u32>,
    /// How many were removed, or would be.
    pub(super) goes: u64,
    /// What those take, if known.
    pub(super) goes_bytes: Option<u64>,
    /// How many stay.
    pub(super) stays: u64,
    /// What those take, if known.
    pub(super) stays_bytes: Option<u64>,
    /// How many should go and could not be removed.
    pub(super) failed: u64,
    /// What goes, one by one, if there are few.
    pub(super) items: Vec<String>,
    /// What stays although it may have been left, and why.
    pub(super) left_alone: Vec<String>,
    /// What went wrong.
    pub(super) problem: Option<String>,
}

/// The rule of what has no setting.
pub(super) const NO_SETTING: &str = "-";

impl Part {
    /// What a pass over a bucket did.
    pub(super) fn of_pass(
        what: &'static str,
        rule: &'static str,
        days: Option<u32>,
        swept: Swept,
    ) -> Self {
        let count = |number: usize| number as u64;
        Self {
            what,
            rule,
            days,
            goes: count(swept.removed),
            goes_bytes: Some(swept.removed_bytes),
            stays: count(swept.seen - swept.removed),
            stays_bytes: Some(swept.seen_bytes - swept.removed_bytes),
            failed: count(swept.failed),
            ..Self::default()
        }
    }

    /// What could not be looked at.
    pub(super) fn broken(what: &'static str, rule: &'static str, problem: String) -> Self {
        Self { what, rule, problem: Some(problem), ..Self::default() }
    }

    /// Whether all that should be done was done.
    pub(super) fn is_well(&self) -> bool {
        self.problem.is_none() && self.failed == 0
    }

    fn row(&self) -> [String; 6] {
        let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), size);
        let rule = match (self.rule, self.days) {
            (NO_SETTING, _) => NO_SETTING.to_owned(),
            (setting, Some(days)) => format!("{setting}={days}"),
            (setting, None) => format!("{setting} unset"),
        };
        let (goes, stays) = (self.goes.to_string(), self.stays.to_string());
        [self.what.to_owned(), goes, bytes(self.goes_bytes), stays, bytes(self.stays_bytes), rule]
    }
}

/// A table with a line for each part, and below it what it has no room for.
pub(super) fn text(parts: &[Part], is_dry: bool) -> String {
    let goes = if is_dry { "GOES" } else { "GONE" };
    let head = ["WHAT", goes, "SIZE", "STAYS", "SIZE", "SETTING"];
    let shown = parts.iter().filter(|part| part.problem.is_none());
    let mut text = columns(head, shown.map(Part::row).collect());
    for part in parts {
        let list =
            [(goes.to_lowercase(), &part.items), ("left alone".to_owned(), &part.left_alone)];
        for (word, items) in list.iter().filter(|(_, items)| !items.is_empty()) {
            text.extend(["\n", part.what, " (", word, "):\n"]);
            text.extend(items.iter().map(|item| format!("  {}\n", one_line(item))));
        }
    }
    if parts.iter().any(|part| part.rule != NO_SETTING && part.days.is_none() && part.is_well()) {
        text += "\nWhat has an unset setting is kept for ever.\n";
    }
    if is_dry {
        text += "\nNothing was removed, because of --dry-run.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_goes_and_which_setting_lets_it_go() {
        let seen = Swept {
            seen: 120,
            seen_bytes: 3 << 20,
            removed: 20,
            removed_bytes: 1 << 20,
            failed: 0,
        };
        let days = |days| Part::of_pass("artifacts", "ARTIFACT_RETENTION_DAYS", days, seen);
        let runs = Part {
            what: "runs",
            rule: NO_SETTING,
            goes: 1,
            items: vec!["container 1\u{1b}[2J".to_owned()],
            ..Part::default()
        };
        let said = text(&[days(Some(30)), days(None), runs], true);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines[1], "artifacts  20    1.0 MB  100    2.0 MB  ARTIFACT_RETENTION_DAYS=30");
        assert_eq!(
            lines[2],
            "artifacts  20    1.0 MB  100    2.0 MB  ARTIFACT_RETENTION_DAYS unset"
        );
        assert_eq!(lines[3], "runs       1     -       0      -       -");
        assert!(said.contains("\nruns (goes):\n  container 1\\u{1b}[2J\n"), "{said}");
        assert!(said.contains("kept for ever") && said.contains("--dry-run"), "{said}");
    }

    #[test]
    fn the_largest_numbers_fit_into_80_columns() {
        let swept = Swept {
            seen: 1_999_998,
            seen_bytes: 2046 << 30,
            removed: 999_999,
            removed_bytes: 1023 << 30,
            failed: 0,
        };
        let part = Part::of_pass("dead letters", "ARTIFACT_RETENTION_DAYS", Some(3650), swept);
        for line in text(&[part], false).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
