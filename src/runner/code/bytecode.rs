//! Byte code of the code that runs share: made once for each zip and image, in the background.
//!
//! The first run of a zip starts as fast as without it; later ones find their modules compiled.
//! Compiling what a program imports takes longer than importing it uncompiled, so no run waits.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::compiler::{CompileError, Compiler};
use crate::job::archive::{ArchiveCaps, extract};
use crate::runner::cache::{Cache, CacheError, Held, Key, Making, PlaceError};
use crate::runner::directory::JobDirectory;

/// Changes when byte code is made in another way than before, so that no older one is used.
const LAYOUT: u32 = 1;

/// Python source below which compiling costs more than it saves, in bytes: starting its container
/// takes as long as compiling a few hundred kilobytes.
const MIN_SOURCE_BYTES: u64 = 128 * 1024;

/// Zips that wait to be compiled, and zips of which is remembered that they cannot be: more are not
/// kept.
const MAX_KEPT: usize = 256;

/// The folder in which Python looks for byte code, and the ending of its files.
const FOLDER: &str = "__pycache__";
const ENDING: &str = ".pyc";

/// Byte code for shared code.
pub(super) struct Bytecode {
    compiler: Compiler,
    caps: ArchiveCaps,
    /// What is being compiled, or waits for it.
    pending: Mutex<HashSet<Key>>,
    /// What could not be compiled since this worker started.
    failed: Mutex<HashSet<Key>>,
    /// One at a time: jobs need the processors.
    turn: Semaphore,
    ending: CancellationToken,
    tracker: TaskTracker,
}

/// The code of a run that may have byte code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runner) struct Compilable {
    /// The entry with the code.
    pub(super) code: Key,
    /// The entry with its byte code, as the image `image` makes it.
    bytecode: Key,
    image: String,
}

impl Compilable {
    /// The code `code` of a zip, to be compiled in the image `image`, whose id is `image_id`.
    pub(super) fn new(code: Key, image: &str, image_id: &str) -> Self {
        let id = image_id.rsplit(':').next().unwrap_or(image_id);
        let id: String = id.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let bytecode = Key::new(code.content(), &format!("bytecode{LAYOUT}-{id}"));
        Self { code, bytecode, image: image.to_owned() }
    }
}

impl Bytecode {
    pub(super) fn new(compiler: Compiler, caps: ArchiveCaps) -> Self {
        Self {
            compiler,
            // Each folder may get one more, and names grow by the folder and the version of Python.
            caps: ArchiveCaps {
                max_depth: caps.max_depth + 1,
                max_name_bytes: caps.max_name_bytes + 64,
                ..caps
            },
            pending: Mutex::default(),
            failed: Mutex::default(),
            turn: Semaphore::new(1),
            ending: CancellationToken::new(),
            tracker: TaskTracker::new(),
        }
    }

    /// Removes the containers of compilers that died with their worker.
    pub(super) async fn remove_left_over(&self, cache: &Arc<Cache>) {
        self.compiler.remove_left_over(cache).await;
    }

    /// Compiles in the background what is not compiled yet.
    pub(super) fn compile_later(self: &Arc<Self>, cache: &Arc<Cache>, what: Compilable) {
        let is_known = cache.has(&what.bytecode) || self.failed.lock().contains(&what.bytecode);
        let mut pending = self.pending.lock();
        if is_known || pending.len() >= MAX_KEPT || !pending.insert(what.bytecode.clone()) {
            return;
        }
        let (this, cache) = (Arc::clone(self), Arc::clone(cache));
        self.tracker.spawn(async move {
            let compiled = this.compile(&cache, &what).await;
            if let Some(error) = compiled.err().filter(|_| !this.ending.is_cancelled()) {
                tracing::warn!(entry = %what.code, image = what.image, %error, "could not compile the code of a zip; it runs uncompiled");
                let mut failed = this.failed.lock();
                if failed.len() >= MAX_KEPT {
                    failed.clear();
                }
                failed.insert(what.bytecode.clone());
            }
            this.pending.lock().remove(&what.bytecode);
        });
    }

    async fn compile(&self, cache: &Arc<Cache>, what: &Compilable) -> Result<(), CompileError> {
        let Some(_turn) = self.ending.run_until_cancelled(self.turn.acquire()).await else {
            return Ok(());
        };
        let (taking, key, bytecode) = (Arc::clone(cache), what.code.clone(), what.bytecode.clone());
        let begun = blocking(move || {
            let code = if taking.has(&bytecode) { None } else { taking.take(&key)? };
            let code = code.filter(|code| source_bytes(code) >= MIN_SOURCE_BYTES);
            code.map(|code| Ok((code, taking.begin()?))).transpose()
        });
        let Some((code, making)) = begun.await? else { return Ok(()) };
        let (code, making) = (Arc::new(code), Arc::new(making));
        let said = self.compiler.run(&what.image, &code, &making, &self.ending).await?;
        let (cache, key, caps) = (Arc::clone(cache), what.bytecode.clone(), self.caps);
        let name = what.code.to_string();
        blocking(move || {
            unpack(&making, &code, caps)?;
            let held = cache.put(&making, &key, Vec::new())?;
            let files = held.manifest().files.len();
            tracing::info!(entry = name, files, said, "compiled the code of a zip for later runs");
            Ok(cache.tidy()?)
        })
        .await
    }

