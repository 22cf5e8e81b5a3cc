//! A small disk for jobs' directories and spools, which can be filled.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Its size.
const MEGABYTES: usize = 96;

/// What is written to it at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// A file system in memory. It is unmounted when it is dropped.
pub(crate) struct Spool {
    mounted: PathBuf,
}

impl Spool {
    /// Mounts it on a new folder.
    pub(crate) fn mount(folder: PathBuf) -> Self {
        std::fs::create_dir(&folder).unwrap();
        let options = format!("size={MEGABYTES}m");
        let (source, kind) = (Some("longshore-chaos"), Some("tmpfs"));
        mount(source, &folder, kind, MsFlags::empty(), Some(options.as_str()))
            .unwrap_or_else(|error| panic!("mount a small disk, as root: {error}"));
        std::fs::create_dir(folder.join("runtime")).unwrap();
        Self { mounted: folder }
    }

    /// `TEMP_DIR` of the workers that share it.
    pub(crate) fn temp_dir(&self) -> PathBuf {
        self.mounted.join("runtime")
    }

    /// Fills it to the last byte.
    pub(crate) fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).unwrap();
        let piece = vec![0; PIECE_BYTES];
        while file.write_all(&piece).is_ok() {}
    }

    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }

    /// What lies in the directories of a namespace's jobs.
    pub(crate) fn directories(&self, namespace: &str) -> Vec<PathBuf> {
        let read = |path: &Path| std::fs::read_dir(path).into_iter().flatten().flatten();
        read(&self.temp_dir().join(namespace)).map(|entry| entry.path()).collect()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.mounted, MntFlags::MNT_DETACH) {
            eprintln!("unmount {}: {error}", self.mounted.display());
        }
    }
}
