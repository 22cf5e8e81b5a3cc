//! From a directory to a zip, for those who run code that lies beside them.

use std::fs::{self, File};
use std::io::{BufWriter, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::extract::{CopyError, copy};
use super::links;
use super::names::entry_path;
use super::{ArchiveCaps, ArchiveError, RESERVED_DIRECTORY, quoted};

/// Folders that no program needs to run: history, caches, a Python for another machine, and ours.
const LEFT_OUT: [&str; 4] = [".git", "__pycache__", ".venv", RESERVED_DIRECTORY];

/// What went into an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Files.
    pub files: usize,
    /// Bytes of all files, before compression.
    pub bytes: u64,
}

/// Packs the directory `dir` into a new zip `to`, which [`super::extract`] takes under the same
/// caps.
///
/// `.git`, `__pycache__`, `.venv` and `.longshore` are left out, at any depth. Symbolic links that
/// stay within the directory are packed as what they point to, so that any reader finds it; programs and
/// packages of Node.js that are links stay links, for else they would not find each other.
///
/// # Errors
///
/// [`ArchiveError`]: a link that leaves the directory or runs in a circle, a file that is not a
/// regular one, a name that is not UTF-8, too much of anything. No `to` stays behind.
pub fn zip_directory(dir: &Path, to: &Path, caps: ArchiveCaps) -> Result<Packed, ArchiveError> {
    let root = resolve(dir)?;
    let file = File::create_new(to)
        .map_err(ArchiveError::io(format!("creating the archive {}", to.display())))?;
    let outcome = resolve(to).and_then(|own| pack(&root, &own, BufWriter::new(file), &caps));
    if outcome.is_err()
        && let Err(error) = fs::remove_file(to)
    {
        tracing::warn!(path = %to.display(), %error, "could not remove an incomplete archive");
    }
    outcome
}

fn resolve(path: &Path) -> Result<PathBuf, ArchiveError> {
    path.canonicalize().map_err(ArchiveError::io(format!("finding {}", path.display())))
}

/// A folder that is still to be packed.
struct Folder {
    /// Where it really is, every link resolved.
    place: PathBuf,
    /// Its name in the archive, empty for the root.
    name: String,
    /// The real places above it and its own: a link to one of them is a circle.
    above: Vec<PathBuf>,
}

fn pack(
    root: &Path,
    own: &Path,
    out: impl Write + Seek,
    caps: &ArchiveCaps,
) -> Result<Packed, ArchiveError> {
    let mut zip = ZipWriter::new(out);
    let mut packed = Packed { files: 0, bytes: 0 };
    let mut folders = 0;
    let mut to_do =
        vec![Folder { place: root.to_owned(), name: String::new(), above: vec![root.to_owned()] }];
    while let Some(folder) = to_do.pop() {
        for (name, path) in children(&folder)? {
            let Ok(place) = path.canonicalize() else {
                return Err(ArchiveError::bad(&name, "cannot be followed to a file or folder"));
            };
            if place == own {
                continue;
            }
            if !place.starts_with(root) {
                return Err(ArchiveError::bad(&name, "is a link that leaves the directory"));
            }
            entry_path(&name, caps).map_err(|problem| ArchiveError::bad(&name, problem))?;
            let metadata = fs::metadata(&place)
                .map_err(ArchiveError::io(format!("reading {}", place.display())))?;
            if metadata.is_dir() && folder.above.contains(&place) {
                return Err(ArchiveError::bad(&name, "is a link to a folder it lies in"));
            }
            if let Some(target) = kept_link(root, &name, &path, &place, metadata.is_dir()) {
                packed.files += 1;
                let options = SimpleFileOptions::default();
                zip.add_symlink(&*name, target, options).map_err(|error| {
                    ArchiveError::bad(&name, format!("cannot be packed: {error}"))
                })?;
            } else if metadata.is_dir() {
                folders += 1;
                let above = folder.above.iter().chain([&place]).cloned().collect();
                to_do.push(Folder { place, name, above });
            } else if metadata.is_file() {
                packed.files += 1;
                let left = caps.max_extracted_bytes - packed.bytes;
                let mode = metadata.permissions().mode();
                packed.bytes += add(&mut zip, &name, &place, mode, left, caps)?;
            } else {
                return Err(ArchiveError::bad(&name, "is neither a file nor a folder"));
            }
            if packed.files > caps.max_entries || folders > caps.max_entries {
                return Err(ArchiveError::too_many(caps));
            }
        }
    }
    if packed.files == 0 {
        return Err(ArchiveError::not_a_zip(format!("there is no file in {}", root.display())));
    }
    let size = zip
        .finish()
        .map_err(std::io::Error::from)
        .and_then(|mut out| {
            out.flush()?;
            out.stream_position()
        })
        .map_err(ArchiveError::io("writing the archive".to_owned()))?;
    if packed.bytes > size.saturating_mul(caps.max_ratio) {
        let (entry, max_ratio) = (quoted(&root.to_string_lossy()), caps.max_ratio);
        return Err(ArchiveError::OutOfProportion { entry, max_ratio });
    }
    Ok(packed)
}

/// What a link says in the archive where it stays one, and what it leads to is there as well.
fn kept_link(root: &Path, name: &str, path: &Path, place: &Path, is_dir: bool) -> Option<String> {
    let to = place.strip_prefix(root).ok()?.to_str()?;
    let is_there = !to.split('/').any(|part| LEFT_OUT.contains(&part));
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if is_link && is_there { links::kept(name, to, is_dir) } else { None }
}

/// The folder's members by name, so that the same directory always gives the same archive.
fn children(folder: &Folder) -> Result<Vec<(String, PathBuf)>, ArchiveError> {
    let reading = || ArchiveError::io(format!("reading {}", folder.place.display()));
    let mut found = Vec::new();
    for child in fs::read_dir(&folder.place).map_err(reading())? {
        let child = child.map_err(reading())?;
        let Ok(name) = child.file_name().into_string() else {
            let shown = child.path().to_string_lossy().into_owned();
            return Err(ArchiveError::bad(&shown, "has a name that is not UTF-8"));
        };
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let name = if folder.name.is_empty() { name } else { format!("{}/{name}", folder.name) };
        found.push((name, child.path()));
    }
    found.sort_unstable();
    Ok(found)
}

fn add(
    zip: &mut ZipWriter<impl Write + Seek>,
    name: &str,
    place: &Path,
    mode: u32,
    left: u64,
    caps: &ArchiveCaps,
) -> Result<u64, ArchiveError> {
    let permissions = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .unix_permissions(permissions)
        .large_file(true);
    let reading = || ArchiveError::io(format!("reading {}", place.display()));
    let mut file = File::open(place).map_err(reading())?;
    zip.start_file(name, options)
        .map_err(|error| ArchiveError::bad(name, format!("cannot be packed: {error}")))?;
    copy(&mut file, zip, left).map_err(|error| match error {
        CopyError::NoRoom => {
            ArchiveError::TooLarge { entry: quoted(name), max_bytes: caps.max_extracted_bytes }
        }
        CopyError::Read(error) => reading()(error),
        CopyError::Write(error) => ArchiveError::io("writing the archive".to_owned())(error),
    })
}
