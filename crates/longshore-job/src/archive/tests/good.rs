//! Archives that must be taken, whoever made them.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::{Bench, CAPS, tree};
use longshore_testing::hostile::zips::{RawEntry, file, folder, link, zip};

#[test]
fn an_archive_comes_out_as_it_went_in() {
    let bench = Bench::new(&zip(&[
        file("main.py", "print('ok')"),
        folder("vendor/"),
        file("vendor/lib/a b.py", "x"),
        file("././dot.py", "y"),
        folder("./"),
        file("ünï/コード.py", "z"),
        file("empty", ""),
        file(".hidden", "h"),
        file("lib/.longshore/kept", "k"),
        file("lib/result.json", "{}"),
    ]));
    let extracted = bench.extract(CAPS).unwrap();
    assert_eq!((extracted.files, extracted.bytes), (8, 18));
    assert_eq!(extracted.notes, Vec::<String>::new());
    let expected = [
        ".hidden",
        "dot.py",
        "empty",
        "lib/",
        "lib/.longshore/",
        "lib/.longshore/kept",
        "lib/result.json",
        "main.py",
        "vendor/",
        "vendor/lib/",
        "vendor/lib/a b.py",
        "ünï/",
        "ünï/コード.py",
    ];
    assert_eq!(tree(&bench.out()), expected);
    assert_eq!(fs::read_to_string(bench.out().join("main.py")).unwrap(), "print('ok')");
}

#[test]
fn permissions_are_made_plain() {
    let entry = |name, mode, system| RawEntry { mode, system, ..file(name, "x") };
    let bench = Bench::new(&zip(&[
        entry("secret", 0o100_400, 3),
        entry("none", 0, 0),
        entry("open", 0o100_666, 3),
        entry("tool", 0o100_744, 3),
        entry("root-tool", 0o104_755, 3),
        RawEntry { mode: 0o040_000, ..folder("d/") },
    ]));
    bench.extract(CAPS).unwrap();
    let mode =
        |name: &str| fs::metadata(bench.out().join(name)).unwrap().permissions().mode() & 0o7777;
    let modes = ["secret", "none", "open", "tool", "root-tool", "d", ""].map(mode);
    assert_eq!(modes, [0o644, 0o644, 0o644, 0o755, 0o755, 0o755, 0o755]);
}

