use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::*;

const BOUNDS: Bounds = Bounds { max_bytes: 1 << 20, max_entries: 10 };

/// A tree with a file of two names, a program and a link.
fn grow(tree: &Path) {
    fs::create_dir_all(tree.join("lib/deep")).unwrap();
    fs::write(tree.join("lib/one"), "one").unwrap();
    fs::hard_link(tree.join("lib/one"), tree.join("lib/deep/other")).unwrap();
    symlink("../lib/one", tree.join("lib/link")).unwrap();
}

fn key(number: u32) -> Key {
    Key::new(&format!("{number:064x}"), "test")
}

fn put(cache: &Cache, number: u32) -> Held {
    let making = cache.begin().unwrap();
    grow(&making.tree().unwrap());
    cache.put(&making, &key(number), vec!["a note".to_owned()]).unwrap()
}

fn open(temp: &TempDir, bounds: Bounds) -> Cache {
    Cache::open(temp.path().join("cache"), bounds).unwrap()
}

#[test]
fn an_entry_comes_out_as_it_went_in() {
    let temp = tempfile::tempdir().unwrap();
    let cache = open(&temp, BOUNDS);
    assert!(cache.take(&key(1)).unwrap().is_none());
    drop(put(&cache, 1));
    let held = open(&temp, BOUNDS).take(&key(1)).unwrap().unwrap();
    assert_eq!(held.manifest().notes, ["a note"]);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    for (name, how) in [("linked", How::Link), ("copied", How::Copy)] {
        let into = temp.path().join(name);
        held.place(&into, how).unwrap();
        assert_eq!(fs::read_to_string(into.join("lib/link")).unwrap(), "one");
        assert_eq!(fs::read_link(into.join("lib/link")).unwrap(), Path::new("../lib/one"));
        let (one, other) = (into.join("lib/one"), into.join("lib/deep/other"));
        assert_eq!(inode(&one), inode(&other), "still one file");
        assert_eq!(inode(&one) == inode(&held.tree().join("lib/one")), how == How::Link);
    }
}

#[test]
fn files_are_copied_to_another_file_system() {
    let temp = tempfile::tempdir().unwrap();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        panic!("/dev/shm is on every Linux");
    };
    let held = put(&open(&temp, BOUNDS), 1);
    let into = elsewhere.path().join("job");
    held.place(&into, How::Link).unwrap();
    assert_eq!(fs::read_to_string(into.join("lib/deep/other")).unwrap(), "one");
    let kept = |root: &Path| fs::metadata(root.join("lib/one")).unwrap().modified().unwrap();
    assert_eq!(kept(&into), kept(&held.tree()));
}

#[test]
fn of_two_processes_that_make_the_same_entry_both_use_the_first_one() {
    let temp = tempfile::tempdir().unwrap();
    let (one, other) = (open(&temp, BOUNDS), open(&temp, BOUNDS));
    let (first, second) = (put(&one, 1), put(&other, 1));
    let inode = |held: &Held| fs::metadata(held.tree().join("lib/one")).unwrap().ino();
    assert_eq!(inode(&first), inode(&second));
}

#[test]
fn an_entry_that_another_process_uses_stays_until_it_does_not() {
    let temp = tempfile::tempdir().unwrap();
    let cache = open(&temp, BOUNDS);
    let held = put(&cache, 1);
    drop(put(&cache, 2));
    let none = Bounds { max_bytes: 0, max_entries: 0 };
    let other = open(&temp, none);
    assert!(cache.has(&key(1)) && !cache.has(&key(2)));
    drop(held);
    other.tidy().unwrap();
    assert!(!cache.has(&key(1)));
    assert!(cache.take(&key(1)).unwrap().is_none());
}

#[test]
fn there_are_no_more_entries_than_allowed() {
    let temp = tempfile::tempdir().unwrap();
    let cache = open(&temp, Bounds { max_entries: 3, ..BOUNDS });
    for number in 0..5 {
        drop(put(&cache, number));
    }
    drop(cache.take(&key(0)).unwrap());
    cache.tidy().unwrap();
    let left: Vec<_> = (0..5).filter(|number| cache.has(&key(*number))).collect();
    assert_eq!(left, [0, 3, 4]);
}

#[test]
fn a_version_is_known_for_its_own_object_only() {
    let temp = tempfile::tempdir().unwrap();
    let cache = open(&temp, BOUNDS);
    let known = KnownObject { etag: "\"1\"".to_owned(), sha256: "a".repeat(64) };
    cache.remember("store/bucket", "key", &known).unwrap();
    assert_eq!(open(&temp, BOUNDS).known_object("store/bucket", "key"), Some(known.clone()));
    for (origin, key) in [("store/bucke", "tkey"), ("store/other", "key"), ("store/bucket", "k")] {
        assert_eq!(cache.known_object(origin, key), None);
    }
    assert!(cache.came_from("store/bucket", &known.sha256));
    assert!(!cache.came_from("store/other", &known.sha256));
    let bad = KnownObject { sha256: "../../etc".to_owned(), ..known };
    cache.remember("store/bucket", "bad", &bad).unwrap();
    assert_eq!(cache.known_object("store/bucket", "bad"), None);
}
