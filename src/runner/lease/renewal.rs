//! Writing leases: the first one of a bot, and all of a segment anew.

use std::path::Path;
use std::sync::Arc;

use super::{Grant, LeaseWatch, Uptime, write};
use crate::runner::failure::RunFailure;
use crate::runner::managed::Managed;
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

/// Writes the leases of these bots anew; `stamp` must be a new one. Where the code is still being fetched
/// there is nothing to renew yet.
pub(in crate::runner) async fn renew(
    site: &Site,
    bots: Vec<Arc<Managed>>,
    stamp: String,
    grant: Grant,
) {
    let bots: Vec<_> = bots
        .into_iter()
        .filter(|managed| managed.container().is_some())
        .map(|managed| (site.directory_of(&managed.run).root().to_owned(), managed))
        .collect();
    if bots.is_empty() {
        return;
    }
    let renewed = tokio::task::spawn_blocking(move || {
        for (root, managed) in bots {
            let before = Uptime::now();
            match write(&root, &stamp, grant) {
                Ok(()) => managed.lease.lock().renewed(grant, before, Uptime::now()),
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::error!(directory = %root.display(), %error, "could not renew a lease");
                }
                Err(_) => {}
            }
        }
    });
    if let Err(error) = renewed.await {
        tracing::error!(%error, "could not renew the leases");
    }
}
