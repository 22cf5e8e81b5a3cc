//! From a directory to a zip that a worker unpacks again.

use std::fs::File;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::project::{Files, IGNORE_FILE};
use crate::job::archive::{Tree, zip_trees};
use crate::runner::code::CodeCaps;
use crate::worker::OWN_PREFIX;

/// Code that its author has: a directory, or a zip that is taken unchanged.
pub(super) struct Source {
    path: PathBuf,
    /// The names of its files: all of a zip, those at the top of a directory.
    pub(super) names: Vec<String>,
    /// What of a directory is sent.
    files: Option<Files>,
}

impl Source {
    /// Looks at a directory or a zip.
    pub(super) fn of(path: &Path, caps: &CodeCaps) -> anyhow::Result<Self> {
        let path = path.to_owned();
        if path.is_dir() {
            let files = Files::of(&path, caps.archive.max_entries)?;
            return Ok(Self { names: files.at_top(), files: Some(files), path });
        }
        let shown = path.display();
        let zip = File::open(&path).with_context(|| format!("{shown} cannot be read"))?;
        let zip = zip::ZipArchive::new(zip).with_context(|| format!("{shown} is not a zip"))?;
        let names: Result<_, zip::result::ZipError> =
            zip.file_names().map(|name| Ok(name?.into_owned())).collect();
        Ok(Self { names: names?, files: None, path })
    }

    /// The directory, unless it is a zip.
    pub(super) fn directory(&self) -> Option<&Path> {
        self.files.is_some().then_some(&self.path)
    }

    /// Whether a file or a folder of the directory is sent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.as_ref().is_some_and(|files| files.keeps(Path::new(name)))
    }

    /// Packs a directory, with packages that are in another one and their folder there; takes a zip
    /// unchanged.
    pub(super) fn pack(
        &self,
        caps: &CodeCaps,
        packages: Option<&(&str, PathBuf)>,
    ) -> anyhow::Result<Package> {
        let (shown, size) = (self.path.display(), caps.max_archive_bytes);
        let file = self.zip(caps, packages)?;
        let mut package = Package { sha256: String::new(), bytes: 0, file };
        let path = package.path();
        let zip = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
        package.bytes = zip.metadata()?.len();
        if package.bytes > size {
            bail!(
                "{shown} makes a zip of {} MB, more than the {} MB allowed (CODE_MAX_ARCHIVE_MB); \
                 name what is not needed in {IGNORE_FILE}",
                package.bytes.div_ceil(1 << 20),
                size >> 20
            );
        }
        package.sha256 = hash(zip).with_context(|| format!("{shown} cannot be read"))?;
        Ok(package)
    }

    fn zip(&self, caps: &CodeCaps, packages: Option<&(&str, PathBuf)>) -> anyhow::Result<Zip> {
        let Some(files) = &self.files else { return Ok(Zip::Given(self.path.clone())) };
        let place = tempfile::Builder::new().prefix(OWN_PREFIX).tempdir();
        let place = place.context("no temporary directory can be made")?;
        let zip = place.path().join("code.zip");
        let folder = packages.map(|(folder, _)| *folder);
        let is_ours = |path: &Path| {
            files.keeps(path) && folder.is_none_or(|folder| !path.starts_with(folder))
        };
        let mut trees = vec![Tree { dir: &self.path, keeps: &is_ours }];
        trees.extend(packages.map(|(_, dir)| Tree { dir, keeps: &|_| true }));
        zip_trees(&trees, &zip, caps.archive)
            .with_context(|| format!("{} cannot be packed", self.path.display()))?;
        Ok(Zip::Made { place, path: zip })
    }
}

/// Code that is ready to be stored.
pub(super) struct Package {
    /// The zip's SHA-256, in hexadecimal.
    pub(super) sha256: String,
    /// The zip's size.
    pub(super) bytes: u64,
    file: Zip,
}

enum Zip {
    Given(PathBuf),
    Made { place: TempDir, path: PathBuf },
}

