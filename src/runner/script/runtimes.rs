//! What each launcher needs to start a job.

use crate::job::Launcher;

/// The file of the module `longshore` of Node.js, which is mounted where every script finds it.
pub const NODE_MODULE: &str = "longshore.cjs";

/// How a launcher that calls `main` starts a job.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeScripts {
    /// The shell in the runtime's image that runs `entrypoint.sh`, and its flags.
    pub shell: &'static [&'static str],
    /// The shell command that runs a file of the launcher's language.
    pub interpreter: &'static str,
    /// The launcher's file name.
    pub launcher_name: &'static str,
    /// The launcher.
    pub launcher: &'static str,
    /// What the launcher loads when it needs it, by file name.
    pub parts: &'static [(&'static str, &'static str)],
}

impl RuntimeScripts {
    /// Those of a launcher; `None` where the program is the job's own.
    #[must_use]
    pub const fn of(launcher: Launcher) -> Option<&'static Self> {
        match launcher {
            Launcher::Python => Some(&PYTHON),
            Launcher::Node => Some(&NODE),
            Launcher::Exec => None,
        }
    }
}

const PYTHON: RuntimeScripts = RuntimeScripts {
    // Privileged, or it would run what BASH_ENV names first, and functions that come by the environment.
    shell: &["/bin/bash", "-p"],
    // Unbuffered, or the last lines before a kill are lost.
    interpreter: "python -u",
    launcher_name: "launch.py",
    launcher: include_str!("launch.py"),
    parts: &[
        ("artifacts.py", include_str!("artifacts.py")),
        ("call.py", include_str!("call.py")),
        ("errors.py", include_str!("errors.py")),
        ("longshore.py", include_str!("longshore.py")),
        ("result.py", include_str!("result.py")),
        ("stop.py", include_str!("stop.py")),
        ("sweep.py", include_str!("sweep.py")),
        ("warm.py", include_str!("warm.py")),
    ],
};

const NODE: RuntimeScripts = RuntimeScripts {
    // Alpine's image has no bash. Its shell reads ENV only where it is interactive.
    shell: &["/bin/sh"],
    // Left to itself Node.js takes half of the container's memory for its heap.
    interpreter: "node ${NODE_HEAP_MB:+\"--max-old-space-size=$NODE_HEAP_MB\"}",
    launcher_name: "launch.mjs",
    launcher: include_str!("launch.mjs"),
    parts: &[
        ("artifacts.cjs", include_str!("artifacts.cjs")),
        ("call.cjs", include_str!("call.cjs")),
        ("errors.cjs", include_str!("errors.cjs")),
        (NODE_MODULE, include_str!("longshore.cjs")),
        ("result.cjs", include_str!("result.cjs")),
        ("sweep.cjs", include_str!("sweep.cjs")),
        ("sweep-config.cjs", include_str!("sweep-config.cjs")),
        ("sweep-host.cjs", include_str!("sweep-host.cjs")),
    ],
};
