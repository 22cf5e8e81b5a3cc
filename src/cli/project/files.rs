//! Which files of a directory are sent: all but those that its ignore files name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ignore::gitignore::Gitignore;
use ignore::{DirEntry, WalkBuilder};

/// Our own ignore file. It has the form of a `.gitignore`, and wins over one.
pub(in crate::cli) const IGNORE_FILE: &str = ".longshoreignore";

/// Where installed packages are, at the top of a directory. They are in most people's `.gitignore`,
/// and programs need them.
const PACKAGES: [&str; 2] = ["vendor", "node_modules"];

/// The file that makes a folder a virtual environment of Python: for this machine alone.
const ENVIRONMENT: &str = "pyvenv.cfg";

/// The files, links and folders of a directory that are sent.
#[derive(Debug, Default)]
pub(in crate::cli) struct Files(BTreeSet<PathBuf>);

impl Files {
    /// Lists the directory `dir`, up to `max_entries` files and as many folders.
    pub(in crate::cli) fn of(dir: &Path, max_entries: usize) -> anyhow::Result<Self> {
        let shown = dir.display();
        let root = dir.canonicalize().with_context(|| format!("{shown} cannot be read"))?;
        let mut files = Self::default();
        let mut add = |walk: &WalkBuilder| {
            for entry in walk.build() {
                let path = entry.with_context(|| format!("{shown} cannot be read"))?.into_path();
                if let Ok(path) = path.strip_prefix(&root)
                    && path.iter().next().is_some()
                {
                    files.0.insert(path.to_owned());
                }
                if files.0.len() > 2 * max_entries {
                    bail!(
                        "{shown} has more than the {max_entries} files or folders allowed \
                         (CODE_MAX_ENTRIES); name what is not needed in {IGNORE_FILE}"
                    );
                }
            }
            Ok(())
        };
        let top = root.clone();
        let is_wanted = move |entry: &DirEntry| {
            let is_packages = entry.path().parent() == Some(&top) && is_packages(entry.path());
            !is_packages && !entry.path().join(ENVIRONMENT).exists()
        };
        let mut walk = WalkBuilder::new(&root);
        walk.standard_filters(false).git_ignore(true).require_git(false);
        walk.add_custom_ignore_filename(IGNORE_FILE).filter_entry(is_wanted);
        add(&walk)?;
        let (ours, _) = Gitignore::new(root.join(IGNORE_FILE));
        for packages in PACKAGES.map(|name| root.join(name)) {
            if packages.is_dir() && !ours.matched_path_or_any_parents(&packages, true).is_ignore() {
                // What a package brings has no say here.
                add(WalkBuilder::new(&packages).standard_filters(false))?;
            }
        }
        Ok(files)
    }

    /// Whether the file, link or folder with this path within the directory is sent.
    pub(in crate::cli) fn keeps(&self, path: &Path) -> bool {
        self.0.contains(path)
    }

    /// The names of what lies at the top.
    pub(in crate::cli) fn at_top(&self) -> Vec<String> {
        let is_at_top = |path: &&PathBuf| path.components().count() == 1;
        self.0.iter().filter(is_at_top).filter_map(|path| Some(path.to_str()?.to_owned())).collect()
    }
}

fn is_packages(path: &Path) -> bool {
    PACKAGES.iter().any(|name| path.ends_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = Files::of(root.path(), 100).unwrap();
        let is_file = |path: &&PathBuf| root.path().join(path).is_file();
        files.0.iter().filter(is_file).map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn ignore_files_hold_at_any_depth_and_ours_wins() {
        let found = kept(&[
            (".gitignore", "*.csv\n/build\n"),
            (".longshoreignore", "!prices.csv\ntests/\n"),
            ("main.py", ""),
            ("prices.csv", ""),
            ("other.csv", ""),
            ("build/a.py", ""),
            ("lib/build/a.py", ""),
            ("lib/.gitignore", "b.py"),
            ("lib/b.py", ""),
            ("lib/tests/a.py", ""),
        ]);
        let expected = [
            ".gitignore",
            ".longshoreignore",
            "lib/.gitignore",
            "lib/build/a.py",
            "main.py",
            "prices.csv",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn packages_are_sent_although_git_ignores_them_unless_ours_says_otherwise() {
        let files = [
            (".gitignore", "vendor\nnode_modules\n"),
            ("vendor/a.py", ""),
            ("node_modules/x/.gitignore", "*"),
            ("node_modules/x/index.js", ""),
            ("lib/vendor/b.py", ""),
        ];
        let packages = ["node_modules/x/.gitignore", "node_modules/x/index.js", "vendor/a.py"];
        assert_eq!(kept(&files), [&[".gitignore"][..], &packages].concat());
        let ours = [&files[..], &[(".longshoreignore", "/vendor\n")]].concat();
        let expected = [&[".gitignore", ".longshoreignore"][..], &packages[..2]].concat();
        assert_eq!(kept(&ours), expected);
    }

    #[test]
    fn an_environment_of_python_is_for_this_machine_alone() {
        let files = [("my-env/pyvenv.cfg", ""), ("my-env/lib/a.py", ""), ("main.py", "")];
        assert_eq!(kept(&files), ["main.py"]);
    }

    #[test]
    fn too_many_files_are_named_before_all_of_them_are_read() {
        let root = tempfile::tempdir().unwrap();
        for number in 0..3 {
            std::fs::write(root.path().join(number.to_string()), "").unwrap();
        }
        assert!(Files::of(root.path(), 2).is_ok());
        let error = Files::of(root.path(), 1).unwrap_err().to_string();
        assert!(error.contains("more than the 1 files or folders allowed (CODE_MAX_ENTRIES)"));
    }
}
