//! The exit note: that the container began, what the kernel counted in it, and whether the lease ran out.
//!
//! The worker makes the file, empty; it is written in place, for nothing else there can be written. Nobody is
//! told when it cannot be written: the worker sees that by the note.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::OWN_FOLDER;

/// The name of the note, in the own folder of the job's directory.
pub const FILE: &str = "exit-note";

/// The line that is written first of all.
pub const BEGUN: &str = "begun";

/// The line that is written when the lease has run out.
pub const LEASE_EXPIRED: &str = "lease expired";

/// The line that is written when somebody asks the program to end: the worker, or somebody else.
pub const TERMINATED: &str = "terminated";

/// The line that is written last, once the program has ended. It is missing where this process was killed.
pub const ENDED: &str = "ended";

/// Where a container sees its control group.
pub const CONTROL_GROUP: &str = "/sys/fs/cgroup";

/// Which of them there are depends on the version of control groups. The figure is the first line.
const FIGURES: [&str; 4] =
    ["cpu.stat", "memory.peak", "cpuacct/cpuacct.usage", "memory/memory.max_usage_in_bytes"];

/// Those that count time of processors.
const TIMES: [&str; 2] = ["cpu.stat", "cpuacct/cpuacct.usage"];

/// The files with a line `oom_kill`, which counts the processes that the kernel killed for lack of memory, and
/// perhaps a line `oom`, which counts how often the container's own memory was short.
const KILLS: [&str; 2] = ["memory.events", "memory/memory.oom_control"];

/// The most that is read of a file, and that a line of the note may have, in bytes.
const MAX_FILE_BYTES: u64 = 4096;
const MAX_LINE_BYTES: usize = 128;

/// The note of a job.
#[derive(Debug)]
pub struct Note(PathBuf);

impl Note {
    /// The note of the job with this directory.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        Self(root.join(OWN_FOLDER).join(FILE))
    }

    /// Adds lines to the note.
    pub fn add(&self, lines: &str) {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened =
            File::options().append(true).create(true).custom_flags(flags.bits()).open(&self.0);
        if let Ok(mut note) = opened {
            note.write_all(lines.as_bytes()).ok();
        }
    }
}

/// The time of processors that was used before the job came, by figure.
pub type Before = Vec<(&'static str, u64)>;

/// What the kernel counted before the job came.
#[must_use]
pub fn before(control_group: &Path) -> Before {
    let used = |file| Some((file, number(&figure(&control_group.join(file))?)?));
    TIMES.into_iter().filter_map(used).collect()
}

/// What the kernel counted in a control group since then, as lines of the note.
#[must_use]
pub fn figures(control_group: &Path, before: &Before) -> String {
    let mut lines = String::new();
    let mut add = |name: &str, figure: &str| {
        let line = format!("{name} {}\n", figure.trim());
        if line.len() <= MAX_LINE_BYTES {
            lines.push_str(&line);
        }
    };
    for file in FIGURES {
        if let Some(figure) = figure(&control_group.join(file)) {
            let earlier = before.iter().find(|(of, _)| *of == file).map_or(0, |(_, used)| *used);
            let since = number(&figure).filter(|_| earlier > 0);
            let since = since.map(|now| {
                figure.replace(&now.to_string(), &now.saturating_sub(earlier).to_string())
            });
            add(file, &since.unwrap_or(figure));
        }
    }
    for file in KILLS {
        let text = read(&control_group.join(file)).unwrap_or_default();
        for wanted in ["oom", "oom_kill"] {
            let mut found = text.lines().filter_map(|line| line.split_once(' '));
            if let Some((name, count)) = found.find(|(name, _)| *name == wanted) {
                add(name, count);
            }
        }
    }
    lines
}

fn figure(path: &Path) -> Option<String> {
    let text = read(path)?;
    text.split_once('\n').map(|(figure, _)| figure.to_owned())
}

/// The number at the end of a figure.
fn number(figure: &str) -> Option<u64> {
    figure.rsplit(' ').next()?.trim().parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = temp.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        temp
    }

    #[test]
    fn both_versions_of_control_groups_are_noted() {
        let second = group(&[
            ("cpu.stat", "usage_usec 1500000\nuser_usec 1\n"),
            ("memory.peak", "5000000\n"),
            ("memory.events", "low 0\noom 1\noom_kill 2\noom_group_kill 3\n"),
        ]);
        let expected = "cpu.stat usage_usec 1500000\nmemory.peak 5000000\noom 1\noom_kill 2\n";
        assert_eq!(figures(second.path(), &Before::new()), expected);
        let first = group(&[
            ("cpuacct/cpuacct.usage", "39535267\n"),
            ("memory/memory.max_usage_in_bytes", "4337664\n"),
            ("memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n"),
        ]);
        let expected = "cpuacct/cpuacct.usage 39535267\nmemory/memory.max_usage_in_bytes 4337664\n\
                        oom_kill 0\n";
        assert_eq!(figures(first.path(), &Before::new()), expected);
    }

    #[test]
    fn what_was_used_before_the_job_came_does_not_count() {
        let waiting = group(&[
            ("cpu.stat", "usage_usec 40000\nuser_usec 1\n"),
            ("cpuacct/cpuacct.usage", "40000000\n"),
        ]);
        let before = before(waiting.path());
        let ended = group(&[
            ("cpu.stat", "usage_usec 1540000\nuser_usec 1\n"),
            ("memory.peak", "5000000\n"),
            ("cpuacct/cpuacct.usage", "41000000\n"),
        ]);
        let expected =
            "cpu.stat usage_usec 1500000\nmemory.peak 5000000\ncpuacct/cpuacct.usage 1000000\n";
        assert_eq!(figures(ended.path(), &before), expected);
        assert_eq!(super::before(Path::new("/no/such/group")), Before::new());
    }

    #[test]
    fn a_note_has_at_most_a_few_short_lines() {
        let long = format!("{}\n", "9".repeat(4000));
        let huge = "1\n".repeat(1 << 20);
        let odd =
            group(&[("cpu.stat", &long), ("memory.peak", &huge), ("memory.events", "oom_kill")]);
        assert_eq!(figures(odd.path(), &Before::new()), "memory.peak 1\n");
        assert_eq!(figures(Path::new("/no/such/group"), &Before::new()), "");
        assert!((FIGURES.len() + KILLS.len()) * MAX_LINE_BYTES < 1024);
    }

    #[test]
    fn a_note_is_written_in_place_and_line_by_line() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join(OWN_FOLDER)).unwrap();
        let note = Note::of(temp.path());
        fs::write(&note.0, "").unwrap();
        let inode = fs::metadata(&note.0).unwrap().ino();
        note.add("begun\n");
        note.add("lease expired\n");
        assert_eq!(fs::read_to_string(&note.0).unwrap(), "begun\nlease expired\n");
        assert_eq!(fs::metadata(&note.0).unwrap().ino(), inode);
    }

    #[test]
    fn no_link_is_followed_and_no_pipe_is_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let note = Note::of(temp.path());
        note.add("there is no folder\n");
        fs::create_dir(temp.path().join(OWN_FOLDER)).unwrap();
        let elsewhere = temp.path().join("elsewhere");
        fs::write(&elsewhere, "untouched").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &note.0).unwrap();
        note.add("begun\n");
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
        fs::remove_file(&note.0).unwrap();
        mkfifo(&note.0, Mode::S_IRWXU).unwrap();
        note.add("begun\n");
    }
}
