//! What an archive would write, checked before anything is written.

use std::collections::BTreeSet;
use std::io::{Read, Seek};
use std::ops::Range;
use std::rc::Rc;

use zip::ZipArchive;
use zip::read::ZipFile;

use super::headers::{Header, check_names, first_duplicate};
use super::links::{self, LinkedFile, LinkedPackage, MAX_TARGET_BYTES, Node, Nodes};
use super::names::{EntryPath, Folding, Spellings, entry_path, parents};
use super::{ArchiveCaps, ArchiveError, RESULT_FILE, quoted};

/// The type bits of a Unix mode, and the types that are allowed.
const TYPE_MASK: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// The most notes on what is left out.
const MAX_NOTES: usize = 20;

/// Everything that will be written. Paths are relative and plain, with `/` between their parts.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Every folder, named or implied, parents first.
    pub(super) directories: BTreeSet<String>,
    /// Every file, in the archive's order.
    pub(super) files: Vec<PlannedFile>,
    /// Files that replace links, made after all others.
    pub(super) linked: Vec<LinkedFile>,
    /// Links to folders, made last.
    pub(super) packages: Vec<LinkedPackage>,
    /// What is left out, one sentence each.
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct PlannedFile {
    pub(super) index: usize,
    pub(super) path: Rc<str>,
    pub(super) is_executable: bool,
    pub(super) declared_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Link,
}

/// Checks every entry's name, type and place.
///
/// `file` is the archive's file again, for what the crate zip does not report. `folding` says which
/// names are one file in the target file system.
pub(super) fn plan<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    file: &mut (impl Read + Seek),
    caps: &ArchiveCaps,
    folding: Folding,
) -> Result<Plan, ArchiveError> {
    if archive.is_empty() {
        return Err(ArchiveError::not_a_zip("it holds no entries"));
    }
    refuse_duplicates(archive, file)?;
    let mut planning = Planning::new(caps, folding);
    let mut occupied = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let name = name_of(archive, index);
        let bad = |problem: String| ArchiveError::bad(&name, problem);
        let entry = archive.by_index_raw(index).map_err(|error| bad(unfit(&error)))?;
        occupied.push((bytes_of(&entry), index));
        let header = headers(file, &entry).map_err(bad)?;
        // Names from systems that separate folders by backslashes, such as old .NET.
        let slashed = if header.has_backslashes() { name.replace('\\', "/") } else { name.clone() };
        let judged = judge(&entry, &slashed, caps).map_err(bad)?;
        let Some((path, kind)) = judged else { continue };
        if path == RESULT_FILE && caps.keeps_ours {
            planning.note(format!(
                "the archive's own {RESULT_FILE} is left out: that is where the result goes"
            ));
            continue;
        }
        let is_executable = mode_of(&entry) & 0o111 != 0;
        let declared_bytes = entry.size();
        drop(entry);
        let node = match kind {
            Kind::Directory => Node::Directory,
            Kind::File => Node::File(declared_bytes),
            Kind::Link => Node::Link(target_of(archive, index).map_err(bad)?),
        };
        let path = planning.add(&name, path, node)?;
        if kind == Kind::File {
            planning.plan.files.push(PlannedFile { index, path, is_executable, declared_bytes });
        }
    }
    refuse_overlaps(archive, occupied)?;
    planning.finish()
}

pub(super) struct Planning<'a> {
    caps: &'a ArchiveCaps,
    nodes: Nodes,
    spellings: Spellings,
    /// Entries that are no folders.
    entries: usize,
    notes_left_out: usize,
    plan: Plan,
}

impl<'a> Planning<'a> {
    pub(super) fn new(caps: &'a ArchiveCaps, folding: Folding) -> Self {
        Self {
            caps,
            nodes: Nodes::new(),
            spellings: Spellings::on(folding),
            entries: 0,
            notes_left_out: 0,
            plan: Plan::default(),
        }
    }

    fn note(&mut self, note: String) {
        if self.plan.notes.len() < MAX_NOTES {
            self.plan.notes.push(note);
        } else {
            self.notes_left_out += 1;
        }
    }

    /// Gives an entry its place, and the folders above it theirs.
    pub(super) fn add(
        &mut self,
        name: &str,
        path: String,
        node: Node,
    ) -> Result<Rc<str>, ArchiveError> {
        self.spellings.add(&path).map_err(|problem| ArchiveError::bad(name, problem))?;
        for parent in parents(&path) {
            match self.nodes.get(parent) {
                None => self.insert(parent.into(), Node::Directory)?,
                Some(Node::Directory) => {}
                Some(Node::File(_)) => {
                    return Err(ArchiveError::bad(parent, "is a file where others need a folder"));
                }
                Some(Node::Link(_)) => {
                    let problem = "is a symbolic link where others need a folder";
                    return Err(ArchiveError::bad(parent, problem));
                }
            }
        }
        let path: Rc<str> = path.into();
        match (self.nodes.get(&path), &node) {
            (None, _) => self.insert(Rc::clone(&path), node)?,
            // A folder that is named twice, or named after an entry in it.
            (Some(Node::Directory), Node::Directory) => {}
            (Some(Node::Directory), _) => {
                return Err(ArchiveError::bad(name, "is a file where others need a folder"));
            }
            (Some(_), _) => return Err(ArchiveError::bad(name, "is there twice")),
        }
        Ok(path)
    }

