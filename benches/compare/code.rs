//! What the jobs run.

use std::path::PathBuf;

use longshore_testing::archive::{zip_of, zip_of_folder};
use longshore_testing::program::PYTHON_BACKTEST;

/// As little as there can be.
pub(crate) const TRIVIAL: &str = "def main(id, config):\n    return {\"ok\": True}\n";

/// The same in Node.js.
pub(crate) const TRIVIAL_IN_NODE: &str = "exports.main = () => ({ ok: true });\n";

/// As much as most backtests import.
pub(crate) const PANDAS: &str =
    "import pandas\ndef main(id, config):\n    return {\"ok\": len(pandas.__version__) > 0}\n";

/// A program, as its author has it.
#[derive(Clone)]
pub(crate) struct Code {
    source: &'static str,
    vendor: Option<PathBuf>,
}

impl Code {
    pub(crate) fn trivial() -> Self {
        Self { source: TRIVIAL, vendor: None }
    }

    /// With pandas beside it, which `scripts/bench.sh` has installed.
    pub(crate) fn pandas() -> Self {
        let folder = longshore_testing::measured().join("pandas");
        assert!(
            folder.join("vendor/pandas").is_dir(),
            "{} is missing: run `make bench`, which installs it",
            folder.display()
        );
        Self { source: PANDAS, vendor: Some(folder) }
    }

    /// The zip; each number gives other bytes.
    pub(crate) fn zip(&self, number: usize) -> Vec<u8> {
        let source = format!("{}# {number}\n", self.source);
        match &self.vendor {
            None => zip_of(&[(PYTHON_BACKTEST.script, source)]),
            Some(folder) => {
                std::fs::write(folder.join(PYTHON_BACKTEST.script), source).unwrap();
                zip_of_folder(folder)
            }
        }
    }
}
