//! `ScriptManager`: all that a job's container runs and reads first, in the job's directory.

use std::io;
use std::path::{Path, PathBuf};

use super::bash::BashEntrypointFactory;
use super::code::CodeEntrypointFactory;
use super::helper::{self, HELPER};
use super::runtimes::RuntimeScripts;
use super::write::{ScriptError, write_new};
use crate::job::archive::RESULT_FILE;
use crate::job::artifacts::ARTIFACTS_FILE;
use crate::job::judging::exit_note::EXIT_NOTE;
use crate::job::state::STATE_FILE;
use crate::job::sweep::ROWS_FILE;
use crate::job::{Entrypoint, Job, Runtime};
use crate::runner::directory::JobDirectory;

/// What a container has to be told to run a job's scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryScript {
    /// The shell in the container that runs it, and its flags: the first part of its command.
    pub shell: &'static [&'static str],
    /// The shell script in the container: the last part of its command.
    pub container_path: String,
    /// The files in the job's directory that the container writes, empty until then.
    pub writes: Vec<&'static str>,
    /// The helper that the shell script starts, on the host. It is mounted at [`HELPER`] of the job's directory.
    pub helper: PathBuf,
}

/// Writes what a container runs first.
#[derive(Debug, Clone)]
pub struct ScriptManager {
    code: CodeEntrypointFactory,
    bash: BashEntrypointFactory,
    temp_dir: PathBuf,
}

/// What was written.
struct Written {
    shell_script: &'static str,
    helper: PathBuf,
}

impl ScriptManager {
    /// With the helper in this `TEMP_DIR`, which must be there.
    #[must_use]
    pub fn new(temp_dir: &Path) -> Self {
        Self {
            code: CodeEntrypointFactory,
            bash: BashEntrypointFactory,
            temp_dir: temp_dir.to_owned(),
        }
    }

    /// Writes the job's configuration, launcher and shell script into its directory, once its code
    /// is there. An `entrypoint.sh` of the user's own is kept, and ours stands elsewhere.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where a file cannot be written, or is there already.
    pub async fn create(
        &self,
        job: &Job,
        directory: &JobDirectory,
    ) -> Result<EntryScript, ScriptError> {
        let config = self.code.config(job);
        let (this, runtime, root) = (self.clone(), job.runtime, directory.root().to_owned());
        let mut writes = vec![EXIT_NOTE];
        writes.extend((!job.is_long_running).then_some(RESULT_FILE));
        writes.extend(job.sweep.is_some().then_some(ROWS_FILE));
        writes.extend(job.artifacts.map(|_| ARTIFACTS_FILE));
        writes.extend(job.state.map(|_| STATE_FILE));
        let empty = writes.clone();
        let turn = directory.turn().await;
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            this.write(runtime, &config, &empty, &root)
        });
        let Written { shell_script, helper } = written.await.unwrap_or_else(|error| {
            let action = "writing the job's scripts was interrupted".to_owned();
            Err(ScriptError { action, source: io::Error::other(error) })
        })?;
        Ok(EntryScript {
            shell: RuntimeScripts::of(job.runtime).shell,
            container_path: format!("/{}/{shell_script}", job.entrypoint),
            writes,
            helper,
        })
    }

    /// Writes what a container needs to wait for a job of a runtime, into the directory `root`: its
    /// job's directory. This blocks.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where a file cannot be written, or is there already.
    pub fn prepare(&self, runtime: Runtime, root: &Path) -> Result<EntryScript, ScriptError> {
        let helper = helper::install(&self.temp_dir)?;
        self.code.write_launcher(runtime, root)?;
        let writes = vec![EXIT_NOTE, RESULT_FILE];
        write_empty(&writes, root)?;
        let shell_script = self.bash.write_ahead(runtime, root)?;
        Ok(EntryScript {
            shell: RuntimeScripts::of(runtime).shell,
            container_path: format!("/{}/{shell_script}", Entrypoint::Backtest),
            writes,
            helper,
        })
    }

    /// Adds what a job needs, once its code is there, too. This blocks.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where a file cannot be written, or is there already.
    pub fn complete(&self, job: &Job, root: &Path) -> Result<(), ScriptError> {
        self.code.write_config(&self.code.config(job), root)?;
        self.bash.write_to_be_seen(job.runtime, root)
    }

    fn write(
        &self,
        runtime: Runtime,
        config: &[u8],
        empty: &[&str],
        root: &Path,
    ) -> Result<Written, ScriptError> {
        let helper = helper::install(&self.temp_dir)?;
        self.code.write(runtime, config, root)?;
        write_empty(empty, root)?;
        Ok(Written { shell_script: self.bash.write(runtime, root)?, helper })
    }
}

/// Writes the files that the container writes, and the one on which the helper is mounted.
fn write_empty(names: &[&str], root: &Path) -> Result<(), ScriptError> {
    for name in names {
        // Whoever the container's user is; no other user of the host gets as far as this.
        write_new(&root.join(name), b"", 0o666)?;
    }
    // As long as the helper is not there, nobody can take this for a program.
    write_new(&root.join(HELPER), b"", 0o444)
}
