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

/// What the entries may take in the archive's own directory, each on average, in bytes: a header of
/// 46, a name, dates, and the cost of reading them. It bounds the memory that they take.
const ENTRY_BYTES: u64 = 384;
/// What may be read to find that directory, in bytes; zip searches the last 64 KiB.
const SEARCH_BYTES: u64 = 1024 * 1024;
/// What is read at a time for one header, in bytes: the next one may be far away.
const HEADER_BUFFER_BYTES: usize = 512;
/// Bytes copied at a time.
const COPY_BYTES: usize = 64 * 1024;

type Archive = ZipArchive<Budgeted<BufReader<File>>>;

/// Unpacks the zip into the directory `into`, which must be empty or not there.
///
/// The work is done beside it, in `{into}.partial`, and moved when it is complete. Nothing of it
/// stays after a failure. Files become 0644, or 0755 where the zip marks them as executable,
/// folders 0755. A symbolic link becomes the file or the folder of the archive that it points to; those of
/// packages of Node.js stay links within the archive.
///
/// # Errors
///
/// [`ArchiveError`], which names the first entry that is refused.
pub fn extract(zip: &Path, into: &Path, caps: ArchiveCaps) -> Result<Extracted, ArchiveError> {
    let budget = budget_of(&caps);
    match unpack(zip, into, &caps, &budget) {
        // Whatever the decoder made of it.
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
    let staging = staging_of(into);
    // A crash may have left one; what it holds belongs to nobody.
    remove(&staging)?;
    let mut work = || {
        make_directory(&staging)?;
        let plan = plan(&mut archive, &mut file, caps, Folding::of(&staging)?)?;
        let extracted = write_all(&mut archive, plan, &staging, room, budget)?;
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

/// How many bytes may still be written, and what is said where that is too few.
#[derive(Debug, Clone, Copy)]
struct Room {
    left: u64,
    caps: ArchiveCaps,
    /// Whether the archive's own size is what limits it.
    by_ratio: bool,
}

impl Room {
    fn of(caps: &ArchiveCaps, file: &File, zip: &Path) -> Result<Self, ArchiveError> {
        let reading = ArchiveError::io(format!("reading {}", zip.display()));
        let by_ratio = file.metadata().map_err(reading)?.len().saturating_mul(caps.max_ratio);
        Ok(Self {
            left: caps.max_extracted_bytes.min(by_ratio),
            caps: *caps,
            by_ratio: by_ratio < caps.max_extracted_bytes,
        })
    }

    fn exceeded_at(&self, path: &str) -> ArchiveError {
        let entry = quoted(path);
        if self.by_ratio {
            ArchiveError::OutOfProportion { entry, max_ratio: self.caps.max_ratio }
        } else {
            ArchiveError::TooLarge { entry, max_bytes: self.caps.max_extracted_bytes }
        }
    }
}

fn budget_of(caps: &ArchiveCaps) -> Budget {
    let entries = u64::try_from(caps.max_entries).unwrap_or(u64::MAX);
    let bytes = SEARCH_BYTES.saturating_add(entries.saturating_mul(ENTRY_BYTES));
    Budget::of(bytes, caps.max_time)
}

/// Where the files of `into` stand until they are complete.
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

fn open_file(zip: &Path) -> Result<File, ArchiveError> {
    File::open(zip).map_err(ArchiveError::io(format!("opening {}", zip.display())))
}

fn open(zip: &Path, caps: &ArchiveCaps, budget: &Budget) -> Result<Archive, ArchiveError> {
    let mut file = open_file(zip)?;
    let mut head = Vec::new();
    let reading = || ArchiveError::io(format!("reading {}", zip.display()));
    Read::by_ref(&mut file).take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(reading())?;
    if head.is_empty() {
        return Err(ArchiveError::not_a_zip("the file is empty"));
    }
    // Each read of a header counts, so the buffer lies below.
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
        // As if it were a copy: whoever copies the directory pays for each name.
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

/// Gives a file another name, or copies it where the file system cannot do that. A program of npm is linked to
/// its own place, for Node.js looks beside that for the packages which it needs.
fn link_file(linked: &LinkedFile, staging: &Path) -> Result<(), ArchiveError> {
    let (from, to) = (staging.join(&*linked.to), staging.join(&linked.path));
    let made = match linked.to_own_place() {
        Some(target) => symlink(target, &to),
        None => fs::hard_link(&from, &to),
    };
    made.or_else(|_| fs::copy(&from, &to).map(drop))
        .map_err(ArchiveError::io(format!("writing {}", to.display())))
}

fn make_directory(path: &Path) -> Result<(), ArchiveError> {
    let mode = 0o755;
    DirBuilder::new()
        .mode(mode)
        .create(path)
        // Once more, for the umask takes bits away.
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
    let path = staging.join(&*planned.path);
    if planned.declared_bytes > room.left {
        return Err(room.exceeded_at(&planned.path));
    }
    let entry = archive
        .by_index(planned.index)
        .map_err(|error| ArchiveError::bad(&planned.path, format!("cannot be read: {error}")))?;
    let mut entry = Budgeted::new(entry, budget.clone());
    let mode = if planned.is_executable { 0o755 } else { 0o644 };
    let writing = || ArchiveError::io(format!("writing {}", path.display()));
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(writing())?;
    let written = copy(&mut entry, &mut file, room.left).map_err(|error| match error {
        CopyError::NoRoom => room.exceeded_at(&planned.path),
        CopyError::Write(error) => writing()(error),
        CopyError::Read(error) if error.raw_os_error().is_some() => {
            ArchiveError::io("reading the archive".to_owned())(error)
        }
        CopyError::Read(error) => {
            ArchiveError::bad(&planned.path, format!("cannot be unpacked: {error}"))
        }
    })?;
    if written != planned.declared_bytes {
        let problem = format!("holds {written} bytes, not the {} it says", planned.declared_bytes);
        return Err(ArchiveError::bad(&planned.path, problem));
    }
    file.set_permissions(Permissions::from_mode(mode)).map_err(writing())?;
    Ok(written)
}

/// What stopped a copy; whose fault it is depends on the side.
#[derive(Debug)]
pub(super) enum CopyError {
    NoRoom,
    Read(io::Error),
    Write(io::Error),
}

/// Copies to the end, counting what really comes, whatever was declared.
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
