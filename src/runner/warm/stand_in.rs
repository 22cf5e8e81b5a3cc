//! What stands in for the labels of a container that was started before there was a job for it: its name, and
//! a file beside the run's directory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::GO;
use crate::job::{Entrypoint, JobId, Run, RunId};
use crate::runner::directory::{HANDOVER, JobDirectory};
use crate::runner::labels::{self, Identity};
use crate::runner::orchestrator::ContainerInfo;

/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// The middle of the name of a container that waits.
const WAITING: &str = "warm";

/// What a container was given to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runner) struct StandIn {
    /// The directory that the container was started with, as its label says.
    pub(super) slot: PathBuf,
    /// The line that ends each of its outputs, if the worker lives until then.
    pub(in crate::runner) end_word: String,
    segment: u32,
    entrypoint: Entrypoint,
    script: String,
}

impl StandIn {
    pub(super) fn new(slot: &Path, end_word: String, run: &Run) -> Self {
        let script = run.job.script.rsplit('/').next().unwrap_or(&run.job.script).to_owned();
        let (segment, entrypoint) = (run.segment, run.job.entrypoint);
        Self { slot: slot.to_owned(), end_word, segment, entrypoint, script }
    }

    /// Writes it for the run with this directory.
    pub(super) fn write(&self, directory: &JobDirectory) -> io::Result<()> {
        let text = serde_json::to_vec(self).map_err(io::Error::other)?;
        fs::write(directory.handover(), text)
    }

    /// That of the run with this directory, if it was given such a container.
    pub(in crate::runner) fn read(directory: &JobDirectory) -> Option<Self> {
        read(&directory.handover())
    }
}

fn read(path: &Path) -> Option<StandIn> {
    fs::metadata(path).ok().filter(|found| found.len() <= MAX_BYTES)?;
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// When the run with this directory began, if its container was started before.
pub(in crate::runner) async fn begun_at(directory: &JobDirectory) -> Option<Timestamp> {
    directory.changed_at(GO).await
}

/// Where the file is that says that the job has come.
pub(super) fn go(root: &Path) -> PathBuf {
    root.join(GO)
}

/// The name of a container that waits in a directory with this name.
pub(super) fn waiting_name(namespace: &str, slot: &str) -> String {
    format!("{namespace}.{WAITING}.{slot}")
}

/// What a container is that was started before there was a job for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warm {
    /// It waits for a job.
    Waiting,
    /// It has the name of an attempt of this job.
    Named {
        /// The job.
        id: JobId,
        /// The attempt.
        attempt: u32,
        /// What else is known of it on this host.
        identity: Option<Identity>,
    },
}

/// What a container is, if it was started before there was a job for it.
#[must_use]
pub fn kind_of(info: &ContainerInfo, temp_dir: &Path, namespace: &str) -> Option<Warm> {
    let slot = Path::new(info.labels.get(labels::WARM)?);
    let named = info.name.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('.'));
    let named = named.and_then(|rest| rest.split_once('.'));
    let named = named
        .and_then(|(id, attempt)| Some((id.parse::<JobId>().ok()?, attempt.parse::<u32>().ok()?)));
    let Some((id, attempt)) = named else { return Some(Warm::Waiting) };
    let identity = identity(slot, (&id, attempt), temp_dir, namespace);
    Some(Warm::Named { id, attempt, identity })
}

/// What the file beside the run's directory says, if it is of this container.
fn identity(
    slot: &Path,
    (id, attempt): (&JobId, u32),
    temp_dir: &Path,
    namespace: &str,
) -> Option<Identity> {
    let folder = temp_dir.join(namespace).join(id.as_str());
    for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| {
            let (of, run) = name.strip_suffix(HANDOVER)?.split_once('-')?;
            (of.parse() == Ok(attempt)).then(|| run.parse::<RunId>().ok()).flatten()
        });
        let Some(run_id) = run else { continue };
        if let Some(found) = read(&entry.path()).filter(|found| found.slot == slot) {
            let directory = JobDirectory::new(temp_dir, namespace, id, &run_id, attempt);
            return Some(Identity {
                namespace: namespace.to_owned(),
                segment: found.segment,
                id: id.clone(),
                run_id,
                attempt,
                entrypoint: found.entrypoint,
                script: found.script,
                has_begun: go(directory.root()).exists(),
            });
        }
    }
    None
}
