//! Zips made byte by byte, as no tool would write them.

/// One entry. Every field can be false.
#[derive(Debug, Clone)]
pub struct RawEntry {
    pub name: Vec<u8>,
    /// The name in the entry's own header; `None`: the same.
    pub local_name: Option<Vec<u8>>,
    /// The data as stored: the test itself compresses it if `method` says so.
    pub data: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    /// The Unix mode, type included.
    pub mode: u32,
    pub crc: u32,
    pub size: u32,
    /// How many bytes of data it declares; `None`: the true number.
    pub compressed_size: Option<u32>,
    /// The system that wrote it: 3 is Unix, 0 DOS.
    pub system: u8,
    /// Where its local header is; `None`: where this writer puts it.
    pub header_at: Option<u32>,
    /// Extra fields, in the archive's directory alone.
    pub extra: Vec<u8>,
}

/// A plain file, stored.
pub fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> RawEntry {
    let data = data.as_ref().to_vec();
    RawEntry {
        name: name.as_ref().to_vec(),
        local_name: None,
        method: 0,
        flags: 0x0800,
        mode: 0o100_644,
        crc: crc32(&data),
        size: u32::try_from(data.len()).unwrap(),
        compressed_size: None,
        system: 3,
        header_at: None,
        extra: Vec::new(),
        data,
    }
}

/// A folder.
pub fn folder(name: &str) -> RawEntry {
    RawEntry { mode: 0o040_755, ..file(name, "") }
}

/// A symbolic link.
pub fn link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> RawEntry {
    RawEntry { mode: 0o120_777, ..file(name, target) }
}

/// An extra field of this kind.
pub fn extra(kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
}

/// The archive of these entries, in this order.
pub fn zip(entries: &[RawEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let at = u32::try_from(out.len()).unwrap();
        out.extend(local(entry));
        directory.extend(central(entry, at));
    }
    let start = u32::try_from(out.len()).unwrap();
    out.extend(&directory);
    let size = u32::try_from(directory.len()).unwrap();
    out.extend(end(u16::try_from(entries.len()).unwrap(), size, start));
    out
}

fn fields(entry: &RawEntry, name: &[u8], extra: &[u8]) -> Vec<u8> {
    let stored = u32::try_from(entry.data.len()).unwrap();
    let mut fields = Vec::new();
    fields.extend(20u16.to_le_bytes());
    fields.extend(entry.flags.to_le_bytes());
    fields.extend(entry.method.to_le_bytes());
    fields.extend([0, 0, 0x21, 0]);
    fields.extend(entry.crc.to_le_bytes());
    fields.extend(entry.compressed_size.unwrap_or(stored).to_le_bytes());
    fields.extend(entry.size.to_le_bytes());
    fields.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    fields.extend(u16::try_from(extra.len()).unwrap().to_le_bytes());
    fields
}

/// An entry's own header and its data.
pub fn local(entry: &RawEntry) -> Vec<u8> {
    let name = entry.local_name.as_ref().unwrap_or(&entry.name);
    [&b"PK\x03\x04"[..], &fields(entry, name, &[]), name, &entry.data].concat()
}

fn central(entry: &RawEntry, at: u32) -> Vec<u8> {
    let mut out = b"PK\x01\x02".to_vec();
    out.extend([20, entry.system]);
    out.extend(fields(entry, &entry.name, &entry.extra));
    out.extend([0; 6]);
    out.extend((entry.mode << 16).to_le_bytes());
    out.extend(entry.header_at.unwrap_or(at).to_le_bytes());
    out.extend(&entry.name);
    out.extend(&entry.extra);
    out
}

/// The record at an archive's end, without a comment.
pub const END_BYTES: usize = 22;

fn end(count: u16, size: u32, start: u32) -> Vec<u8> {
    let count = count.to_le_bytes();
    let counts = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count].concat();
    [&counts[..], &size.to_le_bytes(), &start.to_le_bytes(), &[0, 0]].concat()
}

/// The archive with other bytes in its last record, from this offset on.
pub fn with_end(mut zip: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    let start = zip.len() - END_BYTES + at;
    zip[start..start + bytes.len()].copy_from_slice(bytes);
    zip
}

/// The archive with a comment.
pub fn with_comment(zip: Vec<u8>, comment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(comment.len()).unwrap().to_le_bytes();
    [&with_end(zip, 20, &length)[..], comment].concat()
}

/// The archive with the two records of zip64 before its last one, which declare this many entries
/// at this offset.
pub fn with_zip64_end(zip: &[u8], count: u64, start: u64, record_at: u64) -> Vec<u8> {
    let (body, last) = zip.split_at(zip.len() - END_BYTES);
    let size = u64::from_le_bytes([last[12], last[13], last[14], last[15], 0, 0, 0, 0]);
    let mut out = body.to_vec();
    out.extend(b"PK\x06\x06");
    out.extend(44u64.to_le_bytes());
    out.extend([45, 3, 45, 0]);
    out.extend([0; 8]);
    for number in [count, count, size, start] {
        out.extend(number.to_le_bytes());
    }
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend(record_at.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(last);
    with_end(out, 8, &[0xff; 12])
}

pub fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
