//! Whatever the bytes are, they are unpacked within their limits and in their directory, or refused
//! without a trace.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_job::archive::{
    ArchiveCaps, ArchiveError, Extracted, RESERVED_DIRECTORY, extract, extract_any,
};

const CAPS: ArchiveCaps = ArchiveCaps {
    max_entries: 20,
    max_extracted_bytes: 1024 * 1024,
    max_depth: 6,
    max_name_bytes: 300,
    max_ratio: 200,
    max_time: Duration::from_secs(20),
    keeps_ours: true,
};

/// Unpacks it as code, and as an input, which may be a tar as well.
pub fn check(bytes: &[u8]) {
    for unpack in [extract, extract_any] {
        check_with(unpack, bytes);
    }
}

type Unpack = fn(&Path, &Path, ArchiveCaps) -> Result<Extracted, ArchiveError>;

fn check_with(unpack: Unpack, bytes: &[u8]) {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let base = tempfile::Builder::new().prefix("longshore-fuzz-").tempdir_in(parent).unwrap();
    let zip = base.path().join("code.zip");
    let home = base.path().join("a/b/c");
    fs::create_dir_all(&home).unwrap();
    fs::write(&zip, bytes).unwrap();
    let out = home.join("out");
    match unpack(&zip, &out, CAPS) {
        Ok(extracted) => {
            let found = tree(&out);
            assert_unpacked(&out, &found, &extracted, bytes.len() as u64);
            assert_eq!(tree(base.path()).len(), found.len() + 5, "something lies elsewhere");
        }
        Err(error) => {
            assert!(error.is_rejection(), "the machine is blamed: {error}");
            let said = error.to_string();
            assert!(said.len() < 2000 && !said.contains(char::is_control), "{said:?}");
            assert_eq!(tree(base.path()).len(), 4, "something stayed behind: {error}");
        }
    }
}

fn assert_unpacked(out: &Path, found: &[PathBuf], extracted: &Extracted, archive_bytes: u64) {
    let (mut files, mut folders, mut links, mut bytes) = (0, 0, 0, 0);
    for path in found {
        let mut metadata = fs::symlink_metadata(path).unwrap();
        if metadata.is_symlink() {
            let target = fs::canonicalize(path).unwrap();
            assert!(target.starts_with(fs::canonicalize(out).unwrap()), "{}", target.display());
            metadata = fs::metadata(path).unwrap();
            let folder = path.parent().unwrap();
            let scope = folder.file_name().is_some_and(|name| name.as_bytes().starts_with(b"@"));
            let modules = if scope { folder.parent().unwrap() } else { folder };
            let is_package = metadata.is_dir() && modules.ends_with("node_modules");
            let is_program = folder.ends_with("node_modules/.bin");
            assert!(is_package || is_program, "{} is a link", path.display());
            if is_package {
                links += 1;
                continue;
            }
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            folders += 1;
            assert_eq!(mode, 0o755, "{}", path.display());
        } else {
            assert!(metadata.is_file(), "{} is no file", path.display());
            assert!(mode == 0o644 || mode == 0o755, "{}: {mode:o}", path.display());
            files += 1;
            bytes += metadata.len();
        }
        let name = path.strip_prefix(out).unwrap();
        assert!(name.as_os_str().len() <= CAPS.max_name_bytes, "{}", name.display());
        assert!(name.components().count() <= CAPS.max_depth, "{}", name.display());
        assert!(!name.starts_with(RESERVED_DIRECTORY), "{}", name.display());
        assert!(!name.starts_with("result.json"), "{}", name.display());
    }
    assert_eq!((files, bytes), (extracted.files, extracted.bytes));
    assert!(files + links <= CAPS.max_entries && folders <= CAPS.max_entries);
    assert!(bytes <= CAPS.max_extracted_bytes && bytes <= archive_bytes * CAPS.max_ratio);
}

/// Everything below `root`, links not followed.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}
