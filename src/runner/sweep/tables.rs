//! The tables of a sweep: a row for each config, as JSON Lines and as CSV. Everything here blocks.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use super::kept::Kept;
use crate::job::sweep::{Scalar, SweepRow, scalars};

/// The most columns of config and result. What a program returns could have a new one in each row.
const MAX_COLUMNS: usize = 1000;

/// Both tables, in files that go when they are dropped.
pub(super) struct Tables {
    pub(super) rows: TempPath,
    pub(super) csv: TempPath,
}

/// Writes both tables, in the order of the configs.
pub(super) fn write(kept: &mut Kept, folder: &Path) -> io::Result<Tables> {
    let (lines, columns) = write_lines(kept, folder)?;
    Ok(Tables { rows: lines, csv: write_csv(kept, &columns, folder)? })
}

/// Writes the rows. Returns the names of the columns of config and result, too.
fn write_lines(kept: &mut Kept, folder: &Path) -> io::Result<(TempPath, Columns)> {
    let mut out = BufWriter::new(NamedTempFile::new_in(folder)?);
    let mut columns = Columns::default();
    kept.each(|text| {
        out.write_all(text)?;
        out.write_all(b"\n")?;
        if let Ok(row) = serde_json::from_slice::<SweepRow>(text) {
            columns.note(&row);
        }
        Ok(())
    })?;
    Ok((out.into_inner()?.into_temp_path(), columns))
}

fn write_csv(kept: &mut Kept, columns: &Columns, folder: &Path) -> io::Result<TempPath> {
    let file = NamedTempFile::new_in(folder)?;
    let mut table = csv::Writer::from_writer(BufWriter::new(file));
    let fixed = ["index", "verdict", "message", "duration_seconds", "attempt"];
    let names = fixed.iter().map(|name| (*name).to_owned());
    let heads = names.chain(columns.names.iter().map(|name| harmless(name.clone())));
    table.write_record(heads)?;
    kept.each(|text| {
        let Ok(row) = serde_json::from_slice::<SweepRow>(text) else { return Ok(()) };
        let mut cells = vec![String::new(); columns.names.len()];
        for (name, scalar) in values(&row) {
            if let Some(cell) = columns.places.get(&name).and_then(|at| cells.get_mut(*at)) {
                *cell = match scalar {
                    Scalar::Text(text) => harmless(text),
                    Scalar::Word("null") => String::new(),
                    other => other.json(),
                };
            }
        }
        let fixed = [
            row.index.to_string(),
            row.verdict.as_str().to_owned(),
            harmless(row.message),
            format!("{:.6}", row.duration_seconds),
            row.attempt.to_string(),
        ];
        table.write_record(fixed.iter().chain(&cells))?;
        Ok(())
    })?;
    let out = table.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(out.into_inner()?.into_temp_path())
}

/// The columns of config and result, in the order in which they were seen first.
#[derive(Debug, Default)]
struct Columns {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Columns {
    fn note(&mut self, row: &SweepRow) {
        for (name, _) in values(row) {
            if self.names.len() < MAX_COLUMNS && !self.places.contains_key(&name) {
                self.places.insert(name.clone(), self.names.len());
                self.names.push(name);
            }
        }
    }
}

/// What of a row has a column of its own.
fn values(row: &SweepRow) -> impl Iterator<Item = (String, Scalar)> {
    let of = |prefix: &'static str, json: &str| {
        let named = move |(name, scalar): (String, Scalar)| match name.as_str() {
            "" => (prefix.to_owned(), scalar),
            name => (format!("{prefix}.{name}"), scalar),
        };
        scalars(json).into_iter().map(named)
    };
    let result = row.result.as_ref().map_or("{}", |result| result.as_str());
    of("config", row.config.as_str()).chain(of("result", result))
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: String) -> String {
    let may_be_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if may_be_formula && text.parse::<f64>().is_err() { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(index: u64, config: &serde_json::Value, result: &serde_json::Value) -> Vec<u8> {
        let row = json!({
            "index": index, "config": config, "verdict": "succeeded", "message": "succeeded",
            "result": result, "duration_seconds": 0.5, "worker": "w", "attempt": 1,
        });
        row.to_string().into_bytes()
    }

    #[test]
    fn each_config_has_a_row_in_both_tables_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = Kept::new(folder.path(), 3).unwrap();
        let rows = [
            (2, json!({"a": 3}), json!({"x": "=1+1", "y": {"z": null}})),
            (0, json!({"a": 1, "b": {"c": "q\"uote,d"}}), json!({"x": -1.5, "l": [1]})),
            (1, json!({"a": "-2"}), json!(7)),
        ];
        for (index, config, result) in &rows {
            kept.add(*index, &row(*index, config, result)).unwrap();
        }
        let tables = write(&mut kept, folder.path()).unwrap();
        let lines = std::fs::read_to_string(&tables.rows).unwrap();
        let order: Vec<u64> = lines
            .lines()
            .map(|line| serde_json::from_str::<SweepRow>(line).unwrap().index)
            .collect();
        assert_eq!(order, [0, 1, 2]);
        let csv = std::fs::read_to_string(&tables.csv).unwrap();
        let expected = "index,verdict,message,duration_seconds,attempt,config.a,config.b.c,result.x,result,result.y.z\n\
                        0,succeeded,succeeded,0.500000,1,1,\"q\"\"uote,d\",-1.5,,\n\
                        1,succeeded,succeeded,0.500000,1,-2,,,7,\n\
                        2,succeeded,succeeded,0.500000,1,3,,'=1+1,,\n";
        assert_eq!(csv, expected);
    }

    #[test]
    fn what_could_be_a_formula_is_quoted_unless_it_is_a_number() {
        for (text, shown) in [
            ("=cmd()", "'=cmd()"),
            ("+1", "+1"),
            ("-0.5", "-0.5"),
            ("-x", "'-x"),
            ("@sum", "'@sum"),
            ("a=b", "a=b"),
            ("", ""),
        ] {
            assert_eq!(harmless(text.to_owned()), shown);
        }
    }
}
