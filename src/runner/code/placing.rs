//! From shared code into a job's directory.

use std::fs;
use std::sync::Arc;

use super::error::{Failure, io_error};
use super::script;
use super::shared::{MAX_TRIES, SharedObjects};
use super::wanted::Wanted;
use crate::job::Job;
use crate::job::archive::{Extracted, staging_of};
use crate::runner::cache::{CacheError, Held, Key, PlaceError};
use crate::runner::directory::JobDirectory;

/// Puts a job's code into its directory, which is there and empty.
pub(super) async fn place(
    shared: &Arc<SharedObjects>,
    job: &Job,
    directory: &JobDirectory,
) -> Result<(Extracted, Key), Failure> {
    let wanted = Wanted::code(job);
    for _ in 0..MAX_TRIES {
        let held = shared.held(&wanted).await?;
        let manifest = held.manifest();
        let extracted = Extracted {
            files: manifest.files.len(),
            bytes: manifest.bytes(),
            notes: manifest.notes.clone(),
        };
        let key = held.key().clone();
        if put_into(shared, directory, held, job).await? {
            return Ok((extracted, key));
        }
    }
    let problem = format!("{} was damaged each time it was made", wanted.object);
    Err(CacheError::other("using the cache", problem).into())
}

/// Puts an entry into the job's directory; `false` where the entry was damaged, and is gone.
async fn put_into(
    shared: &Arc<SharedObjects>,
    directory: &JobDirectory,
    held: Arc<Held>,
    job: &Job,
) -> Result<bool, Failure> {
    let (root, how, turn) = (directory.root().to_owned(), shared.how(), directory.turn().await);
    let (code_key, script) = (job.code_key.clone(), job.script.clone());
    let incoming = directory.incoming();
    shared
        .with_cache(move |cache| {
            let _turn = turn;
            let staging = staging_of(&root);
            match held.place(&staging, how) {
                Ok(()) => {}
                Err(PlaceError::Changed { path }) => {
                    tracing::warn!(path = %path.display(), "a file of the code cache was changed; its entry is made again");
                    cache.throw_away(held.key())?;
                    fs::remove_dir_all(&staging).map_err(io_error("removing", &staging))?;
                    return Ok(false);
                }
                Err(PlaceError::Cache(error)) => return Err(error.into()),
            }
            fs::rename(&staging, &root).map_err(io_error("making", &root))?;
            fs::remove_dir_all(&incoming).map_err(io_error("removing", &incoming))?;
            script::find(&root, &code_key, &script)?;
            Ok(true)
        })
        .await
}
