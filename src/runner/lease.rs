//! The lease of a long-running container: a file that its worker writes anew for as long as it can
//! show that the job is its own. The entry script watches it, and ends the bot when it has not
//! changed for the time that it grants: so a bot whose worker was cut off has ended before another
//! worker starts it elsewhere.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::archive::RESERVED_DIRECTORY;
use super::docker_runner::DockerRunner;
use super::failure::RunFailure;

/// Where the lease lies, in the job's directory.
const FOLDER: &str = RESERVED_DIRECTORY;

/// The lease.
const FILE: &str = "lease";

/// By how much the first lease is shorter than those that follow. A container may start on a proof
/// of ownership that is older than the one a lease is renewed on, whose lease is seen later in turn:
/// with this, both end a bot equally long after the proof. A test beside the ages of proofs keeps it so.
pub(crate) const FIRST_IS_SHORTER_BY: Duration = Duration::from_secs(3);

/// Writes a lease: `stamp`, which must differ from the last one, and the seconds that it grants.
///
/// A lease that is there is written over in place, in one write of the same length: a disk that is full
/// meanwhile takes it all the same.
///
/// The code may have put anything in its place, or in its folder's: no link is followed, and nobody at
/// the other end of a pipe is waited for.
pub(super) fn write(root: &Path, stamp: &str, lifetime: Duration) -> io::Result<()> {
    let text = format!("{stamp:<48} {:<10}\n", lifetime.as_secs());
    let (no_link, readable) =
        (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::from_bits_truncate(0o644));
    let folder = open(&root.join(FOLDER), no_link | OFlag::O_DIRECTORY, Mode::empty())?;
    let flags = no_link | OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_NONBLOCK;
    let lease = File::from(openat(&folder, FILE, flags, readable)?);
    lease.write_all_at(text.as_bytes(), 0)
}

impl DockerRunner {
    /// Writes the first lease of a bot, before its container starts.
    pub(super) fn write_first_lease(&self, root: &Path) -> Result<(), RunFailure> {
        let lifetime = self.lease.saturating_sub(FIRST_IS_SHORTER_BY);
        write(root, "start", lifetime).map_err(|error| {
            RunFailure::Unavailable(format!("writing the lease in {}: {error}", root.display()))
        })
    }

    /// Gives every bot of a segment another `lifetime` to run; `stamp` must be a new one. Where the
    /// code is still being fetched there is nothing to renew yet.
    pub async fn renew_leases(&self, segment: u32, stamp: String, lifetime: Duration) {
        let managed = self.managed.long_running_of(segment);
        let roots: Vec<_> = managed
            .iter()
            .filter(|managed| managed.container().is_some())
            .map(|managed| self.directory_of(&managed.run).root().to_owned())
            .collect();
        if roots.is_empty() {
            return;
        }
        let renewed = tokio::task::spawn_blocking(move || {
            for root in roots {
                match write(&root, &stamp, lifetime) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        tracing::error!(directory = %root.display(), %error, "renew lease");
                    }
                    _ => {}
                }
            }
        });
        if let Err(error) = renewed.await {
            tracing::error!(%error, "renew leases");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_the_code_has_put_in_its_place_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (job, elsewhere) = (root.path().join("job"), root.path().join("elsewhere"));
        fs::create_dir_all(job.join(FOLDER)).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        let file = elsewhere.join("file");
        fs::write(&file, "untouched").unwrap();
        symlink(&file, job.join(FOLDER).join(FILE)).unwrap();
        assert!(write(&job, "1.1", Duration::from_secs(15)).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "untouched");
        fs::remove_dir_all(job.join(FOLDER)).unwrap();
        symlink(&elsewhere, job.join(FOLDER)).unwrap();
        assert!(write(&job, "1.2", Duration::from_secs(15)).is_err());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }

    #[test]
    fn a_lease_is_two_words_and_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(FOLDER)).unwrap();
        for (stamp, seconds) in [("1.1", 15), ("1.2", 120)] {
            write(root.path(), stamp, Duration::from_secs(seconds)).unwrap();
            let text = fs::read_to_string(root.path().join(FOLDER).join(FILE)).unwrap();
            let words: Vec<_> = text.split_whitespace().collect();
            assert_eq!(words, [stamp, &seconds.to_string()]);
            assert_eq!((text.len(), text.lines().count()), (60, 1));
        }
        assert_eq!(fs::read_dir(root.path().join(FOLDER)).unwrap().count(), 1);
    }
}