#[test]
fn compat_12_a_result_in_the_archive_is_not_taken_for_the_result() {
    let bench = Bench::new(&zip(&[file("result.json", r#"{"profit": 9}"#), file("main.py", "x")]));
    let extracted = bench.extract(CAPS).unwrap();
    assert_eq!(tree(&bench.out()), ["main.py"]);
    assert_eq!((extracted.files, extracted.notes.len()), (1, 1));
    assert!(extracted.notes[0].contains("result.json is left out"), "{:?}", extracted.notes);
}

#[test]
fn compat_12_the_users_own_entrypoint_is_kept() {
    let bench = Bench::new(&zip(&[file("entrypoint.sh", "echo mine"), file("main.py", "x")]));
    bench.extract(CAPS).unwrap();
    assert_eq!(fs::read_to_string(bench.out().join("entrypoint.sh")).unwrap(), "echo mine");
}

#[test]
fn a_single_folder_at_the_top_is_kept() {
    let bench = Bench::new(&zip(&[file("my-bot/main.py", "x")]));
    bench.extract(CAPS).unwrap();
    assert_eq!(tree(&bench.out()), ["my-bot/", "my-bot/main.py"]);
}

#[test]
fn every_usual_method_is_read() {
    for method in [
        CompressionMethod::Stored,
        CompressionMethod::Deflated,
        CompressionMethod::Bzip2,
        CompressionMethod::Zstd,
    ] {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file("main.py", options.large_file(true)).unwrap();
        zip.write_all(&b"pass\n".repeat(1000)).unwrap();
        let bench = Bench::new(&zip.finish().unwrap().into_inner());
        assert_eq!(bench.extract(CAPS).unwrap().bytes, 5000, "{method}");
    }
}

#[test]
fn a_streamed_archive_whose_sizes_follow_the_data_is_read() {
    let mut zip = zip::ZipWriter::new_stream(Vec::new());
    zip.start_file("main.py", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"pass\n").unwrap();
    zip.add_directory("d", SimpleFileOptions::default()).unwrap();
    let bench = Bench::new(zip.finish().unwrap().get_ref());
    assert_eq!(bench.extract(CAPS).unwrap().bytes, 5);
    assert_eq!(tree(&bench.out()), ["d/", "main.py"]);
}

#[test]
fn an_archive_far_larger_than_its_directory_of_entries_is_read() {
    let data = vec![7; 3_000_000];
    let bench = Bench::new(&zip(&[file("data.bin", &data), file("main.py", "x")]));
    let caps = super::ArchiveCaps::new(2, 10_000_000);
    assert_eq!(bench.extract(caps).unwrap().bytes, 3_000_001);
}

#[test]
fn exactly_as_much_as_allowed_is_taken() {
    let bench = Bench::new(&zip(&[file("a", vec![0; 1024 * 1024 - 1]), file("b", "x")]));
    assert_eq!(bench.extract(CAPS).unwrap().bytes, CAPS.max_extracted_bytes);
    let most: Vec<_> = (0..20).map(|number| file(format!("{number}"), "")).collect();
    assert_eq!(Bench::new(&zip(&most)).extract(CAPS).unwrap().files, 20);
}

#[test]
fn what_a_crash_left_beside_the_target_does_not_get_into_it() {
    let bench = Bench::new(&zip(&[file("main.py", "x")]));
    fs::create_dir_all(bench.dir.path().join("out.partial/old")).unwrap();
    bench.extract(CAPS).unwrap();
    assert_eq!(bench.rest(), ["out/", "out/main.py"]);
}

#[test]
fn links_to_files_and_folders_of_the_archive_become_what_they_point_to() {
    // As `zip -y` packs an installed npm package and a shared library; the order is any.
    let bench = Bench::new(&zip(&[
        link("node_modules/.bin/semver", "../semver/bin/semver.js"),
        RawEntry { mode: 0o100_755, ..file("node_modules/semver/bin/semver.js", "#!") },
        link("lib/libfoo.so", "libfoo.so.1"),
        link("lib/libfoo.so.1", "libfoo.so.1.2"),
        file("lib/libfoo.so.1.2", "ELF"),
        link("lib64", "lib"),
        file("main.py", "x"),
    ]));
    let extracted = bench.extract(CAPS).unwrap();
    assert_eq!((extracted.files, extracted.bytes), (9, 2 + 2 + 6 * 3 + 1));
    let expected = [
        "lib/",
        "lib/libfoo.so",
        "lib/libfoo.so.1",
        "lib/libfoo.so.1.2",
        "lib64/",
        "lib64/libfoo.so",
        "lib64/libfoo.so.1",
        "lib64/libfoo.so.1.2",
        "main.py",
        "node_modules/",
        "node_modules/.bin/",
        "node_modules/.bin/semver",
        "node_modules/semver/",
        "node_modules/semver/bin/",
        "node_modules/semver/bin/semver.js",
    ];
    assert_eq!(tree(&bench.out()), expected);
    let tool = bench.out().join("node_modules/.bin/semver");
    let target = fs::read_link(&tool).unwrap();
    assert_eq!(target.to_string_lossy(), "../../node_modules/semver/bin/semver.js");
    let metadata = fs::metadata(&tool).unwrap();
    assert!(metadata.is_file() && metadata.permissions().mode() & 0o777 == 0o755);
    assert_eq!(fs::read_to_string(bench.out().join("lib64/libfoo.so")).unwrap(), "ELF");
}

#[test]
fn a_link_counts_as_much_as_the_file_that_it_points_to() {
    let files = [file("a", vec![0; 600_000]), link("b", "a")];
    let said = Bench::new(&zip(&files)).extract(CAPS).unwrap_err().to_string();
    assert!(said.contains(r#"as seen at "b" (CODE_MAX_EXTRACTED_MB)"#), "{said}");
}

#[test]
fn a_link_that_points_to_nothing_is_left_out_and_told() {
    let bench = Bench::new(&zip(&[link("python", "python3"), file("main.py", "x")]));
    let extracted = bench.extract(CAPS).unwrap();
    assert_eq!(tree(&bench.out()), ["main.py"]);
    assert!(extracted.notes[0].contains(r#"link "python" is left out: it points to "python3""#));
}

#[test]
fn folders_do_not_count_as_files() {
    let folders = (0..20).map(|number| folder(&format!("{number}/")));
    let files = (0..20).map(|number| file(format!("{number}/x"), ""));
    let bench = Bench::new(&zip(&folders.chain(files).collect::<Vec<_>>()));
    assert_eq!(bench.extract(CAPS).unwrap().files, CAPS.max_entries);
}

#[test]
fn a_folder_that_is_named_twice_is_one_folder() {
    let entries = [folder("lib/"), file("lib/a", "x"), folder("lib/"), folder("./lib/")];
    let bench = Bench::new(&zip(&entries));
    bench.extract(CAPS).unwrap();
    assert_eq!(tree(&bench.out()), ["lib/", "lib/a"]);
}

#[test]
fn names_that_differ_in_case_are_two_files_where_the_host_has_them_as_two() {
    let names = ["p/client.py", "p/Client.py", "\u{e9}", "e\u{301}"];
    let bench = Bench::new(&zip(&names.map(|name| file(name, name))));
    bench.extract(CAPS).unwrap();
    for name in names {
        assert_eq!(fs::read_to_string(bench.out().join(name)).unwrap(), name);
    }
}

#[test]
fn backslashes_separate_folders_where_the_zip_is_from_windows() {
    let dos = |name: &str, data: &str| RawEntry { mode: 0, system: 0, ..file(name, data) };
    let entries = [dos("lib\\", ""), dos("lib\\sub\\a.py", "x"), dos("lib\\", "")];
    let bench = Bench::new(&zip(&entries));
    bench.extract(CAPS).unwrap();
    assert_eq!(tree(&bench.out()), ["lib/", "lib/sub/", "lib/sub/a.py"]);
}
