//! `ScriptManager`: all that a job's container runs and reads first, in the job's directory.

use std::io;
use std::path::Path;

use super::bash::BashEntrypointFactory;
use super::code::CodeEntrypointFactory;
use super::runtimes::RuntimeScripts;
use super::write::{ScriptError, write_new};
use crate::job::archive::RESULT_FILE;
use crate::job::judging::exit_note::EXIT_NOTE;
use crate::job::{Job, Runtime};
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
}

/// Writes what a container runs first.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScriptManager {
    code: CodeEntrypointFactory,
    bash: BashEntrypointFactory,
}

impl ScriptManager {
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
        let (this, runtime, root) = (*self, job.runtime, directory.root().to_owned());
        let mut writes = vec![EXIT_NOTE];
        writes.extend((!job.is_long_running).then_some(RESULT_FILE));
        let empty = writes.clone();
        let turn = directory.turn().await;
        let written = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            this.write(runtime, &config, &empty, &root)
        });
        let shell_script = written.await.unwrap_or_else(|error| {
            let action = "writing the job's scripts was interrupted".to_owned();
            Err(ScriptError { action, source: io::Error::other(error) })
        })?;
        Ok(EntryScript {
            shell: RuntimeScripts::of(job.runtime).shell,
            container_path: format!("/{}/{shell_script}", job.entrypoint),
            writes,
        })
    }

    fn write(
        self,
        runtime: Runtime,
        config: &[u8],
        empty: &[&str],
        root: &Path,
    ) -> Result<&'static str, ScriptError> {
        self.code.write(runtime, config, root)?;
        for name in empty {
            // Whoever the container's user is; no other user of the host gets as far as this.
            write_new(&root.join(name), b"", 0o666)?;
        }
        self.bash.write(runtime, root)
    }
}
