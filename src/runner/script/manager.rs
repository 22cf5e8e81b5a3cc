//! `ScriptManager`: all that a job's container runs and reads first, in the job's directory.

use std::io;
use std::path::{Path, PathBuf};

use super::bash::BashEntrypointFactory;
use super::code::CodeEntrypointFactory;
use super::helper::{self, HELPER};
use super::program::{command_of, make_executable};
use super::runtimes::RuntimeScripts;
use super::write::{ScriptError, write_new};
use crate::job::archive::RESULT_FILE;
use crate::job::artifacts::ARTIFACTS_FILE;
use crate::job::judging::exit_note::EXIT_NOTE;
use crate::job::state::STATE_FILE;
use crate::job::sweep::ROWS_FILE;
use crate::job::{Entrypoint, Job, Launcher};
use crate::runner::directory::JobDirectory;

/// What a container has to be told to run a job's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryScript {
    /// Its command: a shell of the image and our shell script, or the helper and the job's own program.
    pub command: Vec<String>,
    /// The files in the job's directory that the container writes, empty until then.
    pub writes: Vec<&'static str>,
    /// The helper that starts the program, on the host. It is mounted at [`HELPER`] of the job's directory.
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
    /// The place of the shell script, where there is one.
    shell_script: Option<&'static str>,
    helper: PathBuf,
}

/// The command that runs our shell script in a container.
fn command_of_shell(scripts: &RuntimeScripts, entrypoint: Entrypoint, script: &str) -> Vec<String> {
    let words = scripts.shell.iter().map(|&word| word.to_owned());
    words.chain([format!("/{entrypoint}/{script}")]).collect()
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
    /// is there. Without a launcher, the job's own program is made ready instead. An `entrypoint.sh` of the user's own is kept, and ours stands elsewhere.
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
        let (this, launcher, root) =
            (self.clone(), job.runtime.launcher, directory.root().to_owned());
        let program = job.runtime.runs_the_script_itself().then(|| job.script.clone());
        let mut writes = vec![EXIT_NOTE];
        writes.extend((!job.is_long_running).then_some(RESULT_FILE));
        writes.extend(job.sweep.is_some().then_some(ROWS_FILE));
        writes.extend(job.artifacts.map(|_| ARTIFACTS_FILE));
        writes.extend(job.state.map(|_| STATE_FILE));
        let empty = writes.clone();
        let turn = directory.turn().await;
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let written = this.write(launcher, &config, &empty, &root)?;
            if let Some(program) = program {
                make_executable(&root, &program)?;
            }
            Ok(written)
        });
        let Written { shell_script, helper } = written.await.unwrap_or_else(|error| {
            let action = "writing the job's scripts was interrupted".to_owned();
            Err(ScriptError { action, source: io::Error::other(error) })
        })?;
        let command = match (RuntimeScripts::of(launcher), shell_script) {
            (Some(scripts), Some(place)) => command_of_shell(scripts, job.entrypoint, place),
            _ => command_of(&job.runtime, job.entrypoint, &job.script),
        };
        Ok(EntryScript { command, writes, helper })
    }

    /// Writes what a container needs to wait for a job, into the directory `root`: its job's directory. This
    /// blocks.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where a file cannot be written, or is there already.
    pub fn prepare(&self, launcher: Launcher, root: &Path) -> Result<EntryScript, ScriptError> {
        let Some(scripts) = RuntimeScripts::of(launcher) else {
            let action = "a program of its own cannot wait for a job".to_owned();
            return Err(ScriptError { action, source: io::ErrorKind::Unsupported.into() });
        };
        let helper = helper::install(&self.temp_dir)?;
        self.code.write_launcher(launcher, root)?;
        let writes = vec![EXIT_NOTE, RESULT_FILE];
        write_empty(&writes, root)?;
        let shell_script = self.bash.write_ahead(scripts, root)?;
        let command = command_of_shell(scripts, Entrypoint::Backtest, shell_script);
        Ok(EntryScript { command, writes, helper })
    }

    /// Adds what a job needs, once its code is there, too. This blocks.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where a file cannot be written, or is there already.
    pub fn complete(&self, job: &Job, root: &Path) -> Result<(), ScriptError> {
        self.code.write_config(&self.code.config(job), root)?;
        match RuntimeScripts::of(job.runtime.launcher) {
            Some(scripts) => self.bash.write_to_be_seen(scripts, root),
            None => Ok(()),
        }
    }

    fn write(
        &self,
        launcher: Launcher,
        config: &[u8],
        empty: &[&str],
        root: &Path,
    ) -> Result<Written, ScriptError> {
        let helper = helper::install(&self.temp_dir)?;
        self.code.write(launcher, config, root)?;
        write_empty(empty, root)?;
        let scripts = RuntimeScripts::of(launcher);
        let shell_script = scripts.map(|scripts| self.bash.write(scripts, root)).transpose()?;
        Ok(Written { shell_script, helper })
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
