//! Archives that must be refused, each with a part of the error, and archives that are odd but
//! harmless.

mod large;

use zip::CompressionMethod;

pub use large::{crowd, slow, talkers};

use large::{deflate_of_zeros, noise, zeros};

use super::zips::{
    END_BYTES, RawEntry, extra, file, folder, link, local, with_comment, with_end, with_zip64_end,
    zip,
};

/// The limits for which the cases are made: a little more of each is too much.
pub const MAX_ENTRIES: usize = 20;
pub const MAX_BYTES: u64 = 1024 * 1024;
pub const MAX_DEPTH: usize = 6;
pub const MAX_NAME_BYTES: usize = 300;
pub const MAX_RATIO: u64 = 200;

/// One archive.
#[derive(Debug, Clone)]
pub struct Archive {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// A part of the error.
    pub reason: &'static str,
}

fn case(name: &'static str, bytes: Vec<u8>, reason: &'static str) -> Archive {
    Archive { name, bytes, reason }
}

/// Every archive that must be refused.
pub fn all() -> Vec<Archive> {
    [names(), spellings(), kinds(), relations(), contents(), bombs(), wholes(), ends()].concat()
}

fn named(name: impl AsRef<[u8]>) -> Vec<u8> {
    zip(&[file("main.py", "pass"), file(name, "x")])
}

/// The same from a system where a backslash separates folders.
fn dos(name: &str) -> Vec<u8> {
    zip(&[file("main.py", "pass"), RawEntry { system: 0, mode: 0, ..file(name, "x") }])
}

fn with(change: impl FnOnce(&mut RawEntry)) -> Vec<u8> {
    let mut entry = file("odd", "hello");
    change(&mut entry);
    zip(&[file("main.py", "pass"), entry])
}

fn two(a: RawEntry, b: RawEntry) -> Vec<u8> {
    zip(&[file("main.py", "pass"), a, b])
}

