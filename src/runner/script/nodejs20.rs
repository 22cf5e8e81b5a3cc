//! Node.js 20.

use super::RuntimeScripts;

pub(super) const SCRIPTS: RuntimeScripts = RuntimeScripts {
    // Alpine's image has no bash.
    shell: "/bin/sh",
    interpreter: "node",
    launcher_name: "launch.mjs",
    launcher: include_str!("launch.mjs"),
};
