//! From a tar to a directory: entry by entry, for a tar has no list of its entries. Nothing of it is
//! used before it was read to its end.

use std::fs;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry, EntryType};

use super::budget::{Budget, Budgeted};
use super::extract::{CopyError, Room, copy, make_directory, open_file, write_new};
use super::links::Node;
use super::names::{EntryPath, Folding, entry_path, parents};
use super::plan::Planning;
use super::sniff::Wrapping;
use super::{ArchiveCaps, ArchiveError, Extracted, quoted};

/// How many bytes the headers of one entry may take, with everything that describes it: long names
/// and attributes, which the crate tar reads into memory.
const HEADER_BYTES: u64 = 256 * 1024;

/// How many bytes may follow on the end mark. Programs fill the last record up, to 10 KiB by default.
const TRAILER_BYTES: u64 = 1024 * 1024;

type Packed = Budgeted<Box<dyn Read>>;

/// Unpacks a tar into the directory `staging`, which is empty.
pub(super) fn unpack(
    path: &Path,
    wrapping: Wrapping,
    staging: &Path,
    caps: &ArchiveCaps,
    budget: &Budget,
) -> Result<Extracted, ArchiveError> {
    let file = open_file(path)?;
    let mut room = Room::of(caps, &file, path)?;
    let file = BufReader::new(file);
    let packed: Box<dyn Read> = match wrapping {
        Wrapping::Plain => Box::new(file),
        Wrapping::Gzip => Box::new(MultiGzDecoder::new(file)),
        // Its memory is bounded by the largest window that the library takes by default, 128 MiB.
        Wrapping::Zstd => Box::new(
            zstd::stream::read::Decoder::with_buffer(file)
                .map_err(ArchiveError::io(format!("reading {}", path.display())))?,
        ),
    };
    let mut archive = Archive::new(Budgeted::new(packed, budget.clone()));
    let mut planning = Planning::new(caps, Folding::of(staging)?);
    let mut extracted = Extracted::default();
    let mut is_empty = true;
    let mut entries = archive.entries().map_err(unreadable)?;
    loop {
        budget.allow(HEADER_BYTES);
        let entry = match entries.next() {
            None => break,
            Some(Err(_)) if budget.is_spent() => {
                let reason = format!("the headers of an entry have more than {HEADER_BYTES} bytes");
                return Err(ArchiveError::not_a_tar(reason));
            }
            Some(entry) => entry.map_err(unreadable)?,
        };
        budget.lift();
        is_empty = false;
        if let Some(bytes) = unpack_entry(entry, staging, caps, &mut planning, &room)? {
            room.left -= bytes;
            extracted.files += 1;
            extracted.bytes += bytes;
        }
    }
    budget.lift();
    // The checksum of a packed one comes last.
    match copy(&mut archive.into_inner(), &mut io::sink(), TRAILER_BYTES) {
        Ok(_) => {}
        Err(CopyError::NoRoom) => {
            return Err(ArchiveError::not_a_tar("something else follows on its end"));
        }
        Err(CopyError::Read(error) | CopyError::Write(error)) => return Err(unreadable(error)),
    }
    if is_empty {
        return Err(ArchiveError::not_a_tar("it holds no entries"));
    }
    Ok(extracted)
}

/// Gives the size of a file that was written; `None` for everything else.
fn unpack_entry(
    mut entry: Entry<'_, Packed>,
    staging: &Path,
    caps: &ArchiveCaps,
    planning: &mut Planning<'_>,
    room: &Room,
) -> Result<Option<u64>, ArchiveError> {
    let kind = entry.header().entry_type();
    if kind.is_pax_global_extensions() {
        // A comment mostly, such as the commit that git names.
        return match copy(&mut entry, &mut io::sink(), HEADER_BYTES) {
            Ok(_) => Ok(None),
            Err(CopyError::NoRoom) => {
                Err(ArchiveError::not_a_tar("its global header is too large"))
            }
            Err(CopyError::Read(error) | CopyError::Write(error)) => Err(unreadable(error)),
        };
    }
    let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let bad = |problem: String| ArchiveError::bad(&shown, problem);
    let is_sparse = is_sparse(&mut entry).map_err(unreadable)?;
    let found = std::str::from_utf8(&entry.path_bytes())
        .map_err(|_| "has a name that is not UTF-8".to_owned())
        .and_then(|name| entry_path(name, caps))
        .map_err(bad)?;
    let is_folder = match kind {
        EntryType::Directory => true,
        EntryType::Regular | EntryType::Continuous => {
            found.as_ref().is_none_or(|found| found.is_directory)
        }
        EntryType::Symlink | EntryType::Link => {
            return Err(bad(
                "is a link, and links are not unpacked from a tar: pack what it points \
                            to, with 'tar --dereference --hard-dereference'"
                    .to_owned(),
            ));
        }
        EntryType::GNUSparse => return Err(bad(SPARSE.to_owned())),
        _ => return Err(bad("is neither a file nor a folder".to_owned())),
    };
    if is_sparse {
        return Err(bad(SPARSE.to_owned()));
    }
    if is_folder && entry.size() > 0 {
        return Err(bad("is a folder with content of its own".to_owned()));
    }
    // The folder itself, which many programs name.
    let Some(EntryPath { path, .. }) = found else { return Ok(None) };
    let declared = entry.size();
    let node = if is_folder { Node::Directory } else { Node::File(declared) };
    let path = planning.add(&shown, path, node)?;
    for parent in parents(&path).chain(is_folder.then_some(&*path)) {
        let place = staging.join(parent);
        if fs::symlink_metadata(&place).is_err() {
            make_directory(&place)?;
        }
    }
    if is_folder {
        return Ok(None);
    }
    if declared > room.left {
        return Err(room.exceeded_at(&path));
    }
    let is_executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
    write_new(&mut entry, &path, is_executable, (staging, declared), room).map(Some)
}

const SPARSE: &str = "is a sparse file: pack it without --sparse";

/// Whether an entry is a file with holes in one of the newer forms, whose content is not that of the
/// file.
fn is_sparse(entry: &mut Entry<'_, Packed>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(false) };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The disk's fault, or else the archive's.
fn unreadable(error: io::Error) -> ArchiveError {
    if error.raw_os_error().is_some() {
        return ArchiveError::io("reading the archive".to_owned())(error);
    }
    // It may quote the archive.
    let said = quoted(&error.to_string());
    ArchiveError::not_a_tar(format!("it is damaged or was cut short ({said})"))
}
