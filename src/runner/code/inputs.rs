//! The inputs of a job among the files of its code.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use super::caps::CodeCaps;
use super::error::{CodeError, Failure, io_error, verify};
use super::shared::{MAX_TRIES, SharedObjects};
use super::wanted::{FILE, ObjectName, Wanted};
use crate::job::Job;
use crate::job::archive::ArchiveError;
use crate::job::inputs::Input;
use crate::runner::cache::{CacheError, Held, How, Manifest, Spot, SpotError, place_at};
use crate::runner::directory::JobDirectory;
use crate::storage::{ObjectStore, StoreError};

/// An input, and the entry of the cache that has it.
pub(super) type HeldInput = (Input, Arc<Held>);

/// Takes the inputs of a job into use, whatever becomes of its code meanwhile.
pub(super) async fn hold(
    shared: &Arc<SharedObjects>,
    job: &Job,
    caps: &CodeCaps,
) -> Result<Vec<HeldInput>, Failure> {
    let (mut all, mut bytes) = (Vec::new(), 0_u64);
    for input in &job.inputs {
        let wanted = Wanted::input(input);
        let held = sound(shared, &wanted).await?;
        bytes = bytes.saturating_add(held.manifest().bytes());
        check_sum(bytes, &wanted.object, caps)?;
        all.push((input.clone(), held));
    }
    Ok(all)
}

/// An entry whose files are what they were when it was made.
async fn sound(shared: &Arc<SharedObjects>, wanted: &Wanted) -> Result<Arc<Held>, Failure> {
    for _ in 0..MAX_TRIES {
        let held = shared.held(wanted).await?;
        let looking = Arc::clone(&held);
        let is_sound = shared.with_cache(move |cache| {
            let changed = looking.changed();
            if let Some(path) = &changed {
                tracing::warn!(path = %path.display(), "a file of the code cache was changed; its entry is made again");
                cache.throw_away(looking.key())?;
            }
            Ok(changed.is_none())
        });
        if is_sound.await? {
            return Ok(held);
        }
    }
    let problem = format!("{} was damaged each time it was made", wanted.object);
    Err(CacheError::other("using the cache", problem).into())
}

/// Puts inputs that are in use among the code, which is there. Gives notes for the log.
pub(super) async fn place(
    shared: &Arc<SharedObjects>,
    inputs: Vec<HeldInput>,
    directory: &JobDirectory,
) -> Result<Vec<String>, CodeError> {
    let (root, how, turn) = (directory.root().to_owned(), shared.how(), directory.turn().await);
    let placing = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut notes = Vec::new();
        for (input, held) in &inputs {
            put(input, held.manifest(), &held.tree(), &root, how)?;
            notes.extend(notes_of(input, &held.manifest().notes));
        }
        Ok(notes)
    });
    placing.await.unwrap_or_else(interrupted)
}

/// Fetches the inputs of a job for it alone, and puts them among its code, which is there.
pub(super) async fn alone(
    store: &dyn ObjectStore,
    job: &Job,
    directory: &JobDirectory,
    caps: &CodeCaps,
) -> Result<Vec<String>, CodeError> {
    if job.inputs.is_empty() {
        return Ok(Vec::new());
    }
    let incoming = directory.incoming();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&incoming);
    made.map_err(io_error("creating the directory", &incoming))?;
    let (mut notes, mut bytes) = (Vec::new(), 0_u64);
    for (number, input) in job.inputs.iter().enumerate() {
        let wanted = Wanted::input(input);
        let file = incoming.join(format!("{number}"));
        let (max_bytes, setting) = wanted.form.max_bytes(caps);
        let (bucket, key) = (wanted.object.bucket(), &wanted.object.key);
        match store.download(bucket, key, &file, max_bytes).await {
            Err(StoreError::TooLarge { .. }) => {
                return Err(CodeError::TooLarge { object: wanted.object, max_bytes, setting });
            }
            downloaded => downloaded?,
        };
        let (root, turn, caps) = (directory.root().to_owned(), directory.turn().await, *caps);
        let (tree, input) = (incoming.join(format!("{number}-tree")), input.clone());
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            verify(&file, &wanted.object, wanted.sha256.as_deref())?;
            let said = wanted.form.make(&file, &tree, &caps);
            let said = said.map_err(|source| refused(wanted.object.clone(), source))?;
            let manifest = Manifest::of(&tree, said)
                .map_err(|error| CodeError::of_disk("reading an input", &error))?;
            let bytes = bytes.saturating_add(manifest.bytes());
            check_sum(bytes, &wanted.object, &caps)?;
            // As another name, of which the first goes.
            put(&input, &manifest, &tree, &root, How::Link)?;
            Ok((bytes, notes_of(&input, &manifest.notes).collect::<Vec<_>>()))
        });
        let (sum, said) = working.await.unwrap_or_else(interrupted)?;
        bytes = sum;
        notes.extend(said);
    }
    let turn = directory.turn().await;
    let removing = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        fs::remove_dir_all(&incoming).map_err(io_error("removing", &incoming))
    });
    removing.await.unwrap_or_else(interrupted)?;
    Ok(notes)
}

fn refused(object: ObjectName, source: ArchiveError) -> CodeError {
    CodeError::Archive { object, source }
}

fn check_sum(bytes: u64, object: &ObjectName, caps: &CodeCaps) -> Result<(), CodeError> {
    let max_bytes = caps.max_input_bytes;
    if bytes <= max_bytes {
        return Ok(());
    }
    Err(CodeError::InputsTooLarge { object: object.clone(), max_bytes })
}

fn put(
    input: &Input,
    manifest: &Manifest,
    tree: &Path,
    root: &Path,
    how: How,
) -> Result<(), CodeError> {
    let spot = if input.unpack {
        Spot::Folder(&input.path)
    } else {
        Spot::File { name: FILE, path: &input.path }
    };
    place_at((tree, manifest), root, spot, how).map_err(|error| match error {
        SpotError::Taken { path } => CodeError::Clash { object: Wanted::input(input).object, path },
        SpotError::Cache(error) => CodeError::of_disk("placing an input", &error),
    })
}

fn notes_of<'a>(input: &'a Input, notes: &'a [String]) -> impl Iterator<Item = String> + 'a {
    notes.iter().map(|note| format!("the input {:?}: {note}", input.key))
}

fn interrupted<T>(error: tokio::task::JoinError) -> Result<T, CodeError> {
    let action = "preparing inputs was interrupted".to_owned();
    Err(CodeError::Io { action, source: io::Error::other(error) })
}
