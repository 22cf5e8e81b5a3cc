//! From a directory to a zip that a worker unpacks again.

use std::fs::File;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::job::archive::{ArchiveCaps, zip_directory};

/// Code that is ready to be stored.
pub(super) struct Package {
    /// The zip's SHA-256, in hexadecimal.
    pub(super) sha256: String,
    file: Zip,
}

enum Zip {
    Given(PathBuf),
    Made { _place: TempDir, path: PathBuf },
}

impl Package {
    /// Takes a zip as it is, or packs a directory.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let file = if path.is_dir() {
            let (place, path) = pack(path)?;
            Zip::Made { _place: place, path }
        } else {
            Zip::Given(path.to_owned())
        };
        let mut package = Self { sha256: String::new(), file };
        let path = package.path();
        let shown = path.display();
        let mut zip = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
        zip::ZipArchive::new(&zip).with_context(|| format!("{shown} is not a zip"))?;
        io::Seek::rewind(&mut zip)?;
        package.sha256 = hash(zip).with_context(|| format!("{shown} cannot be read"))?;
        Ok(package)
    }

    /// Where the zip is, for as long as this lives.
    pub(super) fn path(&self) -> &Path {
        match &self.file {
            Zip::Given(path) | Zip::Made { path, .. } => path,
        }
    }
}

impl Package {
    /// The names of the files in the zip.
    pub(super) fn names(&self) -> anyhow::Result<Vec<String>> {
        let zip = zip::ZipArchive::new(File::open(self.path())?)?;
        let names = zip.file_names().map(|name| Ok(name?.into_owned()));
        names.collect()
    }
}

fn hash(file: File) -> io::Result<String> {
    let mut reader = io::BufReader::new(file);
    let mut hash = Sha256::new();
    loop {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(piece);
        let read = piece.len();
        reader.consume(read);
    }
}

/// What a directory may hold to be packed: what a worker unpacks where its settings say nothing else.
const MAX_FILES: usize = 50_000;
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Packs a directory: the same files give the same bytes, whenever and wherever.
fn pack(directory: &Path) -> anyhow::Result<(TempDir, PathBuf)> {
    let place = tempfile::tempdir().context("no temporary directory can be made")?;
    let zip = place.path().join("code.zip");
    zip_directory(directory, &zip, ArchiveCaps::new(MAX_FILES, MAX_BYTES))
        .with_context(|| format!("{} cannot be packed", directory.display()))?;
    Ok((place, zip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("lib/__pycache__")).unwrap();
        std::fs::write(root.path().join("main.py"), "def main(id, config): pass\n").unwrap();
        std::fs::write(root.path().join("lib/a.py"), "x = 1\n").unwrap();
        std::fs::write(root.path().join("lib/__pycache__/a.pyc"), "x").unwrap();
        root
    }

    #[test]
    fn a_directory_becomes_a_zip_of_its_files() {
        let package = Package::of(directory().path()).unwrap();
        let mut names = package.names().unwrap();
        names.sort();
        assert_eq!(names, ["lib/a.py", "main.py"]);
    }

    #[test]
    fn the_same_files_have_the_same_hash_and_others_another() {
        let (a, b) = (directory(), directory());
        let hash = |root: &tempfile::TempDir| Package::of(root.path()).unwrap().sha256;
        assert_eq!(hash(&a), hash(&b));
        std::fs::write(b.path().join("lib/a.py"), "x = 2\n").unwrap();
        assert_ne!(hash(&a), hash(&b));
    }

    #[test]
    fn a_zip_is_taken_as_it_is() {
        let made = Package::of(directory().path()).unwrap();
        let again = Package::of(made.path()).unwrap();
        assert_eq!(again.sha256, made.sha256);
        assert_eq!(again.path(), made.path());
    }

    #[test]
    fn what_cannot_be_packed_is_said() {
        let root = directory();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
        let problem = |path: &Path| format!("{:#}", Package::of(path).err().unwrap());
        assert!(problem(root.path()).contains("is a link that leaves the directory"));
        assert!(problem(tempfile::tempdir().unwrap().path()).contains("there is no file in"));
        assert!(problem(Path::new("/nowhere")).contains("/nowhere cannot be read"));
        assert!(problem(&root.path().join("main.py")).contains("main.py is not a zip"));
    }
}
