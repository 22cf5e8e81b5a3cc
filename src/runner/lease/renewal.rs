//! Writes leases: the first one of a bot, and renewals for a whole segment, also for what its last
//! owner left there.

use std::fs::File;
use std::io::{
    self,
    ErrorKind::{NotFound, PermissionDenied},
};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Grant, LeaseWatch, Uptime, left_at, write};
use crate::runner::directory::JobDirectory;
use crate::runner::failure::RunFailure;
use crate::runner::managed::Managed;
use crate::runner::one_thread::OneThread;
use crate::runner::orchestrator::{ContainerInfo, ContainerState, EngineError};
use crate::runner::site::Site;

/// Writes the first lease of a bot, before its container starts on a proof of this moment.
pub(in crate::runner) fn write_first(
    site: &Site,
    managed: &Managed,
    root: &Path,
    proven_at: Option<Uptime>,
) -> Result<(), RunFailure> {
    let grant = Grant::from(proven_at, site.lease).first();
    let now = Uptime::now();
    write(root, "start", grant).map_err(|error| {
        RunFailure::Unavailable(format!("writing the lease in {}: {error}", root.display()))
    })?;
    *managed.lease.lock() = LeaseWatch::first(grant, now);
    Ok(())
}

/// Renews leases, in one thread at a time: while the disk hangs, no more threads wait for it.
#[derive(Default)]
pub(in crate::runner) struct Renewals {
    thread: OneThread,
}

impl Renewals {
    /// Renews the leases of these bots. `stamp` must be new. A bot that still waits for the engine to
    /// start it has its first lease, which is renewed as well. While the code is being fetched, there
    /// is nothing to renew yet. A lease that cannot be written is logged.
    ///
    /// # Errors
    /// If nothing can be written where the jobs' directories are, also without bots.
    pub(in crate::runner) async fn renew(
        &self,
        site: &Site,
        bots: Vec<Arc<Managed>>,
        stamp: String,
        grant: Grant,
    ) -> io::Result<()> {
        let bots: Vec<_> = bots
            .into_iter()
            .filter(|managed| managed.lease.lock().is_written())
            .map(|managed| (site.directory_of(&managed.run).root().to_owned(), managed))
            .collect();
        let folder = site.settings.temp_dir.join(&site.namespace);
        self.thread.run(move || {
            touch(&folder)?;
            for (root, managed) in bots {
                let before = Uptime::now();
                match write(&root, &stamp, grant) {
                    Ok(()) => managed.lease.lock().renewed(grant, before, Uptime::now()),
                    Err(error) if error.kind() != NotFound => {
                        tracing::error!(directory = %root.display(), %error, "could not renew a lease");
                    }
                    Err(_) => {}
                }
            }
            Ok(())
        })
        .await
    }

    /// Renews the leases of a segment's running bots, whoever started them. A lease that has run out
    /// stays as it is, because its bot may be about to end for it.
    pub(in crate::runner) async fn renew_left(
        &self,
        site: &Site,
        segment: u32,
        stamp: String,
        grant: Grant,
    ) -> Result<(), EngineError> {
        let found = site.list_managed_containers(segment).await?;
        let (temp_dir, namespace) = (&site.settings.temp_dir, &site.namespace);
        let is_running = |info: &ContainerInfo| info.state == ContainerState::Running;
        let left = found.into_iter().filter(|(info, _)| is_running(info)).map(|(_, found)| {
            JobDirectory::new(temp_dir, namespace, &found.id, &found.run_id, found.attempt)
        });
        let roots: Vec<_> = left.map(|directory| directory.root().to_owned()).collect();
        let renewed = self.thread.run(move || {
            for root in roots.iter().filter(|root| left_at(root) > Uptime::now()) {
                if let Err(error) = write(root, &stamp, grant) {
                    tracing::error!(directory = %root.display(), %error, "could not renew a lease");
                }
            }
            Ok(())
        });
        if let Err(error) = renewed.await {
            tracing::error!(%error, "could not renew the leases");
        }
        Ok(())
    }
}

/// Writes to the disk of a directory that may not be there yet.
fn touch(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|folder| folder.set_modified(SystemTime::now())) {
        // Not there yet, or another user's.
        Err(error) if matches!(error.kind(), NotFound | PermissionDenied) => Ok(()),
        touched => touched,
    }
}
