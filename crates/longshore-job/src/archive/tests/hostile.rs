//! Archives that must be refused: each for its reason, and without a trace.

use std::time::Duration;

use proptest::prelude::*;

use super::super::extract::{CopyError, copy};
use super::super::names::entry_path;
use super::{ArchiveCaps, ArchiveError, Bench, CAPS, archives};
use longshore_testing::hostile::zips::{RawEntry, file, folder, zip};

#[test]
fn compat_14_a_hostile_archive_is_refused_for_its_reason_and_leaves_nothing() {
    let cases = archives::all();
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for archives::Archive { name, bytes, reason } in cases {
        let bench = Bench::new(&bytes);
        match bench.extract(CAPS) {
            Ok(extracted) => wrong.push(format!("{name}: {extracted:?}")),
            Err(error) if error.to_string().contains(reason) && error.is_rejection() => {}
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
        let rest = bench.rest();
        if !rest.is_empty() {
            wrong.push(format!("{name}: left {rest:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_odd_archive_is_unpacked_into_its_place_and_nowhere_else() {
    for archives::Archive { name, bytes, .. } in archives::odd() {
        let bench = Bench::new(&bytes);
        let extracted = bench.extract(CAPS).expect(name);
        assert!(extracted.files > 0, "{name}");
        assert!(bench.rest().iter().all(|path| path.starts_with("out/")), "{name}");
    }
}

#[test]
fn an_archive_that_takes_too_long_is_refused_for_that() {
    let bench = Bench::new(&zip(&[file("main.py", "pass")]));
    let error = bench.extract(ArchiveCaps { max_time: Duration::ZERO, ..CAPS }).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("the archive was not unpacked within the 0 s allowed"), "{said}");
    assert!(said.contains("CODE_UNPACK_TIMEOUT_SECONDS"), "{said}");
    assert!(error.is_rejection());
    assert_eq!(bench.rest(), Vec::<String>::new());
}

#[test]
fn a_failure_in_the_last_entry_takes_the_first_ones_with_it() {
    let bench =
        Bench::new(&zip(&[file("main.py", "pass"), RawEntry { crc: 1, ..file("odd", "x") }]));
    std::fs::create_dir(bench.out()).unwrap();
    bench.extract(CAPS).unwrap_err();
    assert_eq!(bench.rest(), ["out/"]);
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
    let bench = Bench::new(&zip(&[file("n".repeat(10_000), "x")]));
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
