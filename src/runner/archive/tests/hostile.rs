//! Archives that must be refused: each for its reason, and without a trace.

use std::io::{Cursor, Write};

use proptest::prelude::*;
use zip::write::SimpleFileOptions;

use super::super::extract::{CopyError, copy};
use super::super::plan::entry_path;
use super::super::raw::{RawEntry, file, folder, zip};
use super::{ArchiveCaps, ArchiveError, Bench, CAPS};

/// A name for the table, the archive, and a part of what the refusal says.
type Case = (&'static str, Vec<u8>, &'static str);

fn named(name: impl AsRef<[u8]>) -> Vec<u8> {
    zip(&[file("main.py", "pass"), file(name, "x")])
}

fn with(change: impl FnOnce(&mut RawEntry)) -> Vec<u8> {
    let mut entry = file("odd", "hello");
    change(&mut entry);
    zip(&[file("main.py", "pass"), entry])
}

fn names() -> Vec<Case> {
    let long_part = "n".repeat(256);
    let long_name = format!("{}/x", "n".repeat(150)).repeat(2);
    vec![
        ("parent", named("../x"), r#""../x" leaves the archive's root by '..'"#),
        ("parent inside", named("a/../../x"), r#""a/../../x" leaves the archive's root"#),
        ("parent that stays inside", named("a/../x"), "leaves the archive's root by '..'"),
        ("parent at the end", named("a/.."), "leaves the archive's root by '..'"),
        ("absolute", named("/etc/passwd"), r#""/etc/passwd" has an absolute path"#),
        ("two slashes", named("//host/x"), "has an absolute path"),
        ("drive", named("C:/x"), "has an absolute path"),
        ("drive, no slash", named("c:x"), "has an absolute path"),
        ("backslash parent", named("..\\x"), "has a backslash in its name"),
        ("backslash inside", named("a\\..\\..\\x"), "has a backslash in its name"),
        ("share", named("\\\\host\\share"), "has a backslash in its name"),
        ("nul", named("main.py\0.txt"), "has a control character in its name"),
        ("newline", named("a\nb"), r#""a\nb" has a control character in its name"#),
        ("escape", named("\x1b[2Jx"), "has a control character in its name"),
        ("c1 control", named("a\u{9b}2Jx"), "has a control character in its name"),
        ("del, not unicode", named(b"\xff\x7fx"), "has a control character in its name"),
        ("empty name", named(""), "has an empty part in its name"),
        ("empty part", named("a//b"), "has an empty part in its name"),
        ("only a dot", named("./."), "has no name"),
        ("long part", named(long_part), "has a part longer than 255 bytes in its name"),
        ("long name", named(long_name), "has a name longer than 300 bytes"),
        ("deep", named("a/b/c/d/e/f/g"), r#""a/b/c/d/e/f/g" lies deeper than 6 folders"#),
        ("ours", named(".longshore/launch.py"), "is in .longshore, which is Longshore's own"),
        ("ours, by a detour", named("./.longshore/x"), "is in .longshore"),
        ("ours, as a file", named(".longshore"), "is in .longshore"),
        ("result folder", named("result.json/x"), "makes a folder of result.json"),
        ("empty result folder", zip(&[folder("result.json/")]), "makes a folder of result.json"),
    ]
}

fn kinds() -> Vec<Case> {
    let mode = |mode| with(|entry| entry.mode = mode);
    vec![
        ("symlink", mode(0o120_777), r#""odd" is a symbolic link"#),
        (
            "symlink said to come from DOS",
            with(|entry| (entry.mode, entry.system) = (0o120_777, 0)),
            "is a symbolic link",
        ),
        ("character device", mode(0o020_666), "is neither a file nor a folder"),
        ("block device", mode(0o060_666), "is neither a file nor a folder"),
        ("fifo", mode(0o010_644), "is neither a file nor a folder"),
        ("socket", mode(0o140_644), "is neither a file nor a folder"),
        ("folder without a slash", mode(0o040_755), "is marked as a folder"),
        (
            "symlink that ends in a slash",
            zip(&[RawEntry { mode: 0o120_777, ..file("link/", "") }]),
            "is a symbolic link",
        ),
        ("folder with content", zip(&[file("a/", "x")]), "is a folder with content"),
        ("encrypted", with(|entry| entry.flags |= 1), r#""odd" is encrypted"#),
        ("lzma", with(|entry| entry.method = 14), "is compressed by an unsupported method"),
        ("aes", with(|entry| entry.method = 99), "is compressed by an unsupported method"),
        ("method of the future", with(|entry| entry.method = 4711), "an unsupported method"),
    ]
}

fn relations() -> Vec<Case> {
    let two = |a, b| zip(&[file("main.py", "pass"), a, b]);
    let shared_data =
        zip(&[file("a", [b'x'; 500]), RawEntry { header_at: Some(0), ..file("b", [b'x'; 500]) }]);
    let beyond = with(|entry| entry.header_at = Some(1 << 20));
    let into_directory = {
        let mut bytes = zip(&[file("a", "hello")]);
        let size_at = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap() + 20;
        bytes[size_at] = 30;
        bytes
    };
    vec![
        ("same name", two(file("a", "1"), file("a", "2")), r#""a" is there twice"#),
        ("same folder", two(folder("a/"), folder("a/")), r#""a/" is there twice"#),
        ("same place", two(file("a", "1"), file("./a", "2")), r#""./a" is there twice"#),
        ("file and folder", two(file("a", "1"), folder("a/")), r#""a/" is there twice"#),
        ("file above", two(file("a", "1"), file("a/b", "2")), "a file where others need a folder"),
        ("file below", two(file("a/b", "1"), file("a", "2")), "a file where others need a folder"),
        ("shared data", shared_data, r#""a" shares bytes with the entry "b""#),
        ("into the directory", into_directory, "reaches into the archive's directory of entries"),
        ("header beyond the end", beyond, r#""odd" cannot be read"#),
    ]
}

fn contents() -> Vec<Case> {
    let deflated = |data: &[u8], size| {
        with(|entry| (entry.method, entry.data, entry.size) = (8, data.to_vec(), size))
    };
    vec![
        ("wrong checksum", with(|entry| entry.crc ^= 1), r#""odd" cannot be unpacked"#),
        ("broken deflate", deflated(b"\xff\xff\xff\xff", 5), r#""odd" cannot be unpacked"#),
        ("cut deflate", deflated(b"\x4b", 5), r#""odd" cannot be unpacked"#),
        ("broken zstd", with(|entry| entry.method = 93), r#""odd" cannot be"#),
        ("broken bzip2", with(|entry| entry.method = 12), r#""odd" cannot be"#),
        ("more than declared", with(|entry| entry.size = 2), r#""odd" cannot be unpacked"#),
        ("less than declared", with(|entry| entry.size = 9), "holds 5 bytes, not the 9 it says"),
    ]
}

fn wholes() -> Vec<Case> {
    let good = zip(&[file("main.py", [b'x'; 400]), file("b", "y")]);
    let many: Vec<_> = (0..21).map(|number| file(format!("{number}"), "")).collect();
    let many_folders: Vec<_> = (0..5).map(|n| file(format!("{n}/a/b/c/d/x"), "")).collect();
    let large = [file("a", vec![0; 60_000]), file("b", vec![0; 60_000])];
    let cut_end = good[..good.len() - 10].to_vec();
    let cut_middle = good[..200].to_vec();
    let cut_front = good[100..].to_vec();
    vec![
        ("no bytes", Vec::new(), "not a usable zip: the file is empty"),
        ("no entries", zip(&[]), "not a usable zip: it holds no entries"),
        ("text", b"import os\n".repeat(100), "not a usable zip: it is something else"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "it is something else"),
        ("magic only", b"PK\x03\x04".to_vec(), "damaged or was cut short"),
        ("cut at the end", cut_end, "damaged or was cut short"),
        ("cut in the middle", cut_middle, "damaged or was cut short"),
        ("cut at the front", cut_front, "it is something else"),
        ("many entries", zip(&many), "more than the 20 files or folders allowed"),
        ("many implied folders", zip(&many_folders), "more than the 20 files or folders"),
        ("large", zip(&large), r#"more than the 100000 bytes allowed, as seen at "b""#),
        ("bomb", bomb(), r#"more than the 100000 bytes allowed, as seen at "zeros""#),
    ]
}

/// 20 MB of zeros in 20 KB.
fn bomb() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("zeros", SimpleFileOptions::default()).unwrap();
    for _ in 0..2000 {
        zip.write_all(&[0; 10_000]).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn compat_14_a_hostile_archive_is_refused_for_its_reason_and_leaves_nothing() {
    let cases = [names(), kinds(), relations(), contents(), wholes()].concat();
    assert!(cases.len() >= 25);
    for (case, bytes, reason) in cases {
        let bench = Bench::new(&bytes);
        let error = bench.extract(CAPS).expect_err(case);
        assert!(error.to_string().contains(reason), "{case}: {error}");
        assert!(error.is_rejection(), "{case}: {error}");
        assert_eq!(bench.rest(), Vec::<String>::new(), "{case}");
    }
}

#[test]
fn a_failure_in_the_last_entry_takes_the_first_ones_with_it() {
    let bench = Bench::new(&with(|entry| entry.crc ^= 1));
    std::fs::create_dir(bench.out()).unwrap();
    bench.extract(CAPS).unwrap_err();
    assert_eq!(bench.rest(), ["out/"]);
}

#[test]
fn a_directory_of_entries_that_would_fill_the_memory_is_not_read_to_its_end() {
    let entries: Vec<_> = (0..60_000).map(|number| file(format!("{number:0100}"), "")).collect();
    let bench = Bench::new(&zip(&entries));
    let error = bench.extract(ArchiveCaps::new(10, 1)).unwrap_err();
    assert!(error.to_string().contains("its directory of entries is too large"), "{error}");
}

#[test]
fn a_disk_that_fails_is_not_the_archives_fault() {
    let bench = Bench::new(&zip(&[file("main.py", "pass")]));
    std::fs::create_dir_all(bench.out().join("already")).unwrap();
    let error = bench.extract(CAPS).unwrap_err();
    assert!(!error.is_rejection(), "{error}");
    assert_eq!(bench.rest(), ["out/", "out/already/"]);
}

#[test]
fn a_copy_stops_at_the_room_there_is_whatever_was_declared() {
    let mut written = Vec::new();
    let stopped = copy(&mut std::io::repeat(0), &mut written, 100_000);
    assert!(matches!(stopped, Err(CopyError::NoRoom)));
    assert!(written.len() <= 100_000);
    assert_eq!(copy(&mut &b"12345"[..], &mut Vec::new(), 5).unwrap(), 5);
}

#[test]
fn a_long_name_is_shortened_in_the_message() {
    let bench = Bench::new(&named("n".repeat(10_000)));
    assert!(bench.extract(CAPS).unwrap_err().to_string().len() < 400);
}

proptest! {
    #[test]
    fn a_name_that_passes_stays_below_the_root(name in r"(\.|\.\.|/|\\|[a-c]|:|\x00|\n|é|result\.json|\.longshore){0,12}") {
        if let Ok(Some(found)) = entry_path(&name, &CAPS) {
            let path = std::path::Path::new(&found.path);
            prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            prop_assert!(!path.starts_with(".longshore"));
            prop_assert_eq!(path.components().count(), found.path.split('/').count());
        }
    }

    #[test]
    fn bytes_flipped_anywhere_never_leave_more_than_the_target(at in 0..260usize, with in 1..=255u8) {
        let mut bytes = zip(&[file("main.py", "pass"), folder("d/"), file("d/x", "y")]);
        let at = at % bytes.len();
        bytes[at] ^= with;
        let bench = Bench::new(&bytes);
        let outcome = bench.extract(CAPS);
        let rest = bench.rest();
        prop_assert!(rest.iter().all(|path| path.starts_with("out/")));
        prop_assert_eq!(outcome.is_ok(), !rest.is_empty());
    }
}

#[test]
fn an_error_is_about_the_archive_or_about_the_disk() {
    let disk = ArchiveError::io("writing x".to_owned())(std::io::Error::other("full"));
    assert!(!disk.is_rejection());
    assert_eq!(disk.to_string(), "writing x: full");
    assert!(ArchiveError::TooManyEntries { max_entries: 1 }.is_rejection());
}
