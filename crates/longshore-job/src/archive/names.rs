//! Names of entries: which names are plain relative paths, and which a file system treats as equal.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::path::Path;

use unicode_normalization::UnicodeNormalization as _;

use super::{ArchiveCaps, ArchiveError, RESERVED_DIRECTORY, RESULT_FILE, quoted};

/// Longest single part of a path on Linux (`NAME_MAX`), in bytes.
const MAX_PART_BYTES: usize = 255;

/// A name that passed, and whether it names a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EntryPath {
    pub(super) path: String,
    pub(super) is_directory: bool,
}

/// A name as a plain relative path. A name that another reader could place elsewhere is refused,
/// not repaired.
pub(super) fn entry_path(name: &str, caps: &ArchiveCaps) -> Result<Option<EntryPath>, String> {
    if name.len() > caps.max_name_bytes {
        let most = caps.max_name_bytes;
        return Err(format!("has a name longer than {most} bytes (CODE_MAX_NAME_BYTES)"));
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character in its name".to_owned());
    }
    if name.chars().any(hides_others) {
        return Err("has a character in its name that hides or reorders others".to_owned());
    }
    if name.contains('\\') {
        return Err(
            "has a backslash in its name: folders are separated by '/' in a zip, so pack it \
                    with another program, such as 'zip -r' or Python's zipfile"
                .to_owned(),
        );
    }
    let drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if name.starts_with('/') || drive {
        return Err("has an absolute path".to_owned());
    }
    let is_directory = name.ends_with('/');
    let mut parts = Vec::new();
    for part in name.strip_suffix('/').unwrap_or(name).split('/') {
        match part {
            "" => return Err("has an empty part in its name".to_owned()),
            ".." => return Err("leaves the archive's root by '..'".to_owned()),
            "." => {}
            part if part.len() > MAX_PART_BYTES => {
                return Err(format!("has a part longer than {MAX_PART_BYTES} bytes in its name"));
            }
            part => parts.push(part),
        }
    }
    if parts.len() > caps.max_depth {
        return Err(format!("lies deeper than {} folders (CODE_MAX_DEPTH)", caps.max_depth));
    }
    match parts.as_slice() {
        [] if is_directory || name == "." => return Ok(None),
        [] => return Err("has no name".to_owned()),
        _ if !caps.keeps_ours => {}
        [first, ..] if first.eq_ignore_ascii_case(RESERVED_DIRECTORY) => {
            return Err(format!("is in {RESERVED_DIRECTORY}, which is Longshore's own"));
        }
        [RESULT_FILE, rest @ ..] if is_directory || !rest.is_empty() => {
            return Err(format!("makes a folder of {RESULT_FILE}, where the result goes"));
        }
        _ => {}
    }
    Ok(Some(EntryPath { path: parts.join("/"), is_directory }))
}

/// Whether a name is a plain relative path of a file, under these caps on its length and depth.
///
/// # Errors
///
/// What is wrong with it, as the end of a sentence that begins with the name.
pub fn is_plain_name(name: &str, caps: &ArchiveCaps) -> Result<(), String> {
    match entry_path(name, caps)? {
        Some(entry) if entry.is_directory => Err("names a folder".to_owned()),
        Some(entry) if entry.path == name => Ok(()),
        _ => Err("is not a plain path".to_owned()),
    }
}

/// Whether a character would mislead a person who reads the name: marks of direction, line
/// separators, and the invisible byte order mark.
fn hides_others(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The composed form (NFC) of a text: `e` followed by an accent becomes `é`. macOS writes names in
/// the other form.
#[must_use]
pub fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// Which names a file system treats as equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Folding {
    /// Names that differ only in the case of their letters.
    pub(super) case: bool,
    /// Names that differ only in the form of their accents.
    pub(super) form: bool,
}

