//! What an archive would write, judged before anything is written.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use zip::ZipArchive;
use zip::read::ZipFile;

use super::{ArchiveCaps, ArchiveError, RESERVED_DIRECTORY, RESULT_FILE};

/// Longest single part of a path on Linux (`NAME_MAX`), in bytes.
const MAX_PART_BYTES: usize = 255;

/// The type bits of a Unix mode, and the two types that are let through.
const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// Everything that is to be written. Paths are relative and plain, with `/` between their parts.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Every folder, named or implied, parents first.
    pub(super) directories: BTreeSet<String>,
    /// Every file, in the archive's order.
    pub(super) files: Vec<PlannedFile>,
    /// What is left out, one sentence each.
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct PlannedFile {
    pub(super) index: usize,
    pub(super) path: String,
    pub(super) is_executable: bool,
    pub(super) declared_bytes: u64,
}

/// A name that passed, and whether it names a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EntryPath {
    pub(super) path: String,
    pub(super) is_directory: bool,
}

/// Judges every entry's name, type and place.
///
/// `file` is the archive's file once more, for what zip does not tell.
pub(super) fn plan<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    file: &mut (impl Read + Seek),
    caps: &ArchiveCaps,
) -> Result<Plan, ArchiveError> {
    if archive.is_empty() {
        return Err(ArchiveError::not_a_zip("it holds no entries"));
    }
    let too_many = || ArchiveError::TooManyEntries { max_entries: caps.max_entries };
    if archive.len() > caps.max_entries {
        return Err(too_many());
    }
    refuse_duplicates(archive, file)?;
    let mut plan = Plan::default();
    let mut seen = HashSet::new();
    let mut spellings = Spellings::default();
    let mut occupied = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let name = name_of(archive, index);
        let entry =
            archive.by_index_raw(index).map_err(|error| ArchiveError::bad(&name, unfit(&error)))?;
        occupied.push((bytes_of(&entry), index));
        let entry_path =
            judge(&entry, &name, caps).map_err(|problem| ArchiveError::bad(&name, problem))?;
        let Some(EntryPath { path, is_directory }) = entry_path else { continue };
        if !seen.insert(path.clone()) {
            return Err(ArchiveError::bad(&name, "is there twice"));
        }
        spellings.add(&path).map_err(|problem| ArchiveError::bad(&name, problem))?;
        plan.directories.extend(parents(&path).map(str::to_owned));
        if is_directory {
            plan.directories.insert(path);
        } else if path == RESULT_FILE {
            plan.notes.push(format!(
                "the archive's own {RESULT_FILE} is left out: that is where the result goes"
            ));
        } else {
            plan.files.push(PlannedFile {
                index,
                path,
                is_executable: mode_of(&entry) & 0o111 != 0,
                declared_bytes: entry.size(),
            });
        }
        if plan.directories.len() > caps.max_entries {
            return Err(too_many());
        }
    }
    if let Some(file) = plan.files.iter().find(|file| plan.directories.contains(&file.path)) {
        return Err(ArchiveError::bad(&file.path, "is a file where others need a folder"));
    }
    refuse_overlaps(archive, occupied)?;
    Ok(plan)
}

/// Where an entry goes; `None` for the root itself.
fn judge<R: Read>(
    entry: &ZipFile<'_, R>,
    name: &str,
    caps: &ArchiveCaps,
) -> Result<Option<EntryPath>, String> {
    // A name in an old code page could hide what its bytes are.
    if entry.name_raw().iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
        return Err("has a control character in its name".to_owned());
    }
    let found = entry_path(name, caps)?;
    if entry.encrypted() {
        return Err("is encrypted".to_owned());
    }
    if !zip::SUPPORTED_COMPRESSION_METHODS.contains(&entry.compression()) {
        return Err(format!("is compressed by an unsupported method, {}", entry.compression()));
    }
    let is_directory = found.as_ref().is_none_or(|found| found.is_directory);
    match mode_of(entry) & TYPE_MASK {
        0 | REGULAR => {}
        DIRECTORY if is_directory => {}
        DIRECTORY => return Err("is marked as a folder, and its name is a file's".to_owned()),
        0o120_000 => return Err("is a symbolic link".to_owned()),
        _ => return Err("is neither a file nor a folder".to_owned()),
    }
    if is_directory && entry.size() > 0 {
        return Err("is a folder with content of its own".to_owned());
    }
    Ok(found)
}

