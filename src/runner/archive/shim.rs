//! What stands in the place of the links in `node_modules/.bin`. Pure.
//!
//! npm links a package's programs there. Node.js follows such a link before it looks for the packages beside a
//! program, so a copy of the program would not find them. A script that runs the program in its own place does;
//! npm writes the same on systems without links.

use super::links::LinkedFile;

const PROGRAMS: &str = "node_modules/.bin";

/// The script for a link, where it is one of npm's programs.
pub(super) fn of(linked: &LinkedFile) -> Option<String> {
    let (folder, _) = linked.path.rsplit_once('/')?;
    let is_of_npm = folder == PROGRAMS || folder.ends_with(&format!("/{PROGRAMS}"));
    is_of_npm.then(|| {
        let up = "../".repeat(folder.split('/').count());
        let program = format!("/{up}{}", linked.to).replace('\'', r"'\''");
        format!("#!/bin/sh\nexec \"$(dirname \"$0\")\"'{program}' \"$@\"\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shim(path: &str, to: &str) -> Option<String> {
        of(&LinkedFile { path: path.to_owned(), to: to.into(), bytes: 1 })
    }

    #[test]
    fn a_program_of_npm_is_run_in_its_own_place() {
        let said = shim("app/node_modules/.bin/semver", "app/node_modules/semver/bin/semver.js");
        let exec =
            r#"exec "$(dirname "$0")"'/../../../app/node_modules/semver/bin/semver.js' "$@""#;
        assert_eq!(said.unwrap(), format!("#!/bin/sh\n{exec}\n"));
        assert!(shim("node_modules/.bin/a", "node_modules/a/cli.js").is_some());
        for other in ["lib/libfoo.so", ".bin/a", "my_node_modules/.bin/a", "a"] {
            assert_eq!(shim(other, "b"), None, "{other}");
        }
    }

    #[test]
    fn no_name_reaches_the_shell_as_more_than_a_name() {
        let said = shim("node_modules/.bin/a", "node_modules/$(id)/it's.js").unwrap();
        assert!(said.contains(r"'/../../node_modules/$(id)/it'\''s.js'"), "{said}");
    }
}
