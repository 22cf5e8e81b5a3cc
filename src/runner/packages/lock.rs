//! Which packages a directory asks for: its lock files, read but not understood in full.

use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::job::Launcher;

/// The largest lock file, in bytes. That of a large project in Node.js has some 2 MB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// How many files of requirements may name each other.
const MAX_FILES: usize = 32;

/// Changes when packages are installed in another way than before, so that no older entry is used.
const LAYOUT: u32 = 1;

const REQUIREMENTS: &str = "requirements.txt";
const PACKAGE: &str = "package.json";
const PACKAGE_LOCK: &str = "package-lock.json";
/// Where npm finds its packages. It is read, and never sent.
const NPM_SETTINGS: &str = ".npmrc";

/// What installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// pip, for `requirements.txt`.
    Pip,
    /// npm, for `package-lock.json`.
    Npm,
}

impl Manager {
    /// The folder that it makes, at the top of the code.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::Pip => "vendor",
            Self::Npm => "node_modules",
        }
    }

    /// The file that it installs from.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Pip => REQUIREMENTS,
            Self::Npm => PACKAGE_LOCK,
        }
    }
}

/// Why the lock files of a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A file cannot be read.
    #[error("{} cannot be read: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A line asks for something that is not on a package index.
    #[error(
        "{file} asks for {what}, which is on this machine alone: put that code into the directory \
         itself, or install everything into {folder}/ yourself and use --no-install"
    )]
    Local {
        /// The file.
        file: String,
        /// The line, or the package.
        what: String,
        /// Where packages go.
        folder: &'static str,
    },
    /// npm needs the lock file.
    #[error(
        "package.json names packages, and there is no package-lock.json: make one with npm install \
         --package-lock-only, or install into node_modules/ yourself and use --no-install"
    )]
    NoPackageLock,
}

/// The lock files of a directory.
#[derive(Debug)]
pub struct Lock {
    /// What installs from them.
    pub manager: Manager,
    /// Their names and contents.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// The folders of the packages, where the lock file names them.
    pub(super) folders: Vec<String>,
}

impl Lock {
    /// The lock files of `dir`; `None` where it asks for no package.
    ///
    /// # Errors
    ///
    /// [`LockError`] for files that cannot be used.
    pub fn of(dir: &Path, launcher: Launcher) -> Result<Option<Self>, LockError> {
        match launcher {
            Launcher::Python => requirements(dir),
            Launcher::Node => package_lock(dir),
            // It brings what it needs.
            Launcher::Exec => Ok(None),
        }
    }

    /// A hash of all of it, with the image for which it is installed.
    pub(super) fn hash(&self, image_id: &str) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        add(format!("{LAYOUT} {:?} {image_id}", self.manager).as_bytes());
        for (name, content) in &self.files {
            add(name.as_bytes());
            add(content);
        }
        hex::encode(hash.finalize())
    }
}

/// A file; `None` where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, LockError> {
    let failed = |problem: String| LockError::Unreadable { path: path.to_owned(), problem };
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| failed(error.to_string()))?,
    };
    let mut content = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|error| failed(error.to_string()))?;
    if content.len() as u64 > MAX_BYTES {
        return Err(failed(format!("it is larger than {} MB", MAX_BYTES >> 20)));
    }
    Ok(Some(content))
}

fn requirements(dir: &Path) -> Result<Option<Lock>, LockError> {
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let mut to_do = vec![REQUIREMENTS.to_owned()];
    let mut has_packages = false;
    while let Some(name) = to_do.pop() {
        if files.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let path = dir.join(&name);
        let unreadable = |problem: &str| LockError::Unreadable {
            path: path.clone(),
            problem: problem.to_owned(),
        };
        let content = match read(&path)? {
            Some(content) => content,
            None if files.is_empty() => return Ok(None),
            None => return Err(unreadable("it does not exist")),
        };
        let text = String::from_utf8(content)
            .map_err(|_| unreadable("it is not UTF-8"))?
            .replace("\\\n", " ");
        for line in text.lines() {
            match Requirement::of(line) {
                Requirement::Nothing => {}
                Requirement::Package => has_packages = true,
                Requirement::Local => {
                    let (file, folder) = (name, Manager::Pip.folder());
                    return Err(LockError::Local { file, what: line.trim().to_owned(), folder });
                }
                Requirement::File(other) => match beside(&name, other) {
                    Some(other) => to_do.push(other),
                    None => return Err(unreadable("it names a file outside the directory")),
                },
            }
        }
        files.push((name, text.into_bytes()));
        if files.len() > MAX_FILES {
            return Err(unreadable(&format!("more than {MAX_FILES} files name each other")));
        }
    }
    let lock = Lock { manager: Manager::Pip, files, folders: Vec::new() };
    Ok(has_packages.then_some(lock))
}

