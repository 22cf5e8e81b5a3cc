//! Packages of the registries, installed once, and zips of them with a program beside them.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::Mutex;

use crate::clients::must_run;

/// One installation at a time: two of the same packages must not meet.
static INSTALLING: Mutex<()> = Mutex::const_new(());

/// Zips a folder as Python's `shutil` does: links become the files they point to, or, as `zip -y` and Finder
/// do, stay links.
const ZIP: &str = r#"
import os, stat, sys, zipfile
folder, archive, links = sys.argv[1], sys.argv[2], sys.argv[3] == "links"
with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zip:
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(root, name)
            inside = os.path.relpath(path, folder)
            if links and os.path.islink(path):
                entry = zipfile.ZipInfo(inside)
                entry.create_system = 3
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                zip.writestr(entry, os.readlink(path))
            else:
                zip.write(path, inside)
"#;

/// A folder of packages that becomes a zip.
pub(super) struct Zipped {
    folder: Option<PathBuf>,
    keeps_links: bool,
}

impl Zipped {
    /// No packages at all.
    pub(super) fn none() -> Self {
        Self { folder: None, keeps_links: false }
    }

    /// Links stay links.
    pub(super) fn with_links(self) -> Self {
        Self { keeps_links: true, ..self }
    }

    /// The zip, with `files` beside the packages.
    pub(super) async fn with(self, files: &[(&str, &str)]) -> Vec<u8> {
        let work = tempfile::tempdir().unwrap();
        let (code, archive) = (work.path().join("code"), work.path().join("code.zip"));
        match &self.folder {
            Some(folder) => must_run(Command::new("cp").arg("-a").arg(folder).arg(&code)).await,
            None => std::fs::create_dir(&code).unwrap(),
        }
        for (name, content) in files {
            std::fs::write(code.join(name), content).unwrap();
        }
        let links = if self.keeps_links { "links" } else { "files" };
        let mut zip = Command::new("python3");
        must_run(zip.args(["-c", ZIP]).arg(&code).arg(&archive).arg(links)).await;
        std::fs::read(&archive).unwrap()
    }
}

fn home_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/packages").join(name)
}

/// Packages of `PyPI` in `vendor/`, for Python 3.11 on Linux, whatever Python this machine has.
pub(super) async fn python_vendor(name: &str, packages: &[&str]) -> Zipped {
    let _one = INSTALLING.lock().await;
    let folder = home_of(&format!("python-{name}"));
    if !folder.join("installed").exists() {
        let pip = crate::clients::python_with_pika().await;
        let options = ["-m", "pip", "install", "--quiet", "--upgrade", "--only-binary=:all:"];
        let platform = ["--python-version", "3.11", "--implementation", "cp"];
        let mut install = Command::new(pip);
        install.args(options).args(platform).arg("--target").arg(folder.join("vendor"));
        let machine = std::env::consts::ARCH;
        for platform in ["manylinux2014", "manylinux_2_28", "manylinux_2_27"] {
            install.arg("--platform").arg(format!("{platform}_{machine}"));
        }
        must_run(install.args(packages)).await;
        std::fs::write(folder.join("installed"), "").unwrap();
    }
    Zipped { folder: Some(folder), keeps_links: false }
}

/// Packages of npm in `node_modules/`.
pub(super) async fn node_modules(name: &str, packages: &[&str]) -> Zipped {
    let _one = INSTALLING.lock().await;
    let folder = home_of(&format!("node-{name}"));
    if !folder.join("installed").exists() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("package.json"), r#"{ "private": true }"#).unwrap();
        let npm = ["install", "--no-audit", "--no-fund", "--ignore-scripts"];
        must_run(Command::new("npm").args(npm).args(packages).current_dir(&folder)).await;
        std::fs::write(folder.join("installed"), "").unwrap();
    }
    Zipped { folder: Some(folder), keeps_links: false }
}
