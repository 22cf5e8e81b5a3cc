//! `CodeEntrypointFactory`: the configuration and the launcher of the user's code.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::runtimes::RuntimeScripts;
use super::write::{ScriptError, write_new};
use crate::job::archive::RESERVED_DIRECTORY;
use crate::job::{Job, Launcher};

/// Writes `.longshore/`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CodeEntrypointFactory;

impl CodeEntrypointFactory {
    /// The configuration's place in the job's directory.
    pub const CONFIG_FILE: &str = ".longshore/config.json";

    /// What the configuration's file holds: the start message's `config`, as JSON.
    #[must_use]
    pub fn config(self, job: &Job) -> Vec<u8> {
        job.config.as_str().as_bytes().to_vec()
    }

    /// Writes the configuration and the launcher.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where one cannot be written, or is there already.
    pub fn write(self, launcher: Launcher, config: &[u8], root: &Path) -> Result<(), ScriptError> {
        self.write_launcher(launcher, root)?;
        self.write_config(config, root)
    }

    /// Writes the configuration, once the launcher is there.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where it cannot be written, or is there already.
    pub fn write_config(self, config: &[u8], root: &Path) -> Result<(), ScriptError> {
        write_new(&root.join(Self::CONFIG_FILE), config, 0o644)
    }

    /// Writes the launcher, if there is one, into its folder.
    ///
    /// # Errors
    ///
    /// [`ScriptError`] where it cannot be written, or is there already.
    pub fn write_launcher(self, launcher: Launcher, root: &Path) -> Result<(), ScriptError> {
        let ours = root.join(RESERVED_DIRECTORY);
        DirBuilder::new()
            .create(&ours)
            .and_then(|()| fs::set_permissions(&ours, Permissions::from_mode(0o755)))
            .map_err(ScriptError::io("creating the directory", &ours))?;
        let Some(scripts) = RuntimeScripts::of(launcher) else { return Ok(()) };
        write_new(&ours.join(scripts.launcher_name), scripts.launcher.as_bytes(), 0o644)?;
        for (name, text) in scripts.parts {
            write_new(&ours.join(name), text.as_bytes(), 0o644)?;
        }
        Ok(())
    }
}
