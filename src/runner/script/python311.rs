//! Python 3.11.

use super::RuntimeScripts;

pub(super) const SCRIPTS: RuntimeScripts = RuntimeScripts {
    shell: "/bin/bash",
    // Unbuffered, or the last lines before a kill are lost.
    interpreter: "python -u",
    launcher_name: "launch.py",
    launcher: include_str!("launch.py"),
};
