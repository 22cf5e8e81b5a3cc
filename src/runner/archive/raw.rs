//! Zips made byte by byte, for tests: what no writer would write.

/// One entry, with every field a lie if need be.
#[derive(Debug, Clone)]
pub(crate) struct RawEntry {
    pub(crate) name: Vec<u8>,
    /// As stored: compressed by the test itself where `method` says so.
    pub(crate) data: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) flags: u16,
    /// The Unix mode, type included.
    pub(crate) mode: u32,
    pub(crate) crc: u32,
    pub(crate) size: u32,
    /// The system that wrote it: 3 is Unix, 0 DOS.
    pub(crate) system: u8,
    /// Where its local header is; `None`: where this writer puts it.
    pub(crate) header_at: Option<u32>,
}

/// A plain file, stored.
pub(crate) fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> RawEntry {
    let data = data.as_ref().to_vec();
    RawEntry {
        name: name.as_ref().to_vec(),
        method: 0,
        flags: 0x0800,
        mode: 0o100_644,
        crc: crc32(&data),
        size: u32::try_from(data.len()).unwrap(),
        system: 3,
        header_at: None,
        data,
    }
}

/// A folder.
pub(crate) fn folder(name: &str) -> RawEntry {
    RawEntry { mode: 0o040_755, ..file(name, "") }
}

/// The archive of these entries, in this order.
pub(crate) fn zip(entries: &[RawEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        let at = u32::try_from(out.len()).unwrap();
        let mut fields = Vec::new();
        fields.extend(20u16.to_le_bytes());
        fields.extend(entry.flags.to_le_bytes());
        fields.extend(entry.method.to_le_bytes());
        fields.extend([0, 0, 0x21, 0]);
        fields.extend(entry.crc.to_le_bytes());
        fields.extend(u32::try_from(entry.data.len()).unwrap().to_le_bytes());
        fields.extend(entry.size.to_le_bytes());
        fields.extend(u16::try_from(entry.name.len()).unwrap().to_le_bytes());
        fields.extend([0, 0]);

        out.extend(b"PK\x03\x04");
        out.extend(&fields);
        out.extend(&entry.name);
        out.extend(&entry.data);

        directory.extend(b"PK\x01\x02");
        directory.extend([20, entry.system]);
        directory.extend(&fields);
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(entry.header_at.unwrap_or(at).to_le_bytes());
        directory.extend(&entry.name);
    }
    let start = u32::try_from(out.len()).unwrap();
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !data.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
