//! A small disk of a test's own, which the test may make hang: who writes to it then waits.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How long a disk may hang, in seconds: whatever becomes of the test, its writers go on then.
const MAX_HANG_SECONDS: u32 = 120;

/// A file system in a file, mounted.
pub struct OwnDisk {
    folder: PathBuf,
    rescue: Option<Child>,
}

impl OwnDisk {
    /// A new one of 64 MiB below `parent`, empty.
    pub fn new(parent: &Path) -> Self {
        let (image, folder) = (parent.join("disk.img"), parent.join("disk"));
        std::fs::create_dir_all(&folder).unwrap();
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(64 * 1024 * 1024).unwrap();
        run("mkfs.ext4", &["-q", path(&image)]);
        run("mount", &["-o", "loop", path(&image), path(&folder)]);
        Self { folder, rescue: None }
    }

    /// Where it is mounted.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on, who writes waits. Reading goes on.
    pub fn hang(&mut self) {
        let script =
            format!("sleep {MAX_HANG_SECONDS}; fsfreeze --unfreeze {}", path(&self.folder));
        let mut rescue = Command::new("sh");
        rescue.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null());
        self.rescue = Some(rescue.stderr(Stdio::null()).spawn().unwrap());
        run("fsfreeze", &["--freeze", path(&self.folder)]);
    }

    /// Who waits goes on.
    pub fn recover(&mut self) {
        if let Some(mut rescue) = self.rescue.take() {
            rescue.kill().ok();
            rescue.wait().ok();
            run("fsfreeze", &["--unfreeze", path(&self.folder)]);
        }
    }
}

impl Drop for OwnDisk {
    fn drop(&mut self) {
        self.recover();
        Command::new("umount").args(["--lazy", path(&self.folder)]).status().ok();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}
