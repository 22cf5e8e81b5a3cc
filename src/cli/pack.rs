//! From a directory to a zip that a worker unpacks again.

use std::fs::File;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// What is left out of a zip: it is of no use in a container.
const LEFT_OUT: [&str; 6] = [".git", ".hg", "__pycache__", ".venv", ".DS_Store", ".pytest_cache"];

/// Code that is ready to be stored.
pub(super) struct Package {
    /// The zip's SHA-256, in hexadecimal.
    pub(super) sha256: String,
    file: Zip,
}

enum Zip {
    Given(PathBuf),
    Made(NamedTempFile),
}

impl Package {
    /// Takes a zip as it is, or packs a directory.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let file = if path.is_dir() { Zip::Made(pack(path)?) } else { Zip::Given(path.to_owned()) };
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
            Zip::Given(path) => path,
            Zip::Made(file) => file.path(),
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

/// Packs a directory: the same files give the same bytes, whenever and wherever.
fn pack(directory: &Path) -> anyhow::Result<NamedTempFile> {
    let mut files = Vec::new();
    collect(directory, &mut files)?;
    if files.is_empty() {
        bail!("{} holds no files", directory.display());
    }
    files.sort();
    let mut target = NamedTempFile::with_suffix(".zip").context("no temporary file can be made")?;
    let mut zip = ZipWriter::new(target.as_file_mut());
    for path in files {
        let name = name_of(directory, &path)?;
        zip.start_file(name, options_of(&path)?)?;
        let mut file =
            File::open(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        io::copy(&mut file, &mut zip)
            .with_context(|| format!("{} cannot be packed", path.display()))?;
    }
    zip.finish()?;
    Ok(target)
}

fn options_of(path: &Path) -> anyhow::Result<SimpleFileOptions> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = std::fs::metadata(path)?.permissions().mode() & 0o111 != 0;
    Ok(SimpleFileOptions::default()
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(if executable { 0o755 } else { 0o644 }))
}

fn name_of(directory: &Path, path: &Path) -> anyhow::Result<String> {
    let relative = path.strip_prefix(directory)?;
    let parts: Option<Vec<_>> = relative.iter().map(|part| part.to_str()).collect();
    let parts =
        parts.with_context(|| format!("the name of {} is not UTF-8", relative.display()))?;
    Ok(parts.join("/"))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = || format!("the directory {} cannot be read", directory.display());
    for entry in std::fs::read_dir(directory).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let kind = entry.file_type().with_context(unreadable)?;
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        } else {
            bail!(
                "{} is neither a file nor a directory, and a worker would refuse it; \
                 put the file itself there",
                entry.path().display()
            );
        }
    }
    Ok(())
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
        assert_eq!(package.names().unwrap(), ["lib/a.py", "main.py"]);
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
        assert!(problem(root.path()).contains("link is neither a file nor a directory"));
        assert!(problem(tempfile::tempdir().unwrap().path()).contains("holds no files"));
        assert!(problem(Path::new("/nowhere")).contains("/nowhere cannot be read"));
        assert!(problem(&root.path().join("main.py")).contains("main.py is not a zip"));
    }
}
