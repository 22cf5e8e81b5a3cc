//! How much code, and how many bytes of inputs, one job may bring.

use sha2::{Digest as _, Sha256};

use crate::job::archive::ArchiveCaps;
use crate::settings::RunnerSettings;

/// Changes when a zip is unpacked in another way than before, so that no older entry is used.
const LAYOUT: u32 = 1;

/// How much code one job may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeCaps {
    /// Bytes of the zip.
    pub max_archive_bytes: u64,
    /// What it may unpack to.
    pub archive: ArchiveCaps,
    /// Bytes of all inputs together.
    pub max_input_bytes: u64,
}

impl From<&RunnerSettings> for CodeCaps {
    fn from(settings: &RunnerSettings) -> Self {
        Self {
            max_archive_bytes: settings.max_archive_bytes,
            archive: ArchiveCaps {
                max_entries: settings.max_entries,
                max_extracted_bytes: settings.max_extracted_bytes,
                max_depth: settings.max_depth,
                max_name_bytes: settings.max_name_bytes,
                max_ratio: settings.max_ratio,
                max_time: settings.unpack_timeout,
                keeps_ours: true,
            },
            max_input_bytes: settings.max_input_bytes,
        }
    }
}

impl CodeCaps {
    /// What unpacking under these caps makes of a zip, as a part of a name: under others it may be
    /// refused. How long it may take decides only whether there is anything.
    pub(super) fn variant(&self) -> String {
        let Self { max_archive_bytes, archive, max_input_bytes: _ } = self;
        let ArchiveCaps {
            max_entries,
            max_extracted_bytes,
            max_depth,
            max_name_bytes,
            max_ratio,
            max_time: _,
            keeps_ours: _,
        } = archive;
        let text = format!(
            "{LAYOUT} {max_archive_bytes} {max_entries} {max_extracted_bytes} {max_depth} \
             {max_name_bytes} {max_ratio}"
        );
        hex::encode(&Sha256::digest(text)[..8])
    }

    /// The caps of an archive that is an input: its files are in a folder of their own.
    pub(super) fn of_inputs(&self) -> ArchiveCaps {
        ArchiveCaps { keeps_ours: false, ..self.archive }
    }
}
