//! From a waiting container to the run that it was given to.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::files::{ENVIRONMENT, own};
use super::outputs::new_word;
use super::slot::{Done, Slot};
use super::stand_in::{StandIn, go};
use crate::job::{Job, Run};
use crate::runner::cleanup;
use crate::runner::container::{container_name, environment};
use crate::runner::directory::JobDirectory;
use crate::runner::failure::RunFailure;
use crate::runner::managed::Managed;
use crate::runner::observer::RunObserver;
use crate::runner::script::ScriptManager;
use crate::runner::site::Site;

/// A run that has begun in a container that waited for it.
pub(in crate::runner) struct Begun {
    /// The engine's id of the container.
    pub(in crate::runner) container: String,
    /// By which its end is heard.
    pub(in crate::runner) done: Done,
}

/// Why a run has not begun in a container that waited for it. Nothing is left of the container.
pub(in crate::runner) enum Missed {
    /// The container could not be used. The run's directory is as it was: a new container can have it.
    Container,
    /// The run failed.
    Run(RunFailure),
}

impl From<RunFailure> for Missed {
    fn from(failure: RunFailure) -> Self {
        Self::Run(failure)
    }
}

/// Gives a container to a run, whose code is in `directory`.
pub(super) async fn hand_over(
    site: &Site,
    scripts: &ScriptManager,
    slot: Slot,
    managed: &Managed,
    directory: &JobDirectory,
    observer: &dyn RunObserver,
) -> Result<Begun, Missed> {
    let (run, word) = (&managed.run, new_word());
    if let Err(reason) = name(site, &slot, run, directory, &word).await {
        tracing::info!(job.id = %run.job.id, container.id = %slot.container, reason, "could not give a waiting container to a run; starting a new one");
        slot.discard(site).await;
        fs::remove_file(directory.handover()).ok();
        return Err(Missed::Container);
    }
    let container = slot.container.clone();
    if let Err(failure) = fill(scripts, &slot, run, directory).await {
        slot.discard(site).await;
        return Err(failure.into());
    }
    let may_begin = match managed.stop.is_cancelled() {
        true => Err(managed.cancelled()),
        false if !observer.may_start() => Err(RunFailure::not_shown()),
        false => Ok(()),
    };
    let told = may_begin.and_then(|()| {
        // The last file: now the run has begun, whatever becomes of this worker.
        let told = File::create_new(go(directory.root())).and_then(|_| slot.ring(&word));
        told.map_err(|error| unavailable("handing a job over", directory.root(), &error))
    });
    match told {
        Ok((container, done)) => Ok(Begun { container, done }),
        Err(failure) => {
            cleanup::container(site, &container).await;
            Err(failure.into())
        }
    }
}

fn unavailable(action: &str, root: &Path, error: &io::Error) -> RunFailure {
    RunFailure::Unavailable(format!("{action} in {}: {error}", root.display()))
}

/// Notes whose the container is from now on, and gives it the run's name.
async fn name(
    site: &Site,
    slot: &Slot,
    run: &Run,
    directory: &JobDirectory,
    word: &str,
) -> Result<(), String> {
    let stand_in = StandIn::new(slot.directory.root(), word.to_owned(), run);
    stand_in.write(directory).map_err(|error| error.to_string())?;
    let name = container_name(&run.job, &site.assignment_of(run));
    site.engine.rename(&slot.container, &name).await.map_err(|error| error.to_string())
}

/// Puts the code and the job's data into the container's directory, which then takes the place of the run's.
async fn fill(
    scripts: &ScriptManager,
    slot: &Slot,
    run: &Run,
    directory: &JobDirectory,
) -> Result<(), RunFailure> {
    slot.hide_pipes()
        .map_err(|error| unavailable("hiding pipes", slot.directory.root(), &error))?;
    let (scripts, job) = (scripts.clone(), run.job.clone());
    let (from, to) = (directory.root().to_owned(), slot.directory.root().to_owned());
    let turn = directory.turn().await;
    let filling = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let failed = |error: io::Error| unavailable("putting a job's code", &to, &error);
        move_all(&from, &to).map_err(failed)?;
        scripts.complete(&job, &to)?;
        fs::write(own(&to, ENVIRONMENT), text_of(&job)).map_err(failed)?;
        fs::rename(&to, &from).map_err(failed)
    });
    filling.await.unwrap_or_else(|error| {
        Err(unavailable("putting a job's code", directory.root(), &io::Error::other(error)))
    })
}

fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::rename(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The job's variables, each ended by a NUL byte.
fn text_of(job: &Job) -> String {
    let line = |(name, value): (String, String)| format!("{name}={value}\0");
    environment(job).into_iter().map(line).collect()
}
