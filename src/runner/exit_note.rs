//! Reads the note that the entry script of a container leaves ([`ExitNote`]).
//!
//! The script and the code are one user, so the code can write the note anew. Nothing in it is believed
//! where it would decide about more than the run itself: that the script began is seen from the file's own
//! time stamp, which the kernel keeps, and whether the lease ran out is checked against what the worker
//! granted (`lease::LeaseWatch`).

use jiff::Timestamp;

use super::directory::{FoundFile, JobDirectory};
use crate::job::judging::exit_note::{EXIT_NOTE, ExitNote, parse};

/// The largest note that is read, in bytes.
const MAX_NOTE_BYTES: u64 = 4096;

/// Reads the note of a container that was created at this time and has ended.
pub(super) async fn read(directory: &JobDirectory, created_at: Option<Timestamp>) -> ExitNote {
    let mut note = match directory.read(EXIT_NOTE, MAX_NOTE_BYTES).await {
        Ok(FoundFile::Regular(note)) => std::str::from_utf8(&note).map(parse).unwrap_or_default(),
        // The worker made a file: only something in the container can have removed or replaced it.
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

/// Whether something in the container has written to its note, even if nothing of that is left: whoever
/// empties a file cannot set back when the file was changed. The worker's last change is older than
/// the container.
fn was_written(changed_at: Option<Timestamp>, created_at: Option<Timestamp>) -> bool {
    changed_at.zip(created_at).is_some_and(|(changed, created)| changed >= created)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn that_the_script_began_shows_even_when_the_code_has_emptied_the_note() {
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
