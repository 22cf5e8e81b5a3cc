//! Reads a file that a stranger wrote.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use nix::libc::{ELOOP, O_NOFOLLOW, O_NONBLOCK};

/// What is under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundFile {
    /// Nothing.
    Nothing,
    /// A regular file, with this content.
    Regular(Bytes),
    /// Something that is not read, and why, such as `is a directory, not a regular file`.
    Unusable(String),
}

/// Reads the regular file at `path`. Follows no link, and does not wait on a pipe.
pub(super) fn read(path: &Path, max_bytes: u64) -> io::Result<FoundFile> {
    // Checked first, because a device must not even be opened.
    let kind = match path.symlink_metadata() {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(FoundFile::Nothing),
        Err(error) => return Err(error),
    };
    if !kind.is_file() {
        return Ok(not_regular(kind));
    }
    let opened = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path);
    match opened {
        Ok(file) => read_open(file, max_bytes),
        // Swapped since the check.
        Err(error) if error.raw_os_error() == Some(ELOOP) => {
            Ok(FoundFile::Unusable("is a symbolic link, not a regular file".to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// When the file at `path` was changed last, by the kernel's own stamp.
pub(super) fn changed_at(path: &Path) -> io::Result<Option<Timestamp>> {
    let metadata = path.symlink_metadata()?;
    let nanos = i32::try_from(metadata.ctime_nsec()).unwrap_or_default();
    Ok(Timestamp::new(metadata.ctime(), nanos).ok())
}

fn read_open(file: File, max_bytes: u64) -> io::Result<FoundFile> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(not_regular(metadata.file_type()));
    }
    let too_large = |length| {
        FoundFile::Unusable(format!("has {length} bytes, more than the {max_bytes} allowed"))
    };
    if metadata.len() > max_bytes {
        return Ok(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    let read = file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)? as u64;
    if read > max_bytes {
        return Ok(too_large(read));
    }
    Ok(FoundFile::Regular(bytes.into()))
}

fn not_regular(kind: FileType) -> FoundFile {
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device or socket"
    };
    FoundFile::Unusable(format!("is {what}, not a regular file"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    fn problem(path: &Path) -> String {
        match read(path, 10).unwrap() {
            FoundFile::Unusable(problem) => problem,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_regular_file_is_read_up_to_its_cap() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result.json");
        assert_eq!(read(&path, 10).unwrap(), FoundFile::Nothing);
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), FoundFile::Regular("0123456789".into()));
    }

    #[test]
    fn compat_13_a_large_file_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result.json");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(problem(&path), "has 1099511627776 bytes, more than the 10 allowed");
    }

    #[test]
    fn compat_13_neither_a_link_nor_a_pipe_nor_a_folder_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("secret"), "x").unwrap();
        symlink(at("secret"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), Mode::S_IRWXU).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (name, word) in
            [("link", "a symbolic link"), ("pipe", "a pipe"), ("folder", "a directory")]
        {
            let problem = problem(&at(name));
            assert!(problem.contains(word), "{problem}");
        }
    }
}
