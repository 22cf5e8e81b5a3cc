//! Python 3.11.

use super::RuntimeScripts;

pub(super) const SCRIPTS: RuntimeScripts = RuntimeScripts {
    // Privileged, or it would run what BASH_ENV names first, and functions that come by the environment.
    shell: &["/bin/bash", "-p"],
    // Unbuffered, or the last lines before a kill are lost.
    interpreter: "python -u",
    launcher_name: "launch.py",
    launcher: include_str!("launch.py"),
    parts: &[
        ("call.py", include_str!("call.py")),
        ("errors.py", include_str!("errors.py")),
        ("result.py", include_str!("result.py")),
        ("stop.py", include_str!("stop.py")),
    ],
};