impl Package {
    /// The path of the zip, which exists as long as this value.
    pub(super) fn path(&self) -> &Path {
        match &self.file {
            Zip::Given(path) | Zip::Made { path, .. } => path,
        }
    }

    /// The directory that exists as long as this value, if there is one.
    pub(super) fn place(&self) -> Option<&Path> {
        match &self.file {
            Zip::Given(_) => None,
            Zip::Made { place, .. } => Some(place.path()),
        }
    }

    /// Its key in the code bucket: the same for the same bytes, whoever sends them.
    pub(super) fn key(&self) -> String {
        format!("code/{}.zip", self.sha256)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::archive::ArchiveCaps;

    const CAPS: CodeCaps = CodeCaps {
        max_archive_bytes: 2 << 20,
        archive: ArchiveCaps {
            max_entries: 10,
            max_extracted_bytes: 4 << 20,
            max_depth: 9,
            max_name_bytes: 99,
            max_ratio: 200,
            max_time: std::time::Duration::from_secs(60),
            keeps_ours: true,
        },
        max_input_bytes: 1 << 20,
    };

    fn packed(path: &Path) -> anyhow::Result<Package> {
        Source::of(path, &CAPS)?.pack(&CAPS, None)
    }

    fn directory() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("lib/__pycache__")).unwrap();
        std::fs::write(root.path().join("main.py"), "def main(id, config): pass\n").unwrap();
        std::fs::write(root.path().join("lib/a.py"), "x = 1\n").unwrap();
        std::fs::write(root.path().join("lib/__pycache__/a.pyc"), "x").unwrap();
        std::fs::write(root.path().join(".gitignore"), "/notes\n").unwrap();
        std::fs::write(root.path().join("notes"), "x").unwrap();
        root
    }

    #[test]
    fn a_directory_becomes_a_zip_of_its_files() {
        let package = packed(directory().path()).unwrap();
        let mut names = Source::of(package.path(), &CAPS).unwrap().names;
        names.sort();
        assert_eq!(names, [".gitignore", "lib/a.py", "main.py"]);
    }

    #[test]
    fn the_same_files_have_the_same_hash_and_others_another() {
        let (a, b) = (directory(), directory());
        let hash = |root: &tempfile::TempDir| packed(root.path()).unwrap().sha256;
        assert_eq!(hash(&a), hash(&b));
        std::fs::write(b.path().join("lib/a.py"), "x = 2\n").unwrap();
        assert_ne!(hash(&a), hash(&b));
    }

    #[test]
    fn a_zip_is_taken_as_it_is() {
        let made = packed(directory().path()).unwrap();
        let again = packed(made.path()).unwrap();
        assert_eq!(again.sha256, made.sha256);
        assert_eq!(again.path(), made.path());
    }

    #[test]
    fn what_cannot_be_packed_is_said() {
        let root = directory();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
        let problem = |path: &Path| format!("{:#}", packed(path).err().unwrap());
        assert!(problem(root.path()).contains("is a link that leaves the directory"));
        assert!(problem(tempfile::tempdir().unwrap().path()).contains("there is no file in"));
        assert!(problem(Path::new("/nowhere")).contains("/nowhere cannot be read"));
        assert!(problem(&root.path().join("main.py")).contains("main.py is not a zip"));
    }

    #[test]
    fn a_zip_that_no_worker_would_take_is_refused_before_it_is_sent() {
        let root = directory();
        let noise = |bytes: usize| {
            let text: Vec<u8> = (0..bytes).map(|_| fastrand::u8(..)).collect();
            std::fs::write(root.path().join("data.bin"), text).unwrap();
            packed(root.path()).map(|package| package.bytes).map_err(|error| format!("{error:#}"))
        };
        assert!(noise((2 << 20) - 2000).unwrap() <= 2 << 20);
        let refused = noise((2 << 20) + 1).unwrap_err();
        assert!(
            refused.contains("a zip of 3 MB, more than the 2 MB allowed (CODE_MAX_ARCHIVE_MB)"),
            "{refused}"
        );
    }
}
