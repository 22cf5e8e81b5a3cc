//! Archives, and parts of them, that are large or become large.

use std::io::{Cursor, Write};

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use crate::hostile::zips::{RawEntry, extra, file, zip};

pub(super) fn zeros(files: &[(String, usize)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(name, options).unwrap();
        let piece = [0; 10_000];
        let mut left = *bytes;
        while left > 0 {
            let count = left.min(piece.len());
            zip.write_all(&piece[..count]).unwrap();
            left -= count;
        }
    }
    zip.finish().unwrap().into_inner()
}

/// Only the compressed data of an archive.
pub(super) fn deflate_of_zeros(bytes: usize) -> Vec<u8> {
    let whole = zeros(&[("z".to_owned(), bytes)], CompressionMethod::Deflated);
    let mut archive = zip::ZipArchive::new(Cursor::new(&whole)).unwrap();
    let entry = archive.by_index_raw(0).unwrap();
    let start = usize::try_from(entry.data_start().unwrap()).unwrap();
    let length = usize::try_from(entry.compressed_size()).unwrap();
    drop(entry);
    whole[start..start + length].to_vec()
}

/// This many entries with names of this length.
pub fn crowd(count: usize, name_bytes: usize) -> Vec<u8> {
    let name = |number| format!("{number:0name_bytes$}");
    zip(&(0..count).map(|number| file(name(number), "")).collect::<Vec<_>>())
}

/// Entries with the largest possible extra fields and comments.
pub fn talkers(count: usize) -> Vec<u8> {
    let talker = |number| RawEntry {
        extra: extra(0xcafe, &vec![0; 0xfff0]),
        ..file(format!("{number}"), "")
    };
    zip(&(0..count).map(talker).collect::<Vec<_>>())
}

/// Four gigabytes of zeros in four megabytes: only work.
pub fn slow() -> Vec<u8> {
    let bytes = 1 << 20;
    let plain = file("", vec![0; bytes]);
    let data = deflate_of_zeros(bytes);
    let one = |number| RawEntry {
        name: format!("{number}").into_bytes(),
        data: data.clone(),
        method: 8,
        ..plain.clone()
    };
    zip(&(0..4096).map(one).collect::<Vec<_>>())
}

pub(super) fn noise(bytes: usize) -> Vec<u8> {
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(state.to_be_bytes()[0])
    };
    std::iter::repeat_n((), bytes).scan(1, |state, ()| step(state)).collect()
}
