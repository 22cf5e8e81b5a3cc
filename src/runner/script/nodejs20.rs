//! Node.js 20.

use super::RuntimeScripts;

pub(super) const SCRIPTS: RuntimeScripts = RuntimeScripts {
    // Alpine's image has no bash. Its shell reads ENV only where it is interactive.
    shell: &["/bin/sh"],
    // Left to itself Node.js takes half of the container's memory for its heap.
    interpreter: "node ${NODE_HEAP_MB:+\"--max-old-space-size=$NODE_HEAP_MB\"}",
    launcher_name: "launch.mjs",
    launcher: include_str!("launch.mjs"),
    parts: &[
        ("call.cjs", include_str!("call.cjs")),
        ("errors.cjs", include_str!("errors.cjs")),
        ("result.cjs", include_str!("result.cjs")),
    ],
};
