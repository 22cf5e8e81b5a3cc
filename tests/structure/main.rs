//! No file of a crate imports another in a circle, none is too long to be read at once, and no worker leaves an order
//! to chance. Whoever adds a circle sees here which files it ties together.

mod changelog;
mod circles;
mod source;
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tree::Tree;

/// Every Rust file under a folder, by its path from `root`.
fn rust_files(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(root.join(folder)).expect("a folder of sources") {
        let entry = entry.expect("an entry of a folder of sources");
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            rust_files(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).expect("a source file is text");
            found.insert(path, text);
        }
    }
}

/// The folders of sources in this repository: the program's own, and one of each crate beside it.
fn source_folders(root: &Path) -> Vec<PathBuf> {
    let crates = fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    let beside = crates.map(|folder| Path::new("crates").join(folder.file_name()).join("src"));
    std::iter::once(PathBuf::from("src"))
        .chain(beside)
        .filter(|folder| root.join(folder).is_dir())
        .collect()
}

#[test]
fn no_file_of_a_crate_imports_another_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut report = String::new();
    for folder in source_folders(root) {
        let mut files = BTreeMap::new();
        rust_files(root, &folder, &mut files);
        for entry in ["lib.rs", "main.rs"].map(|name| folder.join(name)) {
            if files.contains_key(&entry) {
                let tree = Tree::read(&files, &entry);
                report.push_str(&circles::describe(&circles::find(&tree.imports())));
            }
        }
    }
    assert!(report.is_empty(), "files import each other in circles:\n{report}");
}

#[test]
fn every_select_of_a_worker_asks_its_branches_in_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    rust_files(root, Path::new("src/worker"), &mut files);
    let is_random = |text: &str| {
        let mut selects = text.split("select! {").skip(1);
        selects.any(|branches| !branches.trim_start().starts_with("biased;"))
    };
    let random: Vec<_> = files.iter().filter(|(_, text)| is_random(text)).collect();
    let random: Vec<_> = random.into_iter().map(|(path, _)| path).collect();
    assert!(
        files.len() > 40 && random.is_empty(),
        "a simulation could not be replayed: {random:?}"
    );
}

/// The longest source file, in lines.
const MAX_LINES: usize = 400;

#[test]
fn no_file_of_a_crate_is_too_long_to_be_read_at_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    for folder in source_folders(root) {
        rust_files(root, &folder, &mut files);
    }
    let lines = |text: &str| text.lines().count();
    let long = files.iter().filter(|(_, text)| lines(text) > MAX_LINES);
    let long: Vec<_> = long.map(|(path, text)| (path, lines(text))).collect();
    assert!(files.len() > 200 && long.is_empty(), "over {MAX_LINES} lines: {long:?}");
}
