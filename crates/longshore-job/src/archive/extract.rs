//! From a zip to a directory: all of it, or nothing.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::budget::{Budget, Budgeted};
use super::links::LinkedFile;
use super::names::Folding;
use super::plan::{Plan, PlannedFile, plan};
use super::sniff::{HEAD_BYTES, what_it_is};
use super::{ArchiveCaps, ArchiveError, Extracted, quoted};

/// How many bytes an entry may take in the archive's own directory, on average: a header of 46, a
/// name, dates, and the cost of reading them. This bounds the memory that the entries take.
const ENTRY_BYTES: u64 = 384;
/// How many bytes may be read to find that directory. The crate zip searches the last 64 KiB.
const SEARCH_BYTES: u64 = 1024 * 1024;
/// How many bytes are read at a time for one header. The next header may be far away.
const HEADER_BUFFER_BYTES: usize = 512;
/// Bytes copied at a time.
const COPY_BYTES: usize = 64 * 1024;

type Archive = ZipArchive<Budgeted<BufReader<File>>>;

/// Unpacks the zip into the directory `into`, which must be empty or missing.
///
/// The work is done in `{into}.partial`, and moved when it is complete. A failure leaves nothing
/// behind. Files get the mode 0644, or 0755 if the zip marks them as executable; folders get 0755.
/// A symbolic link becomes the file or folder of the archive that it points to. Links of Node.js
/// packages stay links within the archive.
///
/// # Errors
///
/// [`ArchiveError`], which names the first entry that is refused.
pub fn extract(zip: &Path, into: &Path, caps: ArchiveCaps) -> Result<Extracted, ArchiveError> {
    let budget = budget_of(&caps);
    match unpack(zip, into, &caps, &budget) {
        // Whatever the decoder says.
        Err(_) if budget.is_late() => Err(ArchiveError::TooSlow { max_time: caps.max_time }),
        outcome => outcome,
    }
}

fn unpack(
    zip: &Path,
    into: &Path,
    caps: &ArchiveCaps,
    budget: &Budget,
) -> Result<Extracted, ArchiveError> {
    let mut archive = open(zip, caps, budget)?;
    let mut file = BufReader::with_capacity(HEADER_BUFFER_BYTES, open_file(zip)?);
    let room = Room::of(caps, file.get_ref(), zip)?;
    staged(into, |staging| {
        let plan = plan(&mut archive, &mut file, caps, Folding::of(staging)?)?;
        write_all(&mut archive, plan, staging, room, budget)
    })
}

/// Does the work in a directory of its own, and moves that to `into` when it is complete.
pub(super) fn staged(
    into: &Path,
    work: impl FnOnce(&Path) -> Result<Extracted, ArchiveError>,
) -> Result<Extracted, ArchiveError> {
    let staging = staging_of(into);
    // A crash may have left one. Nobody needs what it holds.
    remove(&staging)?;
    let work = || {
        make_directory(&staging)?;
        let extracted = work(&staging)?;
        let action = || format!("moving {} to {}", staging.display(), into.display());
        fs::rename(&staging, into).map_err(|error| ArchiveError::io(action())(error))?;
        Ok(extracted)
    };
    let outcome = work();
    if outcome.is_err()
        && let Err(error) = remove(&staging)
    {
        tracing::warn!(path = %staging.display(), %error, "could not remove a failed extraction");
    }
    outcome
}

/// How many bytes may still be written, and the error if that is too few.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) left: u64,
    caps: ArchiveCaps,
    /// Whether the archive's own size is what limits it.
    by_ratio: bool,
}

impl Room {
    pub(super) fn of(caps: &ArchiveCaps, file: &File, zip: &Path) -> Result<Self, ArchiveError> {
        let reading = ArchiveError::io(format!("reading {}", zip.display()));
        let by_ratio = file.metadata().map_err(reading)?.len().saturating_mul(caps.max_ratio);
        Ok(Self {
            left: caps.max_extracted_bytes.min(by_ratio),
            caps: *caps,
            by_ratio: by_ratio < caps.max_extracted_bytes,
        })
    }

    pub(super) fn exceeded_at(&self, path: &str) -> ArchiveError {
        let entry = quoted(path);
        if self.by_ratio {
            ArchiveError::OutOfProportion { entry, max_ratio: self.caps.max_ratio }
        } else {
            ArchiveError::TooLarge { entry, max_bytes: self.caps.max_extracted_bytes }
        }
    }
}

pub(super) fn budget_of(caps: &ArchiveCaps) -> Budget {
    let entries = u64::try_from(caps.max_entries).unwrap_or(u64::MAX);
    let bytes = SEARCH_BYTES.saturating_add(entries.saturating_mul(ENTRY_BYTES));
    Budget::of(bytes, caps.max_time)
}

/// Where the files of `into` are until they are complete.
#[must_use]
pub fn staging_of(into: &Path) -> PathBuf {
    let mut name = into.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

fn remove(directory: &Path) -> Result<(), ArchiveError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ArchiveError::io(format!("removing {}", directory.display()))(error))
        }
        _ => Ok(()),
    }
}

pub(super) fn open_file(zip: &Path) -> Result<File, ArchiveError> {
    File::open(zip).map_err(ArchiveError::io(format!("opening {}", zip.display())))
}

/// The beginning of a file.
pub(super) fn head_of(file: &mut File, path: &Path) -> Result<Vec<u8>, ArchiveError> {
    let mut head = Vec::new();
    let read = file.take(HEAD_BYTES as u64).read_to_end(&mut head);
    read.map_err(ArchiveError::io(format!("reading {}", path.display())))?;
    Ok(head)
}

