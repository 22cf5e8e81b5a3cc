//! Removes what is left of a second engine when its daemon is gone: processes, mounts, cgroups,
//! sockets.
//!
//! The engine's folder or its cgroup, which no other engine has, identifies all of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What every engine's folder begins with; the process that made it follows.
pub(super) const FOLDER: &str = "longshore-engine-";

/// An engine's own programs, by the names that the kernel has for them (15 bytes at most).
const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim", "runc"];

/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends engines whose test was killed before it could end them, and removes their files.
pub(super) fn of_dead_tests() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let maker = name.strip_prefix(FOLDER).and_then(|rest| rest.split('-').next());
        let is_dead = maker.is_some_and(|maker| !Path::new("/proc").join(maker).exists());
        if is_dead {
            Remains::of(&entry.path()).remove();
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                eprintln!("remove {}: {error}", entry.path().display());
            }
        }
    }
}

/// The remains of the engine in a folder.
pub(super) struct Remains<'a> {
    folder: &'a Path,
}

impl<'a> Remains<'a> {
    pub(super) fn of(folder: &'a Path) -> Self {
        Self { folder }
    }

    /// The cgroup above all of its containers'.
    pub(super) fn cgroup(&self) -> String {
        format!("/{}", self.folder.file_name().unwrap().to_string_lossy())
    }

    /// Everything but the folder itself.
    pub(super) fn remove(&self) {
        self.end_processes();
        for socket in self.sockets_of_shims() {
            remove_file(&socket);
        }
        self.unmount();
        for group in self.cgroups() {
            remove_tree_of_groups(&group);
        }
    }

    /// Its programs first, so that they start nothing more, then the processes of its containers.
    pub(super) fn end_processes(&self) {
        end("processes of a second engine", || self.programs(&PROGRAMS));
        end("containers of a second engine", || {
            self.cgroups().iter().flat_map(|group| members(group)).collect()
        });
    }

    pub(super) fn end_containerd(&self) {
        end("containerd of a second engine", || self.programs(&["containerd"]));
    }

    /// Files that a killed daemon leaves in its folder, and that the next would take for signs of a
    /// live daemon.
    pub(super) fn clear_sockets(&self) {
        remove_file(&self.folder.join("dockerd.pid"));
        remove_file(&self.folder.join("docker.sock"));
        for path in children(&self.folder.join("run/containerd")) {
            let name = path.to_string_lossy();
            if [".pid", ".sock", ".ttrpc"].iter().any(|end| name.ends_with(end)) {
                remove_file(&path);
            }
        }
    }

    /// Every process of its containers, with the container's id. It asks the kernel, so it works
    /// without the daemon.
    pub(super) fn processes(&self) -> Vec<(String, i32)> {
        let Some(group) = self.cgroups().into_iter().next() else { return Vec::new() };
        let containers = children(&group).into_iter().filter(|path| path.is_dir());
        let named = containers.filter_map(|one| {
            let id = one.file_name()?.to_str()?.to_owned();
            Some((id, members(&one)))
        });
        named.flat_map(|(id, all)| all.into_iter().map(move |one| (id.clone(), one))).collect()
    }

    /// The processes of this name that have the folder in their arguments.
    fn programs(&self, names: &[&str]) -> Vec<i32> {
        let folder = self.folder.to_string_lossy();
        let is_one = |process: &Path| {
            let read = |file| std::fs::read_to_string(process.join(file)).unwrap_or_default();
            names.contains(&read("comm").trim()) && read("cmdline").contains(folder.as_ref())
        };
        let processes = children(Path::new("/proc")).into_iter().filter(|path| is_one(path));
        processes.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
    }

    /// Its cgroup in every hierarchy: version 2 has one, version 1 one for each controller.
    pub(super) fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = children(root).into_iter().chain([root.to_owned()]);
        let name = self.cgroup();
        let groups = hierarchies.map(|one| one.join(name.trim_start_matches('/')));
        groups.filter(|group| group.is_dir()).collect()
    }

    /// Shims listen in a folder of the whole machine, and note the path in their own folder.
    fn sockets_of_shims(&self) -> Vec<PathBuf> {
        let tasks = self.folder.join("run/containerd/daemon/io.containerd.runtime.v2.task/moby");
        let addresses = children(&tasks).into_iter().map(|task| task.join("address"));
        let read = addresses.filter_map(|file| std::fs::read_to_string(file).ok());
        read.filter_map(|url| Some(PathBuf::from(url.trim().strip_prefix("unix://")?))).collect()
    }

    /// Unmounts everything in the folder, the innermost first.
    pub(super) fn unmount(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        let ours: Vec<_> = points.filter(|point| point.starts_with(self.folder)).collect();
        for point in ours.into_iter().rev() {
            if let Err(error) = umount2(point, MntFlags::MNT_DETACH) {
                eprintln!("unmount {}: {error}", point.display());
            }
        }
    }
}

/// Kills processes until none is found.
fn end(what: &str, find: impl Fn() -> Vec<i32>) {
    let begun = Instant::now();
    loop {
        let found = find();
        if found.is_empty() {
            return;
        }
        if begun.elapsed() > PATIENCE {
            eprintln!("could not end {what}: {found:?}");
            return;
        }
        for process in found {
            // If a process is already gone, that is fine.
            let _gone = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        #[allow(clippy::disallowed_methods, reason = "a drop cannot await")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of a cgroup and of those below it.
fn members(group: &Path) -> Vec<i32> {
    let listed = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<i32> = listed.lines().filter_map(|line| line.parse().ok()).collect();
    let below = children(group).into_iter().filter(|path| path.is_dir());
    all.extend(below.flat_map(|below| members(&below)));
    all
}

fn remove_tree_of_groups(group: &Path) {
    for below in children(group).into_iter().filter(|path| path.is_dir()) {
        remove_tree_of_groups(&below);
    }
    if let Err(error) = std::fs::remove_dir(group) {
        eprintln!("remove {}: {error}", group.display());
    }
}

fn remove_file(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            eprintln!("remove {}: {error}", path.display());
        }
        _ => {}
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}
