//! Reads one file from a container. The engine sends it as a tar stream.

use std::io::Cursor;
use std::ops::Range;

use bollard::errors::Error;
use bollard::query_parameters::DownloadFromContainerOptionsBuilder;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use tar::{Archive, EntryType};

use super::engine::Engine;
use crate::runner::orchestrator::EngineError;

/// What an archive of one file may need in addition to its content: headers, extended headers,
/// padding.
const ARCHIVE_OVERHEAD_BYTES: u64 = 64 * 1024;

const READING: &str = "reading a file of";

/// One regular file; `None` if there is none.
pub(super) async fn copy(
    engine: &Engine,
    container: &str,
    path: &str,
    max_bytes: u64,
) -> Result<Option<Bytes>, EngineError> {
    let bad_file = |problem| EngineError::BadFile {
        container: container.to_owned(),
        path: path.to_owned(),
        problem,
    };
    let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
    let mut chunks =
        std::pin::pin!(engine.docker.download_from_container(container, Some(options)));
    let mut archive = BytesMut::new();
    let content = loop {
        let chunk = match chunks.try_next().await {
            Ok(chunk) => chunk,
            Err(error) if is_no_such_file(&error) => return Ok(None),
            Err(error) => return Err(engine.failed(READING, container)(error)),
        };
        let has_ended = chunk.is_none();
        archive.extend_from_slice(&chunk.unwrap_or_default());
        match first_file(&archive, max_bytes).map_err(bad_file)? {
            Some(content) if content.end <= archive.len() => break content,
            _ if has_ended => {
                return Err(EngineError::Operation {
                    operation: READING,
                    container: container.to_owned(),
                    reason: format!("the archive of {path} ended in the middle"),
                });
            }
            _ => {}
        }
    };
    Ok(Some(archive.freeze().slice(content)))
}

/// Where the content of the first entry is in `archive`, perhaps beyond what has arrived; `None`
/// while the entry's headers are incomplete. The error says what is wrong with the file.
fn first_file(archive: &[u8], max_bytes: u64) -> Result<Option<Range<usize>>, String> {
    let mut reader = Archive::new(Cursor::new(archive));
    let Some(Ok(entry)) = reader.entries().ok().and_then(|mut entries| entries.next()) else {
        let come = u64::try_from(archive.len()).unwrap_or(u64::MAX);
        let limit = ARCHIVE_OVERHEAD_BYTES;
        return if come > limit {
            Err("has no readable archive header".to_owned())
        } else {
            Ok(None)
        };
    };
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {}
        EntryType::Directory => return Err("is a directory, not a regular file".to_owned()),
        EntryType::Symlink => return Err("is a symbolic link, not a regular file".to_owned()),
        other => return Err(format!("is of type {other:?}, not a regular file")),
    }
    if entry.size() > max_bytes {
        return Err(format!("has {} bytes, more than the {max_bytes} allowed", entry.size()));
    }
    let place = |position| usize::try_from(position).map_err(|_| "is too large".to_owned());
    let start = place(entry.raw_file_position())?;
    Ok(Some(start..start.saturating_add(place(entry.size())?)))
}

fn is_no_such_file(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, message }
        if !message.contains("No such container"))
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;

    fn archive(kind: EntryType, name: &str, content: &[u8]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, content).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn the_content_is_found_as_soon_as_the_headers_are_there() {
        let long = format!("{}/result.json", "d".repeat(150));
        for name in ["result.json", &long] {
            let whole = archive(EntryType::Regular, name, b"{\"a\":1}");
            let place = first_file(&whole, 7).unwrap().unwrap();
            assert_eq!(&whole[place.clone()], b"{\"a\":1}");
            assert_eq!(first_file(&whole[..place.start], 7), Ok(Some(place)));
            assert_eq!(first_file(&whole[..100], 7), Ok(None));
            assert_eq!(first_file(&[], 7), Ok(None));
        }
    }

    #[test]
    fn compat_13_what_is_not_a_regular_file_is_refused() {
        for (kind, word) in [
            (EntryType::Directory, "a directory"),
            (EntryType::Symlink, "a symbolic link"),
            (EntryType::Fifo, "Fifo"),
            (EntryType::Char, "Char"),
            (EntryType::Link, "Link"),
        ] {
            let problem = first_file(&archive(kind, "x", b""), 10).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn compat_13_a_file_over_the_cap_is_refused_by_its_header() {
        let whole = archive(EntryType::Regular, "x", &[0; 2048]);
        let problem = first_file(&whole[..512], 2047).unwrap_err();
        assert_eq!(problem, "has 2048 bytes, more than the 2047 allowed");
        assert_eq!(first_file(&whole, 2048), Ok(Some(512..2560)));
    }

    #[test]
    fn a_stream_that_is_no_archive_is_given_up() {
        let noise = vec![7; usize::try_from(ARCHIVE_OVERHEAD_BYTES).unwrap() + 1];
        assert!(first_file(&noise, u64::MAX).is_err());
    }

    #[test]
    fn a_404_about_the_container_is_not_a_404_about_the_file() {
        let answer = |message: &str| Error::DockerResponseServerError {
            status_code: 404,
            message: message.to_owned(),
        };
        assert!(is_no_such_file(&answer("Could not find the file /x in container y")));
        assert!(!is_no_such_file(&answer("No such container: y")));
    }
}