fn open(zip: &Path, caps: &ArchiveCaps, budget: &Budget) -> Result<Archive, ArchiveError> {
    let mut file = open_file(zip)?;
    let head = head_of(&mut file, zip)?;
    let reading = || ArchiveError::io(format!("reading {}", zip.display()));
    if head.is_empty() {
        return Err(ArchiveError::not_a_zip("the file is empty"));
    }
    // Each read of a header counts, so the buffer is below the counter.
    match ZipArchive::new(Budgeted::new(BufReader::new(file), budget.clone())) {
        Ok(archive) => {
            budget.lift();
            Ok(archive)
        }
        Err(_) if budget.is_spent() => Err(ArchiveError::not_a_zip(format!(
            "its directory of entries is too large for the {} entries allowed (CODE_MAX_ENTRIES)",
            caps.max_entries
        ))),
        Err(ZipError::Io(error)) if error.raw_os_error().is_some() => Err(reading()(error)),
        Err(error) if head.starts_with(b"PK\x03\x04") => {
            Err(ArchiveError::not_a_zip(format!("it is damaged or was cut short ({error})")))
        }
        Err(error) => Err(ArchiveError::not_a_zip(
            what_it_is(&head).unwrap_or_else(|| format!("it is something else ({error})")),
        )),
    }
}

fn write_all(
    archive: &mut Archive,
    plan: Plan,
    staging: &Path,
    mut room: Room,
    budget: &Budget,
) -> Result<Extracted, ArchiveError> {
    let in_time = || budget.in_time().map_err(ArchiveError::io("unpacking".to_owned()));
    for directory in &plan.directories {
        in_time()?;
        make_directory(&staging.join(directory))?;
    }
    let mut bytes = 0;
    for file in &plan.files {
        in_time()?;
        let written = write_file(archive, file, staging, &room, budget)?;
        room.left -= written;
        bytes += written;
    }
    for linked in &plan.linked {
        in_time()?;
        // It counts like a copy, because a copy of the directory needs space for each name.
        room.left =
            room.left.checked_sub(linked.bytes).ok_or_else(|| room.exceeded_at(&linked.path))?;
        bytes += linked.bytes;
        link_file(linked, staging)?;
    }
    for package in &plan.packages {
        in_time()?;
        let place = staging.join(&package.path);
        symlink(&package.target, &place)
            .map_err(ArchiveError::io(format!("writing {}", place.display())))?;
    }
    Ok(Extracted { files: plan.files.len() + plan.linked.len(), bytes, notes: plan.notes })
}

/// Gives a file another name, or copies it if the file system cannot do that. A program of npm
/// stays a link to its own place, because Node.js looks for its packages next to that place.
fn link_file(linked: &LinkedFile, staging: &Path) -> Result<(), ArchiveError> {
    let (from, to) = (staging.join(&*linked.to), staging.join(&linked.path));
    let made = match linked.to_own_place() {
        Some(target) => symlink(target, &to),
        None => fs::hard_link(&from, &to),
    };
    made.or_else(|_| fs::copy(&from, &to).map(drop))
        .map_err(ArchiveError::io(format!("writing {}", to.display())))
}

pub(super) fn make_directory(path: &Path) -> Result<(), ArchiveError> {
    let mode = 0o755;
    DirBuilder::new()
        .mode(mode)
        .create(path)
        // Set it again, because the umask removes bits.
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .map_err(ArchiveError::io(format!("creating the directory {}", path.display())))
}

fn write_file(
    archive: &mut Archive,
    planned: &PlannedFile,
    staging: &Path,
    room: &Room,
    budget: &Budget,
) -> Result<u64, ArchiveError> {
    if planned.declared_bytes > room.left {
        return Err(room.exceeded_at(&planned.path));
    }
    let entry = archive
        .by_index(planned.index)
        .map_err(|error| ArchiveError::bad(&planned.path, format!("cannot be read: {error}")))?;
    let mut entry = Budgeted::new(entry, budget.clone());
    write_new(
        &mut entry,
        &planned.path,
        planned.is_executable,
        (staging, planned.declared_bytes),
        room,
    )
}

/// Writes what is read into a new file, and makes sure that it is as long as it says.
pub(super) fn write_new(
    entry: &mut impl Read,
    name: &str,
    is_executable: bool,
    (staging, declared_bytes): (&Path, u64),
    room: &Room,
) -> Result<u64, ArchiveError> {
    let path = staging.join(name);
    let mode = if is_executable { 0o755 } else { 0o644 };
    let writing = || ArchiveError::io(format!("writing {}", path.display()));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(writing())?;
    let written = copy(entry, &mut file, room.left).map_err(|error| match error {
        CopyError::NoRoom => room.exceeded_at(name),
        CopyError::Write(error) => writing()(error),
        CopyError::Read(error) if error.raw_os_error().is_some() => {
            ArchiveError::io("reading the archive".to_owned())(error)
        }
        CopyError::Read(error) => ArchiveError::bad(name, format!("cannot be unpacked: {error}")),
    })?;
    if written != declared_bytes {
        let problem = format!("holds {written} bytes, not the {declared_bytes} it says");
        return Err(ArchiveError::bad(name, problem));
    }
    file.set_permissions(Permissions::from_mode(mode)).map_err(writing())?;
    Ok(written)
}

/// What stopped a copy. The side says whose fault it is.
#[derive(Debug)]
pub(super) enum CopyError {
    NoRoom,
    Read(io::Error),
    Write(io::Error),
}

/// Copies to the end, and counts the bytes that really come, whatever the header declares.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write, room: u64) -> Result<u64, CopyError> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut total = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        total += count as u64;
        if total > room {
            return Err(CopyError::NoRoom);
        }
        to.write_all(&buffer[..count]).map_err(CopyError::Write)?;
    }
}
