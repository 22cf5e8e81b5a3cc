//! Zips, made in memory: honest ones and others.

use std::io::{Cursor, Write as _};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

/// A zip of `files`, each with path and content. Paths are not checked, so some may lead outside.
pub fn zip_of<P: AsRef<str>, C: AsRef<[u8]>>(files: &[(P, C)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(path.as_ref(), options()).unwrap();
        zip.write_all(content.as_ref()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A zip with a script and a symbolic link beside it.
pub fn zip_with_link(script: (&str, &str), link: &str, target: &str) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(script.0, options()).unwrap();
    zip.write_all(script.1.as_bytes()).unwrap();
    zip.add_symlink(link, target, options()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// The same bytes, packed by Zstandard.
pub fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// A zip of everything in a folder, at any depth.
pub fn zip_of_folder(folder: &Path) -> Vec<u8> {
    let mut files = Vec::new();
    collect(folder, folder, &mut files);
    zip_of(&files)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    let read = std::fs::read_dir(folder);
    let entries = read.unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            files.push((name, std::fs::read(&path).unwrap()));
        }
    }
}
