//! How far an installation is.

use std::fs;
use std::path::Path;

use super::lock::{Lock, Manager};

/// How far an installation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It finds out what is needed, and fetches it: so many packages so far.
    Collecting(usize),
    /// It installs: so many packages, of so many.
    Installing {
        /// Packages that are there.
        done: usize,
        /// Packages in all.
        of: usize,
    },
}

/// What pip says before each package that it finds it needs.
const COLLECTING: &str = "Collecting ";

/// What pip says once it has all of them, before their names.
const INSTALLING: &str = "Installing collected packages: ";

/// Reads how far an installation is, from its output and from its files.
#[derive(Debug)]
pub(super) struct Progress {
    collected: usize,
    total: Option<usize>,
}

impl Progress {
    /// By the output so far.
    pub(super) fn of(lock: &Lock, said: &str) -> Self {
        let total = (lock.manager == Manager::Npm).then_some(lock.folders.len());
        let mut progress = Self { collected: 0, total };
        for line in said.lines() {
            progress.collected += usize::from(line.starts_with(COLLECTING));
            if let Some(names) = line.strip_prefix(INSTALLING) {
                progress.total = Some(names.split(", ").count());
            }
        }
        progress
    }

    /// How far it is. `work` is the folder of the installation.
    pub(super) fn step(&self, lock: &Lock, work: &Path) -> Step {
        let Some(of) = self.total else { return Step::Collecting(self.collected) };
        let done = match lock.manager {
            Manager::Pip => installed_by_pip(&work.join("tmp")),
            Manager::Npm => {
                let is_there = |folder: &&String| {
                    work.join("build").join(folder).join("package.json").is_file()
                };
                lock.folders.iter().filter(is_there).count()
            }
        };
        Step::Installing { done: done.min(of), of }
    }
}

/// How many packages pip has put into the folder from which it moves them in the end.
fn installed_by_pip(tmp: &Path) -> usize {
    let folders = fs::read_dir(tmp).into_iter().flatten().flatten();
    let targets =
        folders.filter(|folder| folder.file_name().to_string_lossy().starts_with("pip-target-"));
    let members = targets
        .flat_map(|target| fs::read_dir(target.path().join("lib/python")))
        .flatten()
        .flatten();
    members.filter(|member| member.file_name().to_string_lossy().ends_with(".dist-info")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pip_tells_what_it_collects_and_then_how_many_it_installs() {
        let work = tempfile::tempdir().unwrap();
        let lock = Lock { manager: Manager::Pip, files: Vec::new(), folders: Vec::new() };
        let said = "Collecting six\n  Downloading six.whl\nCollecting numpy>=1\n";
        let step = |said: &str| Progress::of(&lock, said).step(&lock, work.path());
        assert_eq!(step(said), Step::Collecting(2));
        let said = format!("{said}Installing collected packages: six, numpy\n");
        let target = work.path().join("tmp/pip-target-x/lib/python");
        fs::create_dir_all(target.join("six-1.dist-info")).unwrap();
        assert_eq!(step(&said), Step::Installing { done: 1, of: 2 });
    }

    #[test]
    fn npm_has_the_number_in_its_lock_file() {
        let work = tempfile::tempdir().unwrap();
        let folders = ["node_modules/a", "node_modules/@b/c"].map(str::to_owned).to_vec();
        let lock = Lock { manager: Manager::Npm, files: Vec::new(), folders };
        let progress = Progress::of(&lock, "");
        assert_eq!(progress.step(&lock, work.path()), Step::Installing { done: 0, of: 2 });
        let there = work.path().join("build/node_modules/@b/c");
        fs::create_dir_all(&there).unwrap();
        fs::write(there.join("package.json"), "").unwrap();
        assert_eq!(progress.step(&lock, work.path()), Step::Installing { done: 1, of: 2 });
    }
}
