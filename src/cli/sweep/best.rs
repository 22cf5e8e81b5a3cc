//! The best rows as a table that fits into a terminal. Pure, except for the terminal's width.

use unicode_width::UnicodeWidthStr as _;

use crate::cli::output::{rows, terminal_width};
use crate::cli::terminal::one_line;
use crate::job::ExecutionResult;
use crate::job::sweep::{BestRow, Scalar, scalars};

/// The width of a table where there is no terminal, and the least.
const USUAL: usize = 80;

/// The longest text of a cell, in characters.
const MAX_CELL: usize = 24;

/// Spaces between two columns.
const GAP: usize = 2;

/// How wide a table may be.
pub(super) fn width() -> usize {
    terminal_width().map_or(USUAL, |width| width.max(USUAL))
}

/// The best rows: number, value, config, and as many columns of the result as fit.
pub(super) fn table(result: &ExecutionResult, width: usize) -> String {
    let best = result.sweep.as_ref().map_or(&[][..], |sweep| &sweep.best);
    if best.is_empty() {
        return String::new();
    }
    let mut columns = vec![column("CONFIG", best, |row| Some(row.index.to_string()))];
    for name in names(best, |row| row.config.as_str()) {
        columns.push(column(&name, best, |row| value(row.config.as_str(), &name)));
    }
    for name in names(best, |row| row.result.as_str()) {
        columns.push(column(&name, best, |row| value(row.result.as_str(), &name)));
    }
    let (mut shown, mut used, mut left_out) = (Vec::new(), 0, 0);
    for column in columns {
        let cells = column.iter().map(|cell| cell.width()).max().unwrap_or(0);
        if left_out == 0 && used + cells <= width {
            used += cells + GAP;
            shown.push(column);
        } else {
            left_out += 1;
        }
    }
    let line = |at: usize| shown.iter().map(|column| column[at].clone()).collect::<Vec<_>>();
    let text = rows(line(0), (1..=best.len()).map(line).collect());
    match left_out {
        0 => text,
        _ => format!("{text}({left_out} more columns: see --output json)\n"),
    }
}

/// A head and a cell for each row.
fn column(name: &str, best: &[BestRow], cell: impl Fn(&BestRow) -> Option<String>) -> Vec<String> {
    let short = |text: String| {
        let text = one_line(&text);
        match text.char_indices().nth(MAX_CELL) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    let cells = best.iter().map(|row| short(cell(row).unwrap_or_default()));
    std::iter::once(short(name.to_uppercase())).chain(cells).collect()
}

/// The names of the fields, in the order in which they are seen first.
fn names(best: &[BestRow], json: impl Fn(&BestRow) -> &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in best.iter().flat_map(|row| scalars(json(row))) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn value(json: &str, name: &str) -> Option<String> {
    let found = scalars(json).into_iter().find(|(found, _)| found == name);
    found.map(|(_, scalar)| match scalar {
        Scalar::Text(text) => text,
        other => other.json(),
    })
}
