//! What `/proc` tells of the processes of a container.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The name that a launcher's process bears until it has heard SIGTERM. One whose program has a handler of its
/// own bears another.
pub const DEAF: &str = "longshore:job";

/// Between two looks whether killed processes have ended, in milliseconds.
const PAUSE: u8 = 1;

/// Whether a process bears the name of one that has not heard SIGTERM.
#[must_use]
pub fn is_deaf(process: Pid) -> bool {
    fs::read(format!("/proc/{process}/comm"))
        .is_ok_and(|name| name.trim_ascii_end() == DEAF.as_bytes())
}

/// Sends SIGTERM to all processes that this one began, directly or not, and not to itself.
pub fn terminate_descendants(of: Pid) {
    for process in descendants(of, &parents()) {
        // It may have ended meanwhile.
        kill(process, Signal::SIGTERM).ok();
    }
}

/// Kills all processes that this one began, directly or not, and waits until none is left. Gives whether that is
/// so. This process must be the one that inherits those whose parents have ended.
#[must_use]
pub fn kill_descendants(within: Duration) -> bool {
    let begun = Instant::now();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) if begun.elapsed() > within => return false,
            Ok(WaitStatus::StillAlive) => {
                for process in descendants(Pid::this(), &parents()) {
                    // It may have ended meanwhile.
                    kill(process, Signal::SIGKILL).ok();
                }
                // What is being killed needs a processor for that.
                poll(&mut [], PollTimeout::from(PAUSE)).ok();
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// The parent of each process that has not ended.
fn parents() -> BTreeMap<Pid, Pid> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let with_parent = processes.filter_map(|process: i32| {
        let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
        Some((Pid::from_raw(process), parent(&stat)?))
    });
    with_parent.collect()
}

/// The parent in a line of `/proc/{process}/stat`; `None` of a process that has ended. Its name, in brackets, may
/// hold anything.
fn parent(stat: &[u8]) -> Option<Pid> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?);
    if matches!(state, "Z" | "X") {
        return None;
    }
    parent.parse().ok().map(Pid::from_raw)
}

fn descendants(of: Pid, parents: &BTreeMap<Pid, Pid>) -> Vec<Pid> {
    let (mut found, mut looked_at) = (vec![of], 0);
    while let Some(&one) = found.get(looked_at) {
        looked_at += 1;
        let new: Vec<_> = parents
            .iter()
            .filter(|(process, parent)| **parent == one && !found.contains(process))
            .map(|(process, _)| *process)
            .collect();
        found.extend(new);
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_found_whatever_the_name_is() {
        assert_eq!(parent(b"7 (sleep) S 3 7 7 0"), Some(Pid::from_raw(3)));
        assert_eq!(parent(b"7 (a) S 9 (b) R 3 7"), Some(Pid::from_raw(3)));
        assert_eq!(parent(b"7 (\xff)) S 3 7"), Some(Pid::from_raw(3)));
        assert_eq!(parent(b"7 (gone) Z 3 7"), None);
        assert_eq!(parent(b""), None);
        assert_eq!(parent(b"7 (x) S"), None);
    }

    #[test]
    fn children_and_their_children_are_found_and_nobody_else() {
        let pid = Pid::from_raw;
        let pairs = [(2, 1), (3, 2), (4, 3), (5, 3), (6, 1), (7, 6), (8, 4)];
        let parents = pairs.into_iter().map(|(child, parent)| (pid(child), pid(parent))).collect();
        let found = descendants(pid(2), &parents);
        assert_eq!(found, [3, 4, 5, 8].map(pid));
        assert_eq!(descendants(pid(8), &parents), []);
        // Numbers are used again: what was read at different moments may go round in a circle.
        let circle = BTreeMap::from([(pid(2), pid(3)), (pid(3), pid(2))]);
        assert_eq!(descendants(pid(2), &circle), [pid(3)]);
    }

    #[test]
    fn the_processes_of_this_machine_are_read() {
        let me = Pid::this();
        assert_eq!(parents()[&me], Pid::parent());
        assert!(!is_deaf(me));
    }
}
