//! Tars, and whatever else may be an input.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::archive::{Extracted, extract_any};

fn header(kind: EntryType, bytes: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(0o644);
    header
}

/// A tar of entries whose names are written as they are.
fn tar_of(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, content) in entries {
        let mut header = header(*kind, content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> (EntryType, &'a str, &'a [u8]) {
    (EntryType::Regular, name, content)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

fn unpack_with(bench: &Bench, caps: ArchiveCaps) -> Result<Extracted, ArchiveError> {
    let outcome = extract_any(&bench.zip(), &bench.out(), caps);
    if outcome.is_err() {
        assert_eq!(bench.rest(), [""; 0], "a failure leaves nothing");
    }
    outcome
}

/// What is wrong with an archive.
fn problem(archive: &[u8], caps: ArchiveCaps) -> String {
    let error = unpack_with(&Bench::new(archive), caps).unwrap_err();
    assert!(error.is_rejection(), "{error}");
    error.to_string()
}

#[test]
fn a_tar_comes_out_whatever_it_is_packed_with() {
    let mut tar = Builder::new(Vec::new());
    let global = b"17 comment=abcdef\n";
    let mut head = header(EntryType::XGlobalHeader, global.len() as u64);
    head.set_cksum();
    tar.append(&head, &global[..]).unwrap();
    for name in ["./", "./data/"] {
        tar.append_data(&mut header(EntryType::Directory, 0), name, &[][..]).unwrap();
    }
    tar.append_data(&mut header(EntryType::Regular, 3), "./data/a.csv", &b"1,2"[..]).unwrap();
    let mut program = header(EntryType::Regular, 2);
    program.set_mode(0o755);
    tar.append_data(&mut program, "deep/er/run", &b"#!"[..]).unwrap();
    tar.append_data(&mut header(EntryType::Regular, 0), "result.json", &[][..]).unwrap();
    let long = format!("{}/x", "n".repeat(180));
    let mut gnu = Header::new_gnu();
    gnu.set_entry_type(EntryType::Regular);
    gnu.set_mode(0o600);
    gnu.set_size(1);
    tar.append_data(&mut gnu, &long, &b"y"[..]).unwrap();
    let plain = tar.into_inner().unwrap();

    let caps = ArchiveCaps { keeps_ours: false, ..CAPS };
    for packed in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let bench = Bench::new(&packed);
        let extracted = unpack_with(&bench, caps).unwrap();
        assert_eq!((extracted.files, extracted.bytes), (4, 6));
        let folder = format!("{}/", "n".repeat(180));
        let expected = [
            "data/",
            "data/a.csv",
            "deep/",
            "deep/er/",
            "deep/er/run",
            &folder,
            &long,
            "result.json",
        ];
        assert_eq!(tree(&bench.out()), expected);
        let mode = |name: &str| {
            let found = fs::metadata(bench.out().join(name)).unwrap();
            std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o7777
        };
        assert_eq!([mode("deep/er/run"), mode("data/a.csv"), mode(&long)], [0o755, 0o644, 0o644]);
        assert_eq!(fs::read(bench.out().join("data/a.csv")).unwrap(), b"1,2");
    }
}

#[test]
fn a_zip_of_an_input_may_use_the_names_that_are_ours_beside_code() {
    use longshore_testing::hostile::zips;
    let zip = zips::zip(&[zips::file("result.json", "{}"), zips::file(".longshore/x", "y")]);
    let bench = Bench::new(&zip);
    unpack_with(&bench, ArchiveCaps { keeps_ours: false, ..CAPS }).unwrap();
    assert_eq!(tree(&bench.out()), [".longshore/", ".longshore/x", "result.json"]);
    assert!(problem(&zip, CAPS).contains("Longshore's own"));
}

#[test]
fn each_hostile_tar_is_refused_with_a_sentence() {
    let of = |kind, name| tar_of(&[(kind, name, b"")]);
    let whole = tar_of(&[file("a", &[b'x'; 3000])]);
    let mut flipped = whole.clone();
    flipped[150] ^= 1;
    let mut packed = gzip(&whole);
    let last = packed.len() - 6;
    packed[last] ^= 1;
    let mut after = gzip(&whole);
    after.extend(gzip(&vec![1; (1 << 20) + 1]));
    let attribute = format!("{} comment={}\n", 300_017, "x".repeat(300_000));
    for (archive, reason) in [
        (tar_of(&[file("../x", b"y")]), "leaves the archive's root"),
        (tar_of(&[file("a/../../x", b"y")]), "leaves the archive's root"),
        (tar_of(&[file("/etc/x", b"y")]), "an absolute path"),
        (tar_of(&[file("a\\b", b"y")]), "a backslash"),
        (tar_of(&[file("a\nb", b"y")]), "a control character"),
        (of(EntryType::Symlink, "l"), "is a link"),
        (of(EntryType::Link, "l"), "is a link"),
        (of(EntryType::Char, "c"), "is neither a file nor a folder"),
        (of(EntryType::Block, "b"), "is neither a file nor a folder"),
        (of(EntryType::Fifo, "f"), "is neither a file nor a folder"),
        (tar_of(&[(EntryType::Directory, "d/", b"x")]), "a folder with content"),
        (tar_of(&[file("a", b"1"), file("./a", b"2")]), "is there twice"),
        (tar_of(&[file("a", b"1"), file("a/b", b"2")]), "is a file where others need a folder"),
        (tar_of(&[file("a/b", b"1"), file("a", b"2")]), "is a file where others need a folder"),
        (
            tar_of(&[(EntryType::XHeader, "p", b"25 GNU.sparse.realsize=9\n"), file("a", b"1")]),
            "a sparse file",
        ),
        (
            tar_of(&[(EntryType::XHeader, "p", attribute.as_bytes()), file("a", b"1")]),
            "the headers of an entry have more than 262144 bytes",
        ),
        (tar_of(&[(EntryType::XHeader, "p", b"12 path=abc\n")]), "cut short"),
        (tar_of(&[]), "it is neither a zip nor a tar"),
        (gzip(&tar_of(&[])), "it holds no entries"),
        (gzip(b"1,2,3"), "it is damaged or was cut short"),
        (whole[..1500].to_vec(), "holds 988 bytes, not the 3000 it says"),
        (gzip(&whole)[..30].to_vec(), "the archive is not a usable tar"),
        (flipped, "checksum"),
        (packed, "it is damaged or was cut short"),
        (after, "something else follows on its end"),
        (b"date,close\n".to_vec(), "it is neither a zip nor a tar"),
        (b"BZh91AY".to_vec(), "a bzip2 file"),
        (b"".to_vec(), "it is neither a zip nor a tar"),
    ] {
        let said = problem(&archive, CAPS);
        assert!(said.contains(reason), "{said}, not {reason}");
    }
}

#[test]
fn a_tar_has_the_caps_of_a_zip_and_may_reach_each_of_them() {
    let bytes = usize::try_from(CAPS.max_extracted_bytes).unwrap();
    let full = vec![0; bytes];
    let small = ArchiveCaps { max_ratio: 1_000_000, ..CAPS };
    assert!(unpack_with(&Bench::new(&gzip(&tar_of(&[file("a", &full)]))), small).is_ok());
    let said = problem(&gzip(&tar_of(&[file("a", &full), file("b", b"x")])), small);
    assert!(said.contains("CODE_MAX_EXTRACTED_MB"), "{said}");

    let names: Vec<_> = (0..=CAPS.max_entries).map(|number| number.to_string()).collect();
    let entries: Vec<_> = names.iter().map(|name| file(name, b"")).collect();
    assert!(unpack_with(&Bench::new(&tar_of(&entries[1..])), CAPS).is_ok());
    assert!(problem(&tar_of(&entries), CAPS).contains("CODE_MAX_ENTRIES"));
    let folders: Vec<_> =
        names.iter().map(|name| (EntryType::Directory, name.as_str(), &b""[..])).collect();
    assert!(unpack_with(&Bench::new(&tar_of(&folders[1..])), CAPS).is_ok());
    assert!(problem(&tar_of(&folders), CAPS).contains("CODE_MAX_ENTRIES"));

    let packed = zstd(&tar_of(&[file("a", &vec![0; 500_000])]));
    let ratio = 500_000_u64.div_ceil(packed.len() as u64);
    let wide = ArchiveCaps { max_extracted_bytes: 1 << 20, ..CAPS };
    let with = |max_ratio| ArchiveCaps { max_ratio, ..wide };
    assert!(unpack_with(&Bench::new(&packed), with(ratio)).is_ok());
    assert!(problem(&packed, with(ratio - 1)).contains("CODE_MAX_RATIO"));

    let deep = |parts: usize| tar_of(&[file(&vec!["d"; parts].join("/"), b"")]);
    assert!(unpack_with(&Bench::new(&deep(CAPS.max_depth)), CAPS).is_ok());
    assert!(problem(&deep(CAPS.max_depth + 1), CAPS).contains("CODE_MAX_DEPTH"));
    let late = ArchiveCaps { max_time: Duration::ZERO, ..CAPS };
    assert!(problem(&deep(1), late).contains("CODE_UNPACK_TIMEOUT_SECONDS"));
}

/// Every byte of a small tar changed, and every beginning of it: whatever comes of it, it is within its
/// directory or refused without a trace.
#[test]
fn a_tar_with_a_byte_changed_or_cut_anywhere_does_no_harm() {
    let mut tar = Builder::new(Vec::new());
    for name in ["a".to_owned(), format!("{}/b", "n".repeat(120))] {
        let mut gnu = Header::new_gnu();
        gnu.set_entry_type(EntryType::Regular);
        gnu.set_mode(0o644);
        gnu.set_size(3);
        tar.append_data(&mut gnu, &name, &b"1,2"[..]).unwrap();
    }
    let whole = tar.into_inner().unwrap();
    for (at, byte) in (0..whole.len()).zip([0, b'/', 0xff, b'7', b'\n'].into_iter().cycle()) {
        let mut changed = whole.clone();
        changed[at] = byte;
        longshore_testing::checks::archive::check(&changed);
    }
    for end in (0..whole.len()).step_by(97) {
        longshore_testing::checks::archive::check(&whole[..end]);
        let packed = gzip(&whole[..end]);
        longshore_testing::checks::archive::check(&packed);
        longshore_testing::checks::archive::check(&packed[..packed.len() / 2]);
    }
}
