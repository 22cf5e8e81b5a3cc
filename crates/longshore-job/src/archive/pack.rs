//! From a directory to a zip, for people who run code on their own machine.

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

/// What no program needs to run: history, caches, a Python for another machine, our folder; and the
/// files in which people keep their secrets.
const LEFT_OUT: [&str; 6] = [".git", "__pycache__", ".venv", RESERVED_DIRECTORY, ".env", ".npmrc"];

/// The beginning of the names of further such files: `.env.production`.
const MORE_SECRETS: &str = ".env.";

fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name) || name.starts_with(MORE_SECRETS)
}

/// A directory that becomes an archive, or a part of one, and what of it goes in.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    /// The directory.
    pub dir: &'a Path,
    /// Whether a file, link or folder goes in, by its path within the directory.
    pub keeps: &'a dyn Fn(&Path) -> bool,
}

/// What went into an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Files.
    pub files: usize,
    /// Bytes of all files, before compression.
    pub bytes: u64,
}

/// Packs the directory `dir` into a new zip `to`. [`super::extract`] accepts it under the same
/// limits.
///
/// `.git`, `__pycache__`, `.venv`, `.longshore`, `.env`, `.env.*` and `.npmrc` are left out, at any depth. A symbolic link that
/// stays within the directory is packed as the file or folder that it points to, so any reader can
/// unpack it. Links of Node.js programs and packages stay links, because Node.js needs them to find
/// the packages.
///
/// # Errors
///
/// [`ArchiveError`]: a link that leaves the directory or runs in a circle, a file that is not a
/// regular one, a name that is not UTF-8, too much of anything. No `to` stays behind.
pub fn zip_directory(dir: &Path, to: &Path, caps: ArchiveCaps) -> Result<Packed, ArchiveError> {
    zip_trees(&[Tree { dir, keeps: &|_| true }], to, caps)
}

/// As [`zip_directory`], with several directories in one archive, and not all of each. No name may be
/// in two of them.
///
/// # Errors
///
/// As [`zip_directory`].
pub fn zip_trees(trees: &[Tree<'_>], to: &Path, caps: ArchiveCaps) -> Result<Packed, ArchiveError> {
    let roots: Vec<_> =
        trees.iter().map(|tree| Ok((resolve(tree.dir)?, tree.keeps))).collect::<Result<_, _>>()?;
    let file = File::create_new(to)
        .map_err(ArchiveError::io(format!("creating the archive {}", to.display())))?;
    let outcome = resolve(to).and_then(|own| pack(&roots, &own, BufWriter::new(file), &caps));
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
    /// Its real path and those above it: a link to one of them is a circle.
    above: Vec<PathBuf>,
}

/// The real path of a directory, and what of it goes in.
type Root<'a> = (PathBuf, &'a dyn Fn(&Path) -> bool);

fn pack(
    roots: &[Root<'_>],
    own: &Path,
    out: impl Write + Seek,
    caps: &ArchiveCaps,
) -> Result<Packed, ArchiveError> {
    let mut packing = Packing {
        zip: ZipWriter::new(out),
        packed: Packed { files: 0, bytes: 0 },
        folders: 0,
        own,
        caps,
    };
    for root in roots {
        packing.add_root(root)?;
    }
    let Packing { zip, packed, .. } = packing;
    let shown = roots.first().map(|(root, _)| root.to_string_lossy()).unwrap_or_default();
    if packed.files == 0 {
        return Err(ArchiveError::not_a_zip(format!("there is no file in {shown}")));
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
        let (entry, max_ratio) = (quoted(&shown), caps.max_ratio);
        return Err(ArchiveError::OutOfProportion { entry, max_ratio });
    }
    Ok(packed)
}

/// An archive that is being written.
struct Packing<'a, W: Write + Seek> {
    zip: ZipWriter<W>,
    packed: Packed,
    folders: usize,
    /// Where the archive itself is.
    own: &'a Path,
    caps: &'a ArchiveCaps,
}

impl<W: Write + Seek> Packing<'_, W> {
    fn add_root(&mut self, root: &Root<'_>) -> Result<(), ArchiveError> {
        let place = root.0.clone();
        let mut to_do = vec![Folder { above: vec![place.clone()], place, name: String::new() }];
        while let Some(folder) = to_do.pop() {
            for (name, path) in children(&folder)? {
                to_do.extend(self.add_child(root, &folder, name, &path)?);
                if self.packed.files.max(self.folders) > self.caps.max_entries {
                    return Err(ArchiveError::too_many(self.caps));
                }
            }
        }
        Ok(())
    }

    /// Adds a member of a folder; gives it back if it is a folder itself.
    fn add_child(
        &mut self,
        (root, keeps): &Root<'_>,
        folder: &Folder,
        name: String,
        path: &Path,
    ) -> Result<Option<Folder>, ArchiveError> {
        let is_kept = |path: &Path| path.strip_prefix(root).is_ok_and(keeps);
        if !is_kept(path) {
            return Ok(None);
        }
        let Ok(place) = path.canonicalize() else {
            return Err(ArchiveError::bad(&name, "cannot be followed to a file or folder"));
        };
        if place == self.own {
            return Ok(None);
        }
        if !place.starts_with(root) {
            return Err(ArchiveError::bad(&name, "is a link that leaves the directory"));
        }
        // A link is no way around what is left out.
        if !is_kept(&place) || !is_packed(root, &place) {
            return Ok(None);
        }
        entry_path(&name, self.caps).map_err(|problem| ArchiveError::bad(&name, problem))?;
        let metadata = fs::metadata(&place)
            .map_err(ArchiveError::io(format!("reading {}", place.display())))?;
        if metadata.is_dir() && folder.above.contains(&place) {
            return Err(ArchiveError::bad(&name, "is a link to a folder it lies in"));
        }
        if let Some(target) = kept_link(root, &name, path, &place, metadata.is_dir()) {
            self.packed.files += 1;
            let options = SimpleFileOptions::default();
            self.zip
                .add_symlink(&*name, target, options)
                .map_err(|error| ArchiveError::bad(&name, format!("cannot be packed: {error}")))?;
        } else if metadata.is_dir() {
            self.folders += 1;
            let above = folder.above.iter().chain([&place]).cloned().collect();
            return Ok(Some(Folder { place, name, above }));
        } else if metadata.is_file() {
            self.packed.files += 1;
            let left = self.caps.max_extracted_bytes - self.packed.bytes;
            let mode = metadata.permissions().mode();
            self.packed.bytes += add(&mut self.zip, &name, &place, mode, left, self.caps)?;
        } else {
            return Err(ArchiveError::bad(&name, "is neither a file nor a folder"));
        }
        Ok(None)
    }
}

/// Whether neither the place nor a folder above it is left out everywhere.
fn is_packed(root: &Path, place: &Path) -> bool {
    let within = place.strip_prefix(root).unwrap_or(place);
    !within.components().any(|part| part.as_os_str().to_str().is_some_and(is_left_out))
}

/// The text of a link in the archive, if it stays a link.
fn kept_link(root: &Path, name: &str, path: &Path, place: &Path, is_dir: bool) -> Option<String> {
    let to = place.strip_prefix(root).ok()?.to_str()?;
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if is_link { links::kept(name, to, is_dir) } else { None }
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
        if is_left_out(&name) {
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
