//! The headers of entries as the file has them. A zip says a name up to four times, and readers
//! differ in which one they use.

use std::collections::HashSet;
use std::io::{self, Read, Seek, SeekFrom};

use super::quoted;

/// A header in the archive's directory: its fixed part, and the places of the lengths of the parts
/// that follow.
const CENTRAL_BYTES: usize = 46;
const CENTRAL_LENGTHS: [usize; 3] = [28, 30, 32];

/// The same for a header before an entry's data, which has no comment.
const LOCAL_BYTES: usize = 30;
const LOCAL_LENGTHS: [usize; 2] = [26, 28];

/// The extra field that repeats the name in UTF-8 (Info-ZIP's Unicode Path).
const UNICODE_PATH: u16 = 0x7075;

/// The part of that field before the name: a version and a checksum.
const UNICODE_PATH_HEAD: usize = 5;

/// The systems on which a backslash separates folders: MS-DOS, NTFS, VFAT.
const BACKSLASH_SYSTEMS: [u8; 3] = [0, 10, 14];

/// What one header says about an entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The name, whatever its encoding.
    pub(super) name: Vec<u8>,
    /// The repeated name.
    pub(super) unicode_path: Option<Vec<u8>>,
    /// The system that wrote it; only in the directory.
    system: u8,
    /// Bytes unpacked; only in the directory.
    size: u32,
    /// The Unix mode; only in the directory.
    mode: u32,
}

impl Header {
    /// Reads the header in the archive's directory at the reader's position, and leaves the reader
    /// at the next one.
    fn central(file: &mut (impl Read + Seek)) -> io::Result<Self> {
        let fixed = read_fixed::<CENTRAL_BYTES>(file, *b"PK\x01\x02")?;
        let [name, extra, comment] = CENTRAL_LENGTHS.map(|at| u16_at(&fixed, at));
        let (name, unicode_path) = read_names(file, name, extra)?;
        file.seek_relative(i64::from(comment))?;
        let mode = u32_at(&fixed, 38) >> 16;
        Ok(Self { name, unicode_path, system: fixed[5], size: u32_at(&fixed, 24), mode })
    }

    /// The header in the archive's directory that begins there.
    pub(super) fn central_at(file: &mut (impl Read + Seek), at: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(at))?;
        Self::central(file)
    }

    /// The header before an entry's data.
    pub(super) fn local_at(file: &mut (impl Read + Seek), at: u64) -> io::Result<Self> {
        file.seek(SeekFrom::Start(at))?;
        let fixed = read_fixed::<LOCAL_BYTES>(file, *b"PK\x03\x04")?;
        let [name, extra] = LOCAL_LENGTHS.map(|at| u16_at(&fixed, at));
        let (name, unicode_path) = read_names(file, name, extra)?;
        Ok(Self { name, unicode_path, ..Self::default() })
    }

    /// Whether its name has backslashes instead of slashes.
    pub(super) fn has_backslashes(&self) -> bool {
        BACKSLASH_SYSTEMS.contains(&self.system) && self.name.contains(&b'\\')
    }

    /// The name that counts.
    pub(super) fn effective_name(&self) -> &[u8] {
        self.unicode_path.as_deref().unwrap_or(&self.name)
    }

    fn is_plain_folder(&self) -> bool {
        const TYPE_MASK: u32 = 0o170_000;
        const DIRECTORY: u32 = 0o040_000;
        let separators: &[u8] =
            if BACKSLASH_SYSTEMS.contains(&self.system) { b"/\\" } else { b"/" };
        self.effective_name().last().is_some_and(|last| separators.contains(last))
            && self.size == 0
            && matches!(self.mode & TYPE_MASK, 0 | DIRECTORY)
    }
}

/// Says that the headers of an entry have different names: different readers would see different
/// names.
pub(super) fn check_names(central: &Header, local: &Header) -> Result<(), String> {
    let shown = |name: &[u8]| quoted(&String::from_utf8_lossy(name));
    if local.name != central.name {
        let other = shown(&local.name);
        return Err(format!("has another name in its own header, {other}: pack it anew"));
    }
    let expected = central.effective_name();
    if let Some(other) = local.unicode_path.as_deref().filter(|other| *other != expected) {
        let other = shown(other);
        return Err(format!("has a second name in its own header, {other}: pack it anew"));
    }
    if let Some(other) = &central.unicode_path
        && !is_same_text(&central.name, other)
    {
        return Err(format!("has a second name, {}: pack it anew", shown(&central.name)));
    }
    Ok(())
}

/// Whether a name in an old code page may be this one. Letters beyond ASCII cannot be compared, or
/// were replaced by a mark. All others must be equal.
fn is_same_text(old: &[u8], unicode: &[u8]) -> bool {
    let plain = |name: &[u8]| {
        let is_plain = |byte: &u8| byte.is_ascii() && !matches!(byte, b'?' | b'_');
        name.iter().copied().filter(is_plain).collect::<Vec<_>>()
    };
    old == unicode || (!unicode.is_ascii() && plain(old) == plain(unicode))
}

