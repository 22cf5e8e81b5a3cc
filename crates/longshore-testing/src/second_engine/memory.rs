//! A host that is short of memory: all containers of an engine together have no more than they hold.

use std::path::{Path, PathBuf};

/// What they may take beyond what they hold, in bytes. With less, the kernel reads their programs from the disk
/// again and again instead of ending one of them.
const MARGIN: u64 = 8 << 20;

/// How often the limit is raised by the margin if the kernel finds no pages to free for it.
const TRIES: u64 = 20;

/// Where version 1 and version 2 of cgroups have the limit, what takes it away, and what `memory.stat` calls
/// memory that cannot be written to a disk.
const VERSIONS: [(&str, &str, &str); 2] =
    [("memory.limit_in_bytes", "-1", "total_rss "), ("memory.max", "max", "anon ")];

/// Sets the limit. The kernel then ends a process, of whichever container, when one asks for more.
pub(super) fn squeeze(groups: &[PathBuf]) {
    for (group, file, _, held) in limited(groups) {
        let held = held_in(&group, held);
        let tries = (1..=TRIES).map(|number| held + number * MARGIN);
        let mut set = tries.map(|limit| std::fs::write(group.join(file), limit.to_string()));
        if !set.any(|written| written.is_ok()) {
            eprintln!("{}: no limit of memory could be set", group.display());
        }
    }
}

/// Takes the limit away.
pub(super) fn release(groups: &[PathBuf]) {
    for (group, file, without, _) in limited(groups) {
        if let Err(error) = std::fs::write(group.join(file), without) {
            eprintln!("{}: {error}", group.display());
        }
    }
}

fn limited(
    groups: &[PathBuf],
) -> impl Iterator<Item = (PathBuf, &'static str, &'static str, &'static str)> {
    groups.iter().flat_map(|group| {
        let versions = VERSIONS.into_iter().filter(|(file, _, _)| group.join(file).exists());
        versions.map(|(file, without, held)| (group.clone(), file, without, held))
    })
}

fn held_in(group: &Path, field: &str) -> u64 {
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let held = stat.lines().find_map(|line| line.strip_prefix(field)?.parse().ok());
    held.unwrap_or_default()
}