    /// Puts the byte code of a run's code into its directory, where there is any.
    pub(super) async fn place(
        &self,
        cache: &Arc<Cache>,
        what: &Compilable,
        directory: &JobDirectory,
    ) -> Result<(), CompileError> {
        let (cache, key) = (Arc::clone(cache), what.bytecode.clone());
        let (root, turn) = (directory.root().to_owned(), directory.turn().await);
        blocking(move || {
            let _turn = turn;
            let Some(held) = cache.take(&key)? else { return Ok(()) };
            match held.place_among(&root) {
                Err(PlaceError::Changed { path }) => {
                    tracing::warn!(path = %path.display(), "a file of the code cache was changed; its entry is made again");
                    Ok(cache.throw_away(&key)?)
                }
                Err(PlaceError::Cache(error)) => Err(error.into()),
                Ok(()) => Ok(()),
            }
        })
        .await
    }

    /// Ends what is being compiled, and waits until its container is removed.
    pub(super) async fn end(&self) {
        self.ending.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

fn source_bytes(code: &Held) -> u64 {
    let is_source = |path: &str| path.ends_with(".py");
    let files = code.manifest().files.iter().filter(|file| is_source(&file.path));
    files.map(|file| file.bytes).sum()
}

/// Unpacks what a compiler wrote, under the limits of any stranger's zip, and makes sure that it is byte
/// code for folders of this code and nothing else.
fn unpack(making: &Making, code: &Held, caps: ArchiveCaps) -> Result<(), CompileError> {
    let (zip, tree) = (Compiler::output(making), making.tree()?);
    let failed = |error: std::io::Error| CompileError::Output(error.to_string());
    if fs::metadata(&zip).map_err(failed)?.len() == 0 {
        return Err(CompileError::Output("it wrote nothing".to_owned()));
    }
    if is_empty(&zip).map_err(failed)? {
        return fs::DirBuilder::new().mode(0o755).create(&tree).map_err(failed);
    }
    extract(&zip, &tree, caps).map_err(|error| CompileError::Output(error.to_string()))?;
    let folders: HashSet<_> = code.manifest().folders.iter().map(String::as_str).collect();
    check(&tree, "", &folders).map_err(CompileError::Output)
}

/// Whether a zip has no entries: it is its own end and nothing else.
fn is_empty(zip: &Path) -> std::io::Result<bool> {
    Ok(fs::metadata(zip)?.len() < 64 && fs::read(zip)?.starts_with(b"PK\x05\x06"))
}

fn check(tree: &Path, folder: &str, known: &HashSet<&str>) -> Result<(), String> {
    let place = tree.join(folder);
    for entry in fs::read_dir(&place).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let kind = entry.file_type().map_err(|error| error.to_string())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let is_in_its_place = folder == FOLDER || folder.ends_with("/__pycache__");
        let is_fine = if kind.is_dir() {
            !is_in_its_place && (name == FOLDER || known.contains(path.as_str()))
        } else {
            kind.is_file() && is_in_its_place && name.ends_with(ENDING)
        };
        if !is_fine {
            return Err(format!("{path:?} is no byte code of this zip"));
        }
        if kind.is_dir() {
            check(tree, &path, known)?;
        }
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CompileError> + Send + 'static,
) -> Result<T, CompileError> {
    let working = tokio::task::spawn_blocking(work);
    working.await.unwrap_or_else(|error| {
        Err(CacheError::other("compiling", format!("it was interrupted: {error}")).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_byte_code_of_folders_of_the_zip_is_taken() {
        let known = HashSet::from(["pkg", "pkg/deep"]);
        for (path, is_fine) in [
            ("__pycache__/main.cpython-311.pyc", true),
            ("pkg/deep/__pycache__/x.cpython-311.pyc", true),
            ("pkg/x.pyc", false),
            ("main.py", false),
            ("pkg/__pycache__/x.py", false),
            ("other/__pycache__/x.pyc", false),
            ("__pycache__/deep/x.pyc", false),
            ("__pycache__/__pycache__/x.pyc", false),
        ] {
            let tree = tempfile::tempdir().unwrap();
            let file = tree.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "x").unwrap();
            assert_eq!(check(tree.path(), "", &known).is_ok(), is_fine, "{path}");
        }
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join(FOLDER)).unwrap();
        let link = tree.path().join(FOLDER).join("x.pyc");
        std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
        assert!(check(tree.path(), "", &known).is_err());
    }

    #[test]
    fn byte_code_is_found_by_the_zip_and_the_image() {
        let code = |variant: &str| Key::new(&"a".repeat(64), variant);
        let one = Compilable::new(code("code-1"), "python:3.11", "sha256:12ab");
        let other = Compilable::new(code("code-2"), "python:3.11-slim", "sha256:12ab");
        assert_eq!(one.bytecode, other.bytecode);
        assert_ne!(
            one.bytecode,
            Compilable::new(code("code-1"), "python:3.11", "sha256:34").bytecode
        );
    }
}
