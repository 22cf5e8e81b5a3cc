//! The checks.

use std::path::Path;

use super::Finding;
use crate::settings::{Loader, Reader, Settings, SettingsErrors};

/// Every check, one after the other. One that fails stops no other.
pub(super) fn all(loader: &Loader) -> Vec<Finding> {
    let mut findings = settings(loader);
    if let Ok(runner) = loader.read(Reader::runner) {
        findings.push(temp_dir(&runner.temp_dir, runner.max_extracted_bytes));
    }
    findings
}

/// One line for each mistake.
fn settings(loader: &Loader) -> Vec<Finding> {
    match loader.read(Settings::read) {
        Ok(_) => vec![Finding::ok("settings", "all are right")],
        Err(SettingsErrors { mistakes }) => {
            let mend = "docs/settings.md says what is allowed";
            let finding = |mistake| Finding::fail("settings", format!("{mistake}"), mend);
            mistakes.iter().map(finding).collect()
        }
    }
}

/// Whether the jobs' directories can be made, and whether one job at its largest fits in.
fn temp_dir(directory: &Path, needed_bytes: u64) -> Finding {
    let shown = directory.display();
    let probe = std::fs::create_dir_all(directory)
        .and_then(|()| tempfile::Builder::new().prefix(".doctor-").tempdir_in(directory))
        .and_then(|probe| {
            std::fs::write(probe.path().join("probe"), "probe")?;
            probe.close()
        });
    match probe {
        Ok(()) => match free_bytes(directory) {
            Some(free) if free < needed_bytes => Finding::warn(
                "temp dir",
                format!("{shown} has {} MB left", free >> 20),
                format!("one job may unpack to {} MB (CODE_MAX_EXTRACTED_MB)", needed_bytes >> 20),
            ),
            _ => Finding::ok("temp dir", format!("{shown} can be written")),
        },
        Err(error) => Finding::fail(
            "temp dir",
            format!("{shown} cannot be written: {error}"),
            format!("make it, give it to this user (mkdir -p {shown}), or set TEMP_DIR"),
        ),
    }
}

/// What an ordinary user may still write there, as far as the system tells.
fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(directory).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;

    #[test]
    fn a_temp_dir_is_made_where_it_is_missing_and_left_empty() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("deep/er");
        assert_eq!(temp_dir(&directory, 0).grade, Grade::Ok);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn a_temp_dir_that_is_too_small_is_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(temp_dir(directory.path(), u64::MAX).grade, Grade::Warn);
    }

    #[test]
    fn a_temp_dir_that_is_a_file_fails_with_a_way_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = temp_dir(file.path(), 0);
        assert_eq!(finding.grade, Grade::Fail);
        assert!(finding.mend.unwrap().contains("TEMP_DIR"));
    }
}
