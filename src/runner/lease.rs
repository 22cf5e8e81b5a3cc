//! The lease of a long-running container: a file that its worker writes anew for as long as it can
//! show that the job is its own. The entry script watches it, and ends the bot when it has not
//! changed for the time that it grants: so a bot whose worker was cut off has ended before another
//! worker starts it elsewhere.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::docker_runner::DockerRunner;
use super::failure::RunFailure;

/// The lease, in the job's directory.
pub(super) const FILE: &str = ".longshore/lease";

/// Written by the entry script when the lease has run out.
pub(super) const EXPIRED: &str = ".longshore/lease-expired";

/// Writes a lease: `stamp`, which must differ from the last one, and the seconds that it grants.
/// In one step, for the script may read at any time.
pub(super) fn write(root: &Path, stamp: &str, lifetime: Duration) -> io::Result<()> {
    let (file, new) = (root.join(FILE), root.join(format!("{FILE}.new")));
    fs::write(&new, format!("{stamp} {}\n", lifetime.as_secs()))?;
    fs::rename(new, file)
}

impl DockerRunner {
    /// Writes the first lease of a bot, before its container starts.
    pub(super) fn write_first_lease(&self, root: &Path) -> Result<(), RunFailure> {
        write(root, "start", self.lease).map_err(|error| {
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
    use super::*;

    #[test]
    fn a_lease_is_two_words_and_is_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".longshore")).unwrap();
        for (stamp, seconds) in [("1.1", 15), ("1.2", 120)] {
            write(root.path(), stamp, Duration::from_secs(seconds)).unwrap();
            let text = fs::read_to_string(root.path().join(FILE)).unwrap();
            assert_eq!(text, format!("{stamp} {seconds}\n"));
        }
        assert_eq!(fs::read_dir(root.path().join(".longshore")).unwrap().count(), 1);
    }
}
