//! Unpacks whichever archive it is.

use std::path::Path;

use super::extract::{budget_of, extract, head_of, open_file, staged};
use super::sniff::{Form, form_of, what_it_is};
use super::{ArchiveCaps, ArchiveError, Extracted, tar};

/// Unpacks a zip or a tar, whichever it is, as [`extract`] does with a zip.
///
/// A tar must have no links, and the modes of its files count as those of a zip.
///
/// # Errors
///
/// [`ArchiveError`], which names the first entry that is refused.
pub fn extract_any(
    archive: &Path,
    into: &Path,
    caps: ArchiveCaps,
) -> Result<Extracted, ArchiveError> {
    let head = head_of(&mut open_file(archive)?, archive)?;
    let wrapping = match form_of(&head) {
        Some(Form::Zip) => return extract(archive, into, caps),
        Some(Form::Tar(wrapping)) => wrapping,
        None => return Err(ArchiveError::NotAnArchive { reason: what_it_is(&head) }),
    };
    let budget = budget_of(&caps);
    let outcome = staged(into, |staging| tar::unpack(archive, wrapping, staging, &caps, &budget));
    match outcome {
        Err(_) if budget.is_late() => Err(ArchiveError::TooSlow { max_time: caps.max_time }),
        outcome => outcome,
    }
}
