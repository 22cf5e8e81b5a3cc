//! Inputs that are files here: a run on this machine takes them as they are, and fetches others before. For a
//! run elsewhere they are stored first.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::data::{Hashed, put_one};
use super::output::warn;
use super::{Context, Failure};
use crate::job::Executable;
use crate::job::inputs::check_key_of;
use crate::settings::Reader;
use crate::storage::{Bucket, ObjectStore as _, S3Store};

/// What a key begins with that is a file here, whatever is in the store.
const HERE: [&str; 3] = ["./", "../", "/"];

/// Stores the inputs whose keys are paths of files here, under the hash of their content, and names them in the
/// message. A path begins with `./`, `../` or `/`.
pub(super) async fn send(executable: &mut Executable, context: &Context) -> Result<(), Failure> {
    let is_here = |key: &str| HERE.iter().any(|begin| key.starts_with(begin));
    let mut store = None;
    for input in &mut executable.inputs {
        if !is_here(&input.key) {
            if Path::new(&input.key).is_file() {
                warn(&format!(
                    "the input {0} is taken from the store; ./{0} would send the file that is here",
                    input.key
                ));
            }
            continue;
        }
        let (path, shown) = (PathBuf::from(&input.key), input.key.clone());
        if !path.is_file() {
            return Err(Failure::Usage(format!("the input {shown} is no file here")));
        }
        let hashed = Hashed::of(&path).await?;
        if input.sha256.as_ref().is_some_and(|said| *said != hashed.sha256) {
            let why = format!("the input {shown} has another content than its sha256 says");
            return Err(Failure::Usage(why));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let key = format!("sha256/{}/{name}", hashed.sha256);
        let key = check_key_of(&key).map_or_else(|_| format!("sha256/{}", hashed.sha256), |()| key);
        let store = match &store {
            Some(store) => store,
            None => store.insert(S3Store::new(&context.loader.read(Reader::store)?)?),
        };
        put_one(store, &hashed, &key).await?;
        (input.key, input.sha256) = (key, Some(hashed.sha256));
    }
    Ok(())
}

/// The objects of a run's inputs by their keys, and the files that have them.
pub(super) struct LocalInputs {
    files: Vec<(String, PathBuf)>,
    /// Where fetched ones are, until this is dropped.
    fetched: Option<TempDir>,
}

impl LocalInputs {
    /// Finds the inputs of a message. An input whose key is a file here is that file, and gets a key
    /// of its own. The store is asked only for others.
    pub(super) async fn of(
        executable: &mut Executable,
        context: &Context,
    ) -> Result<Self, Failure> {
        let mut found = Self { files: Vec::new(), fetched: None };
        let mut to_fetch = Vec::new();
        for (number, input) in executable.inputs.iter_mut().enumerate() {
            let path = Path::new(&input.key);
            if path.is_file() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let key = match check_key_of(&name) {
                    Ok(()) => format!("{number}/{name}"),
                    Err(_) => number.to_string(),
                };
                let path = std::mem::replace(&mut input.key, key);
                found.files.push((input.key.clone(), path.into()));
            } else if !to_fetch.contains(&input.key) {
                to_fetch.push(input.key.clone());
            }
        }
        if !to_fetch.is_empty() {
            found.fetch(to_fetch, context).await?;
        }
        Ok(found)
    }

    pub(super) fn files(&self) -> &[(String, PathBuf)] {
        &self.files
    }

    async fn fetch(&mut self, keys: Vec<String>, context: &Context) -> Result<(), Failure> {
        let read = context.loader.read(|reader| (reader.store(), reader.runner()));
        let (settings, runner) = read.map_err(|errors| {
            let key = &keys[0];
            Failure::Usage(format!(
                "the input {key:?} is no file here, and there is no store to fetch it from: {errors}"
            ))
        })?;
        let store = S3Store::new(&settings)?;
        let directory = tempfile::tempdir()?;
        for (number, key) in keys.into_iter().enumerate() {
            check_key_of(&key).map_err(|problem| {
                Failure::Usage(format!("the input {key:?}: the key {problem}"))
            })?;
            let file = directory.path().join(number.to_string());
            let most = runner.max_input_bytes.max(runner.max_archive_bytes);
            warn(&format!("fetching the input {key} from {}", store.bucket_name(Bucket::Inputs)));
            store.download(Bucket::Inputs, &key, &file, most).await?;
            self.files.push((key, file));
        }
        self.fetched = Some(directory);
        Ok(())
    }
}