/// The first name that occurs twice. The name of a folder may occur twice, because that changes
/// nothing. Of two entries with one name, the crate zip keeps one, and says only that there were
/// two.
pub(super) fn first_duplicate(
    file: &mut (impl Read + Seek),
    directory_start: u64,
) -> io::Result<Option<String>> {
    let mut seen = HashSet::new();
    let mut folders = HashSet::new();
    file.seek(SeekFrom::Start(directory_start))?;
    while !is_at_end(file)? {
        let header = Header::central(file)?;
        let is_folder = header.is_plain_folder();
        let name = header.effective_name().to_owned();
        let shown = || String::from_utf8_lossy(&name).into_owned();
        let is_repeated = seen.contains(&name);
        if is_repeated && !(is_folder && folders.contains(&name)) {
            return Ok(Some(shown()));
        }
        if is_folder {
            folders.insert(name.clone());
        }
        seen.insert(name);
    }
    Ok(None)
}

/// Whether the next bytes are no header of an entry.
fn is_at_end(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let mut magic = Vec::new();
    let read = Read::by_ref(file).take(4).read_to_end(&mut magic)?;
    file.seek_relative(-i64::try_from(read).unwrap_or_default())?;
    Ok(magic != *b"PK\x01\x02")
}

fn read_fixed<const N: usize>(file: &mut impl Read, magic: [u8; 4]) -> io::Result<[u8; N]> {
    let mut fixed = [0; N];
    file.read_exact(&mut fixed)?;
    if fixed[..4] == magic {
        Ok(fixed)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "there is no header where one should be"))
    }
}

/// The name, and the repeated name if the extra fields have one.
fn read_names(
    file: &mut impl Read,
    name: u16,
    extra: u16,
) -> io::Result<(Vec<u8>, Option<Vec<u8>>)> {
    let mut name = vec![0; usize::from(name)];
    file.read_exact(&mut name)?;
    let mut extra_fields = vec![0; usize::from(extra)];
    file.read_exact(&mut extra_fields)?;
    let unicode_path = find_unicode_path(&extra_fields)?.map(<[u8]>::to_vec);
    Ok((name, unicode_path))
}

fn find_unicode_path(mut fields: &[u8]) -> io::Result<Option<&[u8]>> {
    let mut found = None;
    while let [a, b, c, d, rest @ ..] = fields {
        let (kind, length) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let Some((field, others)) = rest.split_at_checked(usize::from(length)) else {
            break;
        };
        if kind == UNICODE_PATH {
            let name = field.get(UNICODE_PATH_HEAD..).unwrap_or_default();
            if found.is_some_and(|found| found != name) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it has two second names"));
            }
            found = Some(name);
        }
        fields = others;
    }
    Ok(found)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(name: &[u8], unicode_path: Option<&str>) -> Header {
        let unicode_path = unicode_path.map(|path| path.as_bytes().to_vec());
        Header { name: name.to_vec(), unicode_path, ..Header::default() }
    }

    #[test]
    fn a_name_in_an_old_code_page_may_stand_beside_its_unicode() {
        for (old, unicode) in [
            (&b"gr\x81\xe1e.py"[..], "größe.py"),
            (b"gr__e.py", "größe.py"),
            (b"gr??e.py", "größe.py"),
            ("größe.py".as_bytes(), "größe.py"),
            (b"main.py", "main.py"),
        ] {
            let central = header(old, Some(unicode));
            assert_eq!(check_names(&central, &header(old, None)), Ok(()), "{unicode}");
            assert_eq!(check_names(&central, &header(old, Some(unicode))), Ok(()), "{unicode}");
        }
    }

    #[test]
    fn names_that_two_readers_would_see_differently_are_told() {
        let cases = [
            (header(b"odd", Some("main.py")), header(b"odd", None), "a second name, \"odd\""),
            (header(b"o\x81d", Some("m\u{e4}in.py")), header(b"o\x81d", None), "a second name"),
            (header(b"a", None), header(b"b", None), "another name in its own header, \"b\""),
            (header(b"a", None), header(b"a", Some("b")), "a second name in its own header, \"b\""),
            (header(b"a", Some("a")), header(b"a", Some("c")), "in its own header, \"c\""),
        ];
        for (central, local, problem) in cases {
            let said = check_names(&central, &local).unwrap_err();
            assert!(said.contains(problem), "{said}");
        }
    }

    #[test]
    fn extra_fields_that_end_too_soon_hold_no_name() {
        for fields in [&b""[..], b"\x75\x70", b"\x75\x70\x09\x00abc", b"\x01\x00\xff\xff"] {
            assert_eq!(find_unicode_path(fields).unwrap(), None);
        }
        let field = b"\x75\x70\x06\x00\x01\0\0\0\0x";
        let both = [&b"\x01\x00\x00\x00"[..], field].concat();
        assert_eq!(find_unicode_path(&both).unwrap(), Some(&b"x"[..]));
        let other = [&field[..], b"\x75\x70\x06\x00\x01\0\0\0\0y"].concat();
        assert!(find_unicode_path(&other).is_err());
    }
}
