//! Reads the note that the helper in a container leaves ([`ExitNote`]).
//!
//! The helper and the code run as one user, so the code can overwrite the note. So the note alone
//! decides only about the run itself. The file's time stamp, which the kernel keeps, shows that the
//! helper began. A note that the lease ran out is checked against what the worker granted
//! (`lease::LeaseWatch`).

use jiff::Timestamp;

use super::directory::{FoundFile, JobDirectory};
use crate::job::judging::exit_note::{EXIT_NOTE, ExitNote, parse};

/// The largest note that is read, in bytes.
const MAX_NOTE_BYTES: u64 = 4096;

/// Reads the note of a container that was created at this time and has ended.
pub(super) async fn read(directory: &JobDirectory, created_at: Option<Timestamp>) -> ExitNote {
    let mut note = match directory.read(EXIT_NOTE, MAX_NOTE_BYTES).await {
        Ok(FoundFile::Regular(note)) => parse(&String::from_utf8_lossy(&note)),
        // The worker made a file, so only something in the container can have removed or replaced
        // it.
        Ok(FoundFile::Nothing | FoundFile::Unusable(_)) => {
            ExitNote { begun: true, ..ExitNote::default() }
        }
        Err(error) => {
            tracing::debug!(%error, "could not read a container's exit note");
            ExitNote::default()
        }
    };
    note.begun |= was_written(directory.changed_at(EXIT_NOTE).await, created_at);
    note
}

/// Whether something in the container has written to its note, even if the file is empty again: a
/// program can empty a file, but cannot set back its time of change. The worker's last change is
/// older than the container.
fn was_written(changed_at: Option<Timestamp>, created_at: Option<Timestamp>) -> bool {
    changed_at.zip(created_at).is_some_and(|(changed, created)| changed >= created)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use longshore_init::note;

    use super::*;
    use crate::job::judging::exit_note::{BEGUN, ENDED, LEASE_EXPIRED, TERMINATED};

    #[test]
    fn the_helper_leaves_the_note_that_is_read() {
        assert_eq!(EXIT_NOTE, format!("{}/{}", longshore_init::OWN_FOLDER, note::FILE));
        assert_eq!((BEGUN, LEASE_EXPIRED), (note::BEGUN, note::LEASE_EXPIRED));
        assert_eq!((TERMINATED, ENDED), (note::TERMINATED, note::ENDED));
    }

    #[tokio::test]
    async fn that_the_helper_began_shows_even_when_the_code_has_emptied_the_note() {
        let temp = tempfile::tempdir().unwrap();
        let (job, run) = ("bot-1".parse().unwrap(), "r-1".parse().unwrap());
        let directory = JobDirectory::new(temp.path(), "ns", &job, &run, 1);
        directory.create().await.unwrap();
        let note = directory.root().join(EXIT_NOTE);
        std::fs::create_dir(directory.root().join(".longshore")).unwrap();
        std::fs::write(&note, "").unwrap();
        // File systems may stamp in steps of some milliseconds.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let created_at = Some(Timestamp::now());
        assert!(!read(&directory, created_at).await.begun);
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::fs::write(&note, "begun\n").unwrap();
        let file = std::fs::File::options().write(true).truncate(true).open(&note).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(read(&directory, created_at).await.begun);
        assert!(!read(&directory, None).await.begun, "nothing to compare with");
        std::fs::remove_file(&note).unwrap();
        assert!(read(&directory, None).await.begun, "who removed it?");
    }
}
