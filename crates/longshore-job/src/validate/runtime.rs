//! Whether there is the runtime that a message names, and whether it can do what the message asks for.

use std::sync::Arc;

use crate::violation::{Violation, violation};
use crate::{Bounds, Executable, Runtime};

/// The runtime of this name, and whether it can do what the message asks for.
pub(super) fn check_runtime(
    executable: &Executable,
    bounds: &Bounds,
    found: &mut Vec<Violation>,
) -> Option<Arc<Runtime>> {
    let Some(runtime) = bounds.runtimes.get(executable.runtime.as_str()) else {
        found.push(violation("runtime", bounds.runtimes.unknown(&executable.runtime)));
        return None;
    };
    let launcher = runtime.launcher;
    for (path, is_asked) in [
        ("artifacts", executable.artifacts.is_some()),
        ("state", executable.state.is_some()),
        ("sweep", executable.sweep.is_some()),
    ] {
        if is_asked && !launcher.calls_main() {
            let problem = format!("is not for the runtime {runtime}: only for Python and Node.js");
            found.push(violation(path, problem));
        }
    }
    Some(Arc::clone(runtime))
}