/// A name as a plain relative path. Refuses what another reader could take for another place,
/// rather than to repair it.
pub(super) fn entry_path(name: &str, caps: &ArchiveCaps) -> Result<Option<EntryPath>, String> {
    if name.len() > caps.max_name_bytes {
        return Err(format!("has a name longer than {} bytes", caps.max_name_bytes));
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character in its name".to_owned());
    }
    if name.chars().any(hides_others) {
        return Err("has a character in its name that hides or reorders others".to_owned());
    }
    if name.contains('\\') {
        return Err("has a backslash in its name".to_owned());
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
        return Err(format!("lies deeper than {} folders", caps.max_depth));
    }
    match parts.as_slice() {
        [] if is_directory || name == "." => return Ok(None),
        [] => return Err("has no name".to_owned()),
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

/// Whether a reader of a name would be misled by it: marks of direction, separators of lines, and
/// the mark of byte order, which is seen nowhere.
fn hides_others(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Names as they are first spelled. On many hosts two that differ only in case are one file, so
/// that one of the two would stand in for the other.
#[derive(Default)]
pub(super) struct Spellings(HashMap<String, String>);

impl Spellings {
    pub(super) fn add(&mut self, path: &str) -> Result<(), String> {
        for place in parents(path).chain([path]) {
            let folded = place.to_lowercase();
            match self.0.get(&folded) {
                Some(first) if first == place => {}
                Some(first) => {
                    let first = super::quoted(first);
                    return Err(format!("differs from {first} only in the case of its letters"));
                }
                None => {
                    self.0.insert(folded, place.to_owned());
                }
            }
        }
        Ok(())
    }
}

/// `a/b/c` → `a`, `a/b`.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

fn name_of<R: Read + Seek>(archive: &ZipArchive<R>, index: usize) -> String {
    match archive.name_for_index(index) {
        Some(Ok(name)) => name.into_owned(),
        _ => format!("number {index}"),
    }
}

/// The Unix mode, type included, whatever system the entry claims to come from: a mode that some
/// reader could honour is one that counts.
fn mode_of<R: Read>(entry: &ZipFile<'_, R>) -> u32 {
    entry.external_attributes() >> 16
}

/// From the local header's first byte to the data's last one.
fn bytes_of<R: Read>(entry: &ZipFile<'_, R>) -> Range<u64> {
    let data_start = entry.data_start().unwrap_or_else(|| entry.header_start());
    entry.header_start()..data_start.saturating_add(entry.compressed_size())
}

/// One byte, one entry: entries that share data are how a small archive becomes a huge one.
fn refuse_overlaps<R: Read + Seek>(
    archive: &ZipArchive<R>,
    mut occupied: Vec<(Range<u64>, usize)>,
) -> Result<(), ArchiveError> {
    occupied.sort_unstable_by_key(|(bytes, _)| (bytes.start, bytes.end));
    let into_next = occupied.windows(2).find(|two| two[0].0.end > two[1].0.start);
    let into_directory =
        occupied.last().filter(|last| last.0.end > archive.central_directory_start());
    match (into_next, into_directory) {
        (Some(two), _) => {
            let other = super::quoted(&name_of(archive, two[1].1));
            let problem = format!("shares bytes with the entry {other}");
            Err(ArchiveError::bad(&name_of(archive, two[0].1), problem))
        }
        (None, Some(last)) => {
            let problem = "reaches into the archive's directory of entries";
            Err(ArchiveError::bad(&name_of(archive, last.1), problem))
        }
        (None, None) => Ok(()),
    }
}

/// zip keeps one of two entries of the same name, and says only that there were two.
fn refuse_duplicates<R: Read + Seek>(
    archive: &ZipArchive<R>,
    file: &mut (impl Read + Seek),
) -> Result<(), ArchiveError> {
    if !archive.has_duplicate_names() {
        return Ok(());
    }
    match first_duplicate(file, archive.central_directory_start()) {
        Ok(name) => Err(ArchiveError::bad(&name, "is there twice")),
        Err(_) => Err(ArchiveError::not_a_zip("two of its entries have the same name")),
    }
}

/// Walks the directory of entries, header by header, to the first name that was there before.
fn first_duplicate(file: &mut (impl Read + Seek), directory_start: u64) -> io::Result<String> {
    const HEADER_BYTES: usize = 46;
    const LENGTHS_AT: [usize; 3] = [28, 30, 32];
    let mut seen = HashSet::new();
    file.seek(SeekFrom::Start(directory_start))?;
    loop {
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header)?;
        let [name, extra, comment] =
            LENGTHS_AT.map(|at| u16::from_le_bytes([header[at], header[at + 1]]));
        let mut raw = vec![0; usize::from(name)];
        file.read_exact(&mut raw)?;
        file.seek_relative(i64::from(extra) + i64::from(comment))?;
        let shown = String::from_utf8_lossy(&raw).into_owned();
        if !seen.insert(raw) {
            return Ok(shown);
        }
    }
}

fn unfit(error: &zip::result::ZipError) -> String {
    format!("cannot be read: {error}")
}
