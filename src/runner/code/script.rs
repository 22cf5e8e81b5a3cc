//! The script of a job among the files of its code.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use super::error::{CodeError, io_error};
use crate::job::archive::composed;

/// How many of an archive's files an error names.
const SHOWN_FILES: usize = 5;

/// Makes sure that `script` is a file below `root`, and bears the name that the message gives it.
/// The code is that of the object `key`.
pub(super) fn find(root: &Path, key: &str, script: &str) -> Result<(), CodeError> {
    respell(root, script).map_err(io_error("reading", root))?;
    if fs::symlink_metadata(root.join(script)).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    let found = some_files(root, script).map_err(io_error("reading", root))?;
    Err(CodeError::ScriptMissing { key: key.to_owned(), script: script.to_owned(), found })
}

/// Renames the script and the folders above it to the message's spelling, if the zip writes their
/// accents in the other form, as zips from macOS do: `é` as two characters.
fn respell(root: &Path, script: &str) -> io::Result<()> {
    let mut place = root.to_owned();
    for part in script.split('/') {
        let wanted = place.join(part);
        if !part.is_ascii() && fs::symlink_metadata(&wanted).is_err() {
            for entry in fs::read_dir(&place)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_str().is_some_and(|name| composed(name) == composed(part)) {
                    fs::rename(entry.path(), &wanted)?;
                    break;
                }
            }
        }
        if !fs::symlink_metadata(&wanted).is_ok_and(|metadata| metadata.is_dir()) {
            break;
        }
        place = wanted;
    }
    Ok(())
}

/// A few files below `root`, quoted. First those with the script's name, which show that a folder
/// was packed instead of its content; then those nearest to the root.
fn some_files(root: &Path, script: &str) -> io::Result<Vec<String>> {
    let wanted = Path::new(script).file_name();
    let mut found = Vec::new();
    let mut folders = VecDeque::from([root.to_owned()]);
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push_back(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                let is_other = path.file_name() != wanted;
                found.push((is_other, path.components().count(), path.to_owned()));
            }
        }
    }
    found.sort_unstable();
    found.truncate(SHOWN_FILES);
    Ok(found.into_iter().map(|(_, _, path)| format!("{:?}", path.to_string_lossy())).collect())
}