impl Folding {
    /// Finds it out by trying in a directory.
    pub(super) fn of(directory: &Path) -> Result<Self, ArchiveError> {
        let probe = directory.join("longshore-prob\u{e9}");
        let failed = || ArchiveError::io(format!("creating {}", probe.display()));
        OpenOptions::new().write(true).create_new(true).open(&probe).map_err(failed())?;
        let is_there = |name: &str| fs::symlink_metadata(directory.join(name)).is_ok();
        let found = Self {
            case: is_there("LONGSHORE-PROB\u{e9}"),
            form: is_there("longshore-probe\u{301}"),
        };
        fs::remove_file(&probe)
            .map_err(ArchiveError::io(format!("removing {}", probe.display())))?;
        Ok(found)
    }

    fn key(self, name: &str) -> String {
        let name = if self.form { composed(name) } else { name.to_owned() };
        if self.case { name.to_lowercase() } else { name }
    }
}

/// Names as they are first spelled. If the file system treats two of them as one file, one would
/// replace the other. On other file systems they are two files, and real packages have such files.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    folding: Folding,
    first: HashMap<String, String>,
}

impl Spellings {
    pub(super) fn on(folding: Folding) -> Self {
        Self { folding, first: HashMap::new() }
    }

    pub(super) fn add(&mut self, path: &str) -> Result<(), String> {
        if self.folding == Folding::default() {
            return Ok(());
        }
        for place in parents(path).chain([path]) {
            match self.first.get(&self.folding.key(place)) {
                Some(first) if first == place => {}
                Some(first) => {
                    let first = quoted(first);
                    return Err(format!(
                        "and {first} are one file on the file system of TEMP_DIR, which takes names \
                         for the same that differ in case or accents alone: rename one of them, or \
                         put TEMP_DIR on another file system"
                    ));
                }
                None => {
                    self.first.insert(self.folding.key(place), place.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// `a/b/c` → `a`, `a/b`.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(folding: Folding, one: &str, two: &str) -> Result<(), String> {
        let mut spellings = Spellings::on(folding);
        spellings.add(one)?;
        spellings.add(two)
    }

    #[test]
    fn names_are_one_file_only_where_the_file_system_says_so() {
        let case = Folding { case: true, form: false };
        let form = Folding { case: false, form: true };
        let pairs = [
            (case, "p/client.py", "p/Client.py"),
            (case, "Lib/a", "lib/b"),
            (case, "\u{c9}.py", "\u{e9}.py"),
            (case, "\u{212a}.py", "k.py"),
            (form, "caf\u{e9}.py", "cafe\u{301}.py"),
        ];
        for (folding, one, two) in pairs {
            assert!(both(folding, one, two).unwrap_err().contains("TEMP_DIR"), "{one} {two}");
            assert_eq!(both(Folding::default(), one, two), Ok(()));
            assert_eq!(both(folding, one, one), Ok(()));
        }
        assert_eq!(both(form, "a", "A"), Ok(()));
    }

    #[test]
    fn a_name_may_be_as_long_and_as_deep_as_its_bounds() {
        let caps = ArchiveCaps { max_name_bytes: 300, max_depth: 3, ..ArchiveCaps::new(0, 0) };
        let said = |name: &str| entry_path(name, &caps).map(|found| found.unwrap().path);
        let of = |first: usize, second: usize| "é".repeat(first / 2) + "/" + &"n".repeat(second);
        assert_eq!(said(&of(100, 199)), Ok(of(100, 199)));
        let long = "has a name longer than 300 bytes (CODE_MAX_NAME_BYTES)";
        assert_eq!(said(&of(100, 200)), Err(long.to_owned()));
        assert_eq!(said(&"n".repeat(MAX_PART_BYTES)), Ok("n".repeat(MAX_PART_BYTES)));
        let part = "has a part longer than 255 bytes in its name";
        assert_eq!(said(&"n".repeat(MAX_PART_BYTES + 1)), Err(part.to_owned()));
        assert_eq!(said("./a/b/c"), Ok("a/b/c".to_owned()));
        let deep = "lies deeper than 3 folders (CODE_MAX_DEPTH)";
        assert_eq!(said("a/b/c/d"), Err(deep.to_owned()));
    }

    #[test]
    fn the_file_system_is_asked_and_nothing_of_that_stays() {
        let dir = tempfile::tempdir().unwrap();
        Folding::of(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(!Folding::of(&dir.path().join("none")).unwrap_err().is_rejection());
    }
}
