//! What every command receives.

use std::path::PathBuf;

use super::{Failure, telemetry};
use crate::settings::{Loader, Reader, Sources};

/// What every command receives: the settings, not yet checked.
pub struct Context {
    /// The settings.
    pub(super) loader: Loader,
}

impl Context {
    /// Collects the settings of this process. `config` is the settings file that its arguments
    /// name.
    #[must_use]
    pub fn of_process(config: Option<PathBuf>) -> Self {
        Self { loader: Loader::new(Sources::of_process(config)) }
    }

    /// Reads sections of the settings, and starts the program's own log as they say.
    pub(super) fn settings<'s, T>(
        &'s self,
        voice: telemetry::Voice,
        sections: impl FnOnce(&Reader<'s>) -> T,
    ) -> Result<T, Failure> {
        let (log, read) = self.loader.read(|reader| (reader.telemetry(), sections(reader)))?;
        telemetry::start(&log, voice, self.loader.is_set("LOG_LEVEL"));
        Ok(read)
    }
}