fn names() -> Vec<Archive> {
    let long_part = "n".repeat(256);
    let long_name = format!("{}/x", "n".repeat(150)).repeat(2);
    let control = "has a control character in its name";
    vec![
        case("parent", named("../x"), r#""../x" leaves the archive's root by '..'"#),
        case("parent-inside", named("a/../../x"), r#""a/../../x" leaves the archive's root"#),
        case("parent-that-stays", named("a/../x"), "leaves the archive's root by '..'"),
        case("parent-at-the-end", named("a/.."), "leaves the archive's root by '..'"),
        case("parents-by-the-dozen", named("../".repeat(40) + "etc/cron.d/x"), "leaves the"),
        case("absolute", named("/etc/passwd"), r#""/etc/passwd" has an absolute path"#),
        case("two-slashes", named("//host/x"), "has an absolute path"),
        case("drive", named("C:/x"), "has an absolute path"),
        case("drive-no-slash", named("c:x"), "has an absolute path"),
        case("backslash-parent", named("..\\x"), "has a backslash in its name"),
        case("backslash-inside", named("a\\..\\..\\x"), "has a backslash in its name"),
        case("backslash-from-dos", dos("..\\..\\x"), "leaves the archive's root by '..'"),
        case("share-from-dos", dos("\\\\host\\x"), "has an absolute path"),
        case("ours-from-dos", dos(".longshore\\launch.py"), "is in .longshore"),
        case("share", named("\\\\host\\share"), "has a backslash in its name"),
        case("nul", named("main.py\0.txt"), control),
        case("nul-at-the-end", named("main.py\0"), control),
        case("newline", named("a\nb"), r#""a\nb" has a control character in its name"#),
        case("escape", named("\x1b[2Jx"), control),
        case("c1-control", named("a\u{9b}2Jx"), control),
        case("del-not-unicode", named(b"\xff\x7fx"), control),
        case("empty-name", named(""), "has an empty part in its name"),
        case("empty-part", named("a//b"), "has an empty part in its name"),
        case("only-a-dot", named("./."), "has no name"),
        case("long-part", named(long_part), "has a part longer than 255 bytes in its name"),
        case("long-name", named(long_name), "has a name longer than 300 bytes"),
        case("longest-name", named("n".repeat(0xffff)), "has a name longer than 300 bytes"),
        case("deep", named("a/b/c/d/e/f/g"), r#""a/b/c/d/e/f/g" lies deeper than 6 folders"#),
        case("deepest", named("a/".repeat(149)), "lies deeper than 6 folders"),
        case("ours", named(".longshore/launch.py"), "is in .longshore, which is Longshore's own"),
        case("ours-by-a-detour", named("./.longshore/x"), "is in .longshore"),
        case("ours-as-a-file", named(".longshore"), "is in .longshore"),
        case("ours-in-capitals", named(".LongShore/launch.py"), "is in .longshore"),
        case("result-folder", named("result.json/x"), "makes a folder of result.json"),
        case("empty-result-folder", zip(&[folder("result.json/")]), "a folder of result.json"),
    ]
}

/// Names that some readers, or some people, confuse with others.
fn spellings() -> Vec<Archive> {
    let order = "has a character in its name that hides or reorders others";
    let other_name = with(|entry| entry.local_name = Some(b"../".to_vec()));
    let unicode_path = |name: &str| {
        let told = [&[1][..], &super::zips::crc32(b"odd").to_le_bytes(), name.as_bytes()].concat();
        with(|entry| entry.extra = extra(0x7075, &told))
    };
    vec![
        case("right-to-left", named("main\u{202e}yp.py"), order),
        case("isolate", named("a\u{2066}b"), order),
        case("byte-order-mark", named("\u{feff}main.py"), order),
        case("line-separator", named("a\u{2028}b"), order),
        case("second-name-leaves", unicode_path("../x"), r#""../x" has a second name, "odd""#),
        case("second-name-absolute", unicode_path("/etc/passwd"), "has a second name, \"odd\""),
        case("second-name-plain", unicode_path("backtest.py"), "has a second name, \"odd\""),
        case("other-name-in-its-header", other_name, r#"another name in its own header, "../""#),
    ]
}

fn kinds() -> Vec<Archive> {
    let mode = |mode| with(|entry| entry.mode = mode);
    let method = |method| with(|entry| entry.method = method);
    let from_dos = zip(&[RawEntry { system: 0, ..link("odd", "../x") }]);
    let link_to_a_folder = zip(&[RawEntry { mode: 0o120_777, ..file("link/", "") }]);
    let through_a_link = two(link("link", "d"), file("link/cron.d", "x"));
    let outside = "which is outside the archive";
    let never_ends = "a folder that it lies in, which would never end";
    let special = "is neither a file nor a folder";
    let unsupported = "is compressed by an unsupported method";
    vec![
        case("link-outside", zip(&[link("odd", "../x")]), r#""odd" is a symbolic link to "../x""#),
        case("link-outside-by-a-detour", two(link("l", "d/../../x"), file("d/a", "")), outside),
        case("link-through-a-link", two(link("l", "d/../x"), link("d", "..")), outside),
        case("link-absolute", zip(&[link("l", "/etc/passwd")]), "an absolute path outside"),
        case("link-from-dos", from_dos, outside),
        case("link-with-a-slash", link_to_a_folder, "is marked as a symbolic link"),
        case("through-a-link", through_a_link, "is a symbolic link where others need a folder"),
        case("link-to-itself", zip(&[link("l", "l")]), "leads in a circle"),
        case("links-in-a-circle", two(link("a", "b"), link("b", "a")), "leads in a circle"),
        case("link-to-its-folder", zip(&[link("d/l", "../d")]), never_ends),
        case("link-to-the-root", zip(&[link("l", ".")]), never_ends),
        case("folders-in-each-other", two(link("a/b", "../c"), link("c/d", "../a")), never_ends),
        case("link-to-nothing-at-all", zip(&[link("l", "")]), "to what cannot be a path"),
        case("link-to-a-nul", zip(&[link("l", "a\0b")]), "to what cannot be a path"),
        case("link-not-utf-8", zip(&[link("l", b"\xff")]), "to a path that is not UTF-8"),
        case("link-to-a-long-name", zip(&[link("l", "a/".repeat(3000))]), "more than 4095 bytes"),
        case("link-over-ours", zip(&[link(".longshore", "d")]), "is in .longshore"),
        case("link-and-file", two(link("a", "b"), file("a", "")), r#""a" is there twice"#),
        case("links-by-the-dozen", links_of_links(), "more than the 20 files or folders"),
        case("character-device", mode(0o020_666), special),
        case("block-device", mode(0o060_666), special),
        case("fifo", mode(0o010_644), special),
        case("socket", mode(0o140_644), special),
        case("no-type-that-exists", mode(0o170_644), special),
        case("folder-without-a-slash", mode(0o040_755), "is marked as a folder"),
        case("folder-with-content", zip(&[file("a/", "x")]), "is a folder with content"),
        case("encrypted", with(|entry| entry.flags |= 1), r#""odd" is encrypted"#),
        case("strongly-encrypted", with(|entry| entry.flags |= 0x41), r#""odd" is encrypted"#),
        case("shrunk", method(1), unsupported),
        case("imploded", method(6), unsupported),
        case("lzma", method(14), unsupported),
        case("xz", method(95), unsupported),
        case("ppmd", method(98), unsupported),
        case("aes", method(99), unsupported),
        case("method-of-the-future", method(4711), unsupported),
    ]
}

fn relations() -> Vec<Archive> {
    let shared_data =
        zip(&[file("a", [b'x'; 500]), RawEntry { header_at: Some(0), ..file("b", [b'x'; 500]) }]);
    // The data of the first entry is the whole second entry, with its header.
    let quoted = {
        let inner = local(&file("b", [b'x'; 100]));
        let outer = file("a", &inner);
        let at = u32::try_from(local(&outer).len() - inner.len()).unwrap();
        zip(&[outer, RawEntry { header_at: Some(at), ..file("b", [b'x'; 100]) }])
    };
    let swallowed = {
        let inner = local(&file("b", "y"));
        let size = u32::try_from(1 + inner.len()).unwrap();
        let outer = RawEntry { compressed_size: Some(size), size, ..file("a", "x") };
        zip(&[outer, file("b", "y")])
    };
    let into_directory = zip(&[RawEntry { compressed_size: Some(30), ..file("a", "hello") }]);
    let far = with(|entry| entry.compressed_size = Some(0x7fff_ffff));
    let beyond = with(|entry| entry.header_at = Some(1 << 20));
    let at_no_header = with(|entry| entry.header_at = Some(7));
    let unreadable = r#""odd" cannot be read"#;
    let of_both = "a file where others need a folder";
    vec![
        case("same-name", two(file("a", "1"), file("a", "2")), r#""a" is there twice"#),
        case(
            "same-folder-with-content",
            two(folder("a/"), file("a/", "x")),
            "\"a/\" is there twice",
        ),
        case("same-place", two(file("a", "1"), file("./a", "2")), r#""./a" is there twice"#),
        case("file-and-folder", two(file("a", "1"), folder("a/")), r#""a/" is there twice"#),
        case("file-above", two(file("a", "1"), file("a/b", "2")), of_both),
        case("file-below", two(file("a/b", "1"), file("a", "2")), of_both),
        case("folder-and-file", two(folder("a/"), file("a", "1")), of_both),
        case("shared-data", shared_data, r#""b" has another name in its own header, "a""#),
        case("quoted-entry", quoted, r#""a" shares bytes with the entry "b""#),
        case("swallowed-entry", swallowed, r#""a" shares bytes with the entry "b""#),
        case("into-the-directory", into_directory, "reaches into the archive's directory"),
        case("far-beyond-the-end", far, "reaches into the archive's directory"),
        case("header-beyond-the-end", beyond, unreadable),
        case("header-that-is-none", at_no_header, unreadable),
    ]
}

fn contents() -> Vec<Archive> {
    let deflated = |data: &[u8], size| {
        with(|entry| (entry.method, entry.data, entry.size) = (8, data.to_vec(), size))
    };
    let broken = |method| with(|entry| entry.method = method);
    let torn = r#""odd" cannot be unpacked"#;
    vec![
        case("wrong-checksum", with(|entry| entry.crc ^= 1), torn),
        case("broken-deflate", deflated(b"\xff\xff\xff\xff", 5), torn),
        case("cut-deflate", deflated(b"\x4b", 5), torn),
        case("empty-deflate", deflated(b"", 5), torn),
        case("broken-deflate64", broken(9), torn),
        case("broken-zstd", broken(93), r#""odd" cannot be"#),
        case("broken-bzip2", broken(12), r#""odd" cannot be"#),
        case("more-than-declared", with(|entry| entry.size = 2), torn),
        case("less-than-declared", with(|entry| entry.size = 9), "5 bytes, not the 9 it says"),
    ]
}

fn bombs() -> Vec<Archive> {
    let large = [file("a", vec![0; 600_000]), file("b", vec![0; 600_000])];
    let lie = {
        let data = deflate_of_zeros(20_000_000);
        with(|entry| (entry.method, entry.data, entry.size) = (8, data, 5))
    };
    let many = (0..10).map(|number| (format!("{number}"), 200_000)).collect::<Vec<_>>();
    let all_that_fit = |files: &[(String, usize)]| zeros(files, CompressionMethod::Deflated);
    let one = |bytes, method| zeros(&[("zeros".to_owned(), bytes)], method);
    let too_large = "more than the 1048576 bytes allowed, as seen at";
    let ratio = "unpacks to more than 200 times its own size, as seen at";
    vec![
        case("large", zip(&large), r#"more than the 1048576 bytes allowed, as seen at "b""#),
        case("bomb", one(20_000_000, CompressionMethod::Deflated), too_large),
        case("bomb-of-high-ratio", one(300_000, CompressionMethod::Deflated), ratio),
        case("bomb-in-bzip2", one(20_000_000, CompressionMethod::Bzip2), ratio),
        case("bomb-in-zstd", one(20_000_000, CompressionMethod::Zstd), ratio),
        case("bomb-of-many-files", all_that_fit(&many), ratio),
        case("bomb-that-lies", lie, r#""odd" cannot be unpacked"#),
    ]
}

fn wholes() -> Vec<Archive> {
    let good = zip(&[file("main.py", [b'x'; 400]), file("b", "y")]);
    let many: Vec<_> = (0..21).map(|number| file(format!("{number}"), "")).collect();
    let folders: Vec<_> = (0..5).map(|n| file(format!("{n}/a/b/c/d/x"), "")).collect();
    let cut = "damaged or was cut short";
    let no_zip = "not a usable zip: it is something else";
    vec![
        case("no-bytes", Vec::new(), "not a usable zip: the file is empty"),
        case("no-entries", zip(&[]), "not a usable zip: it holds no entries"),
        case("text", b"key: value\n".repeat(100), no_zip),
        case("script", b"import os\n".repeat(100), "it is a Python script: pack it into a zip"),
        case("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "it is a gzip file, perhaps"),
        case("web-page", b"<!doctype html><html></html>".to_vec(), "it is a web page: upload"),
        case("rar", b"Rar!\x1a\x07\x01\0".repeat(9), "it is a RAR archive: unpack it and pack"),
        case("tar", [&[b'x'; 257][..], b"ustar\x0000"].concat(), "it is a tar archive: unpack it"),
        case("noise", noise(5000), no_zip),
        case("magic-only", b"PK\x03\x04".to_vec(), cut),
        case("cut-at-the-end", good[..good.len() - 10].to_vec(), cut),
        case("cut-in-the-middle", good[..200].to_vec(), cut),
        case("cut-at-the-front", good[100..].to_vec(), no_zip),
        case("many-entries", zip(&many), "more than the 20 files or folders allowed"),
        case("many-implied-folders", zip(&folders), "more than the 20 files or folders"),
        case("a-crowd-of-entries", crowd(60_000, 60), "its directory of entries is too large"),
        case("entries-that-talk", talkers(20), "its directory of entries is too large"),
    ]
}

/// Folders of links to the folder before, so that each holds twice as much.
fn links_of_links() -> Vec<u8> {
    let mut entries = vec![file("0/a", "1"), file("0/b", "2")];
    for level in 1..6 {
        let before = format!("../{}", level - 1);
        entries.extend(["a", "b"].map(|name| link(format!("{level}/{name}"), &before)));
    }
    zip(&entries)
}

/// False claims in the records at the end, and in those of zip64.
fn ends() -> Vec<Archive> {
    let good = || zip(&[file("main.py", "pass"), file("b", "y")]);
    let directory_at = good().len() - END_BYTES - 2 * 46 - "main.pyb".len();
    let garbage = {
        let mut bytes = good();
        bytes[directory_at..directory_at + 46].fill(0xa5);
        bytes
    };
    let zip64 = |size: u64| {
        with(|entry| {
            entry.size = u32::MAX;
            entry.extra = extra(1, &size.to_le_bytes());
        })
    };
    let no_extra = with(|entry| (entry.size, entry.compressed_size) = (u32::MAX, Some(u32::MAX)));
    let far_header = with(|entry| {
        entry.header_at = Some(u32::MAX);
        entry.extra = extra(1, &(u64::MAX - 3).to_le_bytes());
    });
    let record_at = (good().len() - END_BYTES) as u64;
    let lie = |count, start, at| with_zip64_end(&good(), count, start, at);
    let start = directory_at as u64;
    let no_zip = "not a usable zip";
    vec![
        case("directory-of-garbage", garbage, no_zip),
        case("more-entries-than-there-are", with_end(good(), 8, &[9, 0, 9, 0]), no_zip),
        case("directory-beyond-the-end", with_end(good(), 16, &[0xff, 0xff, 0xff, 0x7f]), no_zip),
        case("directory-of-a-file", with_end(good(), 16, &[0; 4]), "\"main.py\" cannot be read"),
        case("second-disk", with_end(good(), 4, &[1, 0, 1, 0]), no_zip),
        case("zip64-of-2-to-the-63", zip64(1 << 63), "as seen at \"odd\""),
        case("zip64-without-its-field", no_extra, "\"odd\""),
        case("zip64-header-far-away", far_header, no_zip),
        case("zip64-count", lie(u64::MAX, start, record_at), no_zip),
        case("zip64-start", lie(2, u64::MAX - 5, record_at), no_zip),
        case("zip64-record-far-away", lie(2, start, u64::MAX), no_zip),
        case("zip64-record-that-is-none", lie(2, start, 3), no_zip),
    ]
}

/// Archives that look bad and are harmless: they unpack, and stay in their directory. None has the
/// script of a job.
pub fn odd() -> Vec<Archive> {
    let good = || zip(&[file("main.py", "pass"), file("b", "y")]);
    let nested = (0..5).fold(good(), |inner, level| zip(&[file(format!("{level}.zip"), inner)]));
    let hidden = with_end(good(), 8, &[1, 0, 1, 0]);
    let wide = "\u{ff0e}\u{ff0e}\u{ff0f}x";
    vec![
        case("prefix", [&b"#!/bin/sh\nexit 1\n"[..], &good()].concat(), ""),
        case("zip-after-a-zip", [zip(&[file("a", "1")]), good()].concat(), ""),
        case("huge-comment", with_comment(good(), &[b'c'; 0xffff]), ""),
        case("nested-zips", nested, ""),
        case("entry-left-out", hidden, ""),
        case("directory-larger-than-all", with_end(good(), 12, &[0, 0, 0, 0x7f]), ""),
        case("case-of-a-file", two(file("Lib.py", "1"), file("lib.py", "2")), ""),
        case("case-of-folder-and-file", two(file("Lib/a", "1"), file("lib", "2")), ""),
        case("case-beyond-ascii", two(file("É.py", "1"), file("é.py", "2")), ""),
        case("both-forms", two(file("\u{e9}.py", "1"), file("e\u{301}.py", "2")), ""),
        case("same-folder", two(folder("a/"), folder("a/")), ""),
        case("same-folder-otherwise", two(folder("a/"), folder("./a/")), ""),
        case("backslashes-from-dos", dos("lib\\a.py"), ""),
        case("link-to-nothing", two(link("l", "none"), file("d/a", "")), ""),
        case("link-to-a-file", two(link("bin/l", "../d/a"), file("d/a", "1")), ""),
        case("link-to-a-folder", two(link("l", "d"), file("d/a", "1")), ""),
        case("link-to-the-own-result", two(link("l", "result.json"), file("result.json", "")), ""),
        case("wide-dots", named(wide), ""),
        case("set-user-id", with(|entry| entry.mode = 0o104_755), ""),
        case("own-result", named("result.json"), ""),
    ]
}