/// The file `other` that the file `name` names, by its path within the directory.
fn beside(name: &str, other: &str) -> Option<String> {
    let mut path = PathBuf::new();
    for part in Path::new(name).parent()?.join(other).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir if path.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    path.to_str().map(str::to_owned)
}

/// What a line of requirements says.
#[derive(Debug, PartialEq, Eq)]
enum Requirement<'a> {
    Nothing,
    Package,
    Local,
    File(&'a str),
}

impl<'a> Requirement<'a> {
    fn of(line: &'a str) -> Self {
        let line = line.trim();
        let line = line.split_once(" #").map_or(line, |(line, _)| line.trim_end());
        if line.is_empty() || line.starts_with('#') {
            return Self::Nothing;
        }
        let value_of = |flags: [&str; 2]| {
            flags.iter().find_map(|flag| {
                let rest = line.strip_prefix(flag)?;
                rest.starts_with([' ', '=']).then(|| rest[1..].trim())
            })
        };
        if let Some(file) = value_of(["-r", "--requirement"]).or(value_of(["-c", "--constraint"])) {
            return Self::File(file);
        }
        if value_of(["-e", "--editable"]).is_some() {
            return Self::Local;
        }
        if line.starts_with('-') {
            return Self::Nothing;
        }
        let what = line.split_once('@').map_or(line, |(_, place)| place.trim());
        if line.starts_with(['.', '/']) || what.starts_with("file:") || what.starts_with('/') {
            return Self::Local;
        }
        Self::Package
    }
}

fn package_lock(dir: &Path) -> Result<Option<Lock>, LockError> {
    let Some(package) = read(&dir.join(PACKAGE))? else { return Ok(None) };
    let parsed: Value = parse(dir, PACKAGE, &package)?;
    let names_any = parsed["dependencies"].as_object().is_some_and(|all| !all.is_empty());
    let Some(lock) = read(&dir.join(PACKAGE_LOCK))? else {
        return if names_any { Err(LockError::NoPackageLock) } else { Ok(None) };
    };
    let parsed: Value = parse(dir, PACKAGE_LOCK, &lock)?;
    let mut folders = Vec::new();
    for (folder, entry) in parsed["packages"].as_object().into_iter().flatten() {
        let is_local = entry["link"] == true
            || entry["resolved"].as_str().is_some_and(|from| from.starts_with("file:"));
        if is_local {
            return Err(LockError::Local {
                file: PACKAGE_LOCK.to_owned(),
                what: folder.clone(),
                folder: Manager::Npm.folder(),
            });
        }
        if !folder.is_empty() && entry["dev"] != true {
            folders.push(folder.clone());
        }
    }
    if folders.is_empty() {
        return Ok(None);
    }
    let mut files = vec![(PACKAGE.to_owned(), package), (PACKAGE_LOCK.to_owned(), lock)];
    files.extend(read(&dir.join(NPM_SETTINGS))?.map(|content| (NPM_SETTINGS.to_owned(), content)));
    Ok(Some(Lock { manager: Manager::Npm, files, folders }))
}

fn parse(dir: &Path, name: &str, content: &[u8]) -> Result<Value, LockError> {
    serde_json::from_slice(content).map_err(|error| LockError::Unreadable {
        path: dir.join(name),
        problem: format!("it is not JSON: {error}"),
    })
}

#[cfg(test)]
mod tests;