    fn insert(&mut self, path: Rc<str>, node: Node) -> Result<(), ArchiveError> {
        if node == Node::Directory {
            self.plan.directories.insert(path.to_string());
        } else {
            self.entries += 1;
        }
        self.nodes.insert(path, node);
        let most = self.entries.max(self.plan.directories.len());
        if most > self.caps.max_entries {
            return Err(ArchiveError::too_many(self.caps));
        }
        Ok(())
    }

    /// Replaces the links, after every entry has its place.
    fn finish(mut self) -> Result<Plan, ArchiveError> {
        let replaced = links::replace(&self.nodes, self.caps)?;
        for (link, target) in &replaced.dangling {
            let (link, target) = (quoted(link), quoted(target));
            self.note(format!(
                "the symbolic link {link} is left out: it points to {target}, which is not in the \
                 archive"
            ));
        }
        if self.notes_left_out > 0 {
            self.plan.notes.push(format!("{} more are left out", self.notes_left_out));
        }
        self.plan.directories.extend(replaced.directories);
        self.plan.linked = replaced.files;
        self.plan.packages = replaced.packages;
        let links = self.plan.linked.len() + self.plan.packages.len();
        let files = self.plan.files.len() + links;
        if files.max(self.plan.directories.len()) > self.caps.max_entries {
            return Err(ArchiveError::too_many(self.caps));
        }
        Ok(self.plan)
    }
}

/// What an entry's headers say, if they agree.
fn headers<R: Read>(
    file: &mut (impl Read + Seek),
    entry: &ZipFile<'_, R>,
) -> Result<Header, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let central = Header::central_at(file, entry.central_header_start()).map_err(unreadable)?;
    let local = Header::local_at(file, entry.header_start()).map_err(unreadable)?;
    check_names(&central, &local)?;
    if central.effective_name() != entry.name_raw() {
        return Err("cannot be read: its name is not clear".to_owned());
    }
    Ok(central)
}

/// Where an entry goes, and what it is; `None` for the root itself.
fn judge<R: Read>(
    entry: &ZipFile<'_, R>,
    name: &str,
    caps: &ArchiveCaps,
) -> Result<Option<(String, Kind)>, String> {
    // A name in an old code page could hide what its bytes are.
    if entry.name_raw().iter().any(|byte| *byte < 0x20 || *byte == 0x7f) {
        return Err("has a control character in its name".to_owned());
    }
    let found = entry_path(name, caps)?;
    if entry.encrypted() {
        return Err("is encrypted, and there is no password: pack it without".to_owned());
    }
    if !zip::SUPPORTED_COMPRESSION_METHODS.contains(&entry.compression()) {
        return Err(format!("is compressed by an unsupported method, {}", entry.compression()));
    }
    let is_directory = found.as_ref().is_none_or(|found| found.is_directory);
    let kind = match mode_of(entry) & TYPE_MASK {
        0 | REGULAR if is_directory => Kind::Directory,
        0 | REGULAR => Kind::File,
        DIRECTORY if is_directory => Kind::Directory,
        DIRECTORY => return Err("is marked as a folder, and its name is a file's".to_owned()),
        SYMBOLIC_LINK if is_directory => {
            return Err("is marked as a symbolic link, and its name is a folder's".to_owned());
        }
        SYMBOLIC_LINK => Kind::Link,
        _ => return Err("is neither a file nor a folder".to_owned()),
    };
    if is_directory && entry.size() > 0 {
        return Err("is a folder with content of its own".to_owned());
    }
    Ok(found.map(|EntryPath { path, .. }| (path, kind)))
}

/// Where a link points to: its content.
fn target_of<R: Read + Seek>(archive: &mut ZipArchive<R>, index: usize) -> Result<String, String> {
    let entry = archive.by_index(index).map_err(|error| unfit(&error))?;
    let mut target = Vec::new();
    let most = MAX_TARGET_BYTES as u64 + 1;
    let read = entry.take(most).read_to_end(&mut target);
    read.map_err(|error| format!("cannot be unpacked: {error}"))?;
    if target.len() > MAX_TARGET_BYTES {
        return Err(format!("is a symbolic link to more than {MAX_TARGET_BYTES} bytes"));
    }
    match String::from_utf8(target) {
        Ok(target) if target.contains('\0') || target.is_empty() => {
            Err("is a symbolic link to what cannot be a path".to_owned())
        }
        Ok(target) => Ok(target),
        Err(_) => Err("is a symbolic link to a path that is not UTF-8".to_owned()),
    }
}

fn name_of<R: Read + Seek>(archive: &ZipArchive<R>, index: usize) -> String {
    match archive.name_for_index(index) {
        Some(Ok(name)) => name.into_owned(),
        _ => format!("number {index}"),
    }
}

/// The Unix mode, type included, whatever system the entry claims to come from: a mode counts if
/// any reader could apply it.
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
            let other = quoted(&name_of(archive, two[1].1));
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

fn refuse_duplicates<R: Read + Seek>(
    archive: &ZipArchive<R>,
    file: &mut (impl Read + Seek),
) -> Result<(), ArchiveError> {
    if !archive.has_duplicate_names() {
        return Ok(());
    }
    match first_duplicate(file, archive.central_directory_start()) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(ArchiveError::bad(&name, "is there twice")),
        Err(_) => Err(ArchiveError::not_a_zip("two of its entries have the same name")),
    }
}

fn unfit(error: &zip::result::ZipError) -> String {
    format!("cannot be read: {error}")
}
