//! Recognises a file that is not a zip, and says what to do about it.

/// How many bytes of a file's beginning are read.
pub(super) const HEAD_BYTES: usize = 512;

/// The mark of a tar archive, and its position.
const TAR: (usize, &[u8]) = (257, b"ustar");

const PACK_ANEW: &str = "unpack it and pack its content with 'zip -r code.zip .'";

/// Beginnings of files, what each means, and what to do.
const BEGINNINGS: [(&[u8], &str, &str); 20] = [
    (b"\x1f\x8b", "a gzip file, perhaps a .tar.gz", PACK_ANEW),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", PACK_ANEW),
    (b"Rar!\x1a\x07", "a RAR archive", PACK_ANEW),
    (b"\xfd7zXZ\0", "an xz file, perhaps a .tar.xz", PACK_ANEW),
    (b"BZh", "a bzip2 file, perhaps a .tar.bz2", PACK_ANEW),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file, perhaps a .tar.zst", PACK_ANEW),
    (b"PK\x07\x08", "one part of a zip in many parts", "pack it as one file"),
    (b"UEsDB", "a zip in base64", "upload the bytes that it stands for"),
    (b"\x7fELF", "a program for Linux", "pack it into a zip"),
    (b"MZ", "a program for Windows", "send a zip with the code"),
    (b"%PDF-", "a PDF document", "send a zip with the code"),
    (
        b"version https://git-lfs.github.com/",
        "a pointer of Git LFS to the file",
        "fetch the file itself with 'git lfs pull'",
    ),
    (b"#!", "a script", "pack it into a zip"),
    (b"import ", "a Python script", "pack it into a zip"),
    (b"from ", "a Python script", "pack it into a zip"),
    (b"{", "JSON", "upload the zip itself, not what a server said about it"),
    (b"<!doctype html", "a web page", "upload the zip itself, not the page to download it from"),
    (b"<html", "a web page", "upload the zip itself, not the page to download it from"),
    (b"<?xml", "XML, perhaps a store's message of an error", "upload the zip itself"),
    (b"<error", "XML, perhaps a store's message of an error", "upload the zip itself"),
];

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Zip,
    Tar(Wrapping),
}

/// What a tar is packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapping {
    Plain,
    Gzip,
    Zstd,
}

/// What an archive with this beginning is. Whatever is packed is taken for a tar.
pub(super) fn form_of(head: &[u8]) -> Option<Form> {
    match head {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Form::Zip),
        [0x1f, 0x8b, ..] => Some(Form::Tar(Wrapping::Gzip)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Form::Tar(Wrapping::Zstd)),
        _ if head.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) => {
            Some(Form::Tar(Wrapping::Plain))
        }
        _ => None,
    }
}

/// What a file with this beginning is, and what to do, as the end of a sentence.
pub(super) fn what_it_is(head: &[u8]) -> Option<String> {
    if head.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Some(format!("it is a tar archive: {PACK_ANEW}"));
    }
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let text = head.trim_ascii_start();
    let begins = |with: &[u8]| {
        let is_text = with.first().is_some_and(|first| matches!(first, b'<' | b'{'));
        let from = if is_text { text } else { head };
        from.get(..with.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(with))
    };
    let (_, what, advice) = BEGINNINGS.iter().find(|(beginning, ..)| begins(beginning))?;
    Some(format!("it is {what}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_a_zip_is_named_with_advice() {
        let tar = [&[b'x'; 257][..], b"ustar\0"].concat();
        for (head, what) in [
            (&tar[..], "it is a tar archive: unpack it and pack its content with 'zip"),
            (b"\x1f\x8b\x08\0", "it is a gzip file, perhaps a .tar.gz: unpack it"),
            (b"Rar!\x1a\x07\x01\0", "it is a RAR archive"),
            (b"7z\xbc\xaf\x27\x1c\0\x04", "it is a 7-Zip archive"),
            (b"\n <!DOCTYPE html><html>", "it is a web page"),
            (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "it is XML, perhaps a store's"),
            (b"<Error><Code>NoSuchKey</Code>", "it is XML"),
            (b"{\"error\": 404}", "it is JSON"),
            (b"UEsDBBQAAAAI", "it is a zip in base64"),
            (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        ] {
            let said = what_it_is(head).unwrap();
            assert!(said.starts_with(what), "{said}");
        }
        for other in [&b""[..], b"noise", b"PK\x03\x04", b"PK"] {
            assert_eq!(what_it_is(other), None);
        }
    }
}
