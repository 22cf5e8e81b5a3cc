//! What a program left behind: read from the one file that its launcher packed, and stored.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::directory::{FoundFile, JobDirectory};
use super::site::Site;
use crate::job::Run;
use crate::job::artifacts::{
    ARTIFACTS_FILE, Artifact, ArtifactBounds, PackedArtifacts, read_artifacts,
};
use crate::storage::{Bucket, Condition, StoreError};

/// How many are stored at a time.
const CONCURRENT: usize = 4;

/// What became of a run's artifacts.
#[derive(Debug, Default)]
pub(super) struct CollectedArtifacts {
    /// Those that are in the store.
    pub(super) stored: Vec<Artifact>,
    /// A sentence, if not all of them are.
    pub(super) problem: Option<String>,
}

impl CollectedArtifacts {
    fn none(problem: impl Into<String>) -> Self {
        Self { stored: Vec::new(), problem: Some(problem.into()) }
    }
}

/// Stores the artifacts of an ended run, if its message asks for any.
pub(super) async fn collect(
    site: &Site,
    run: &Run,
    directory: &JobDirectory,
) -> CollectedArtifacts {
    let Some(bounds) = run.job.artifacts else { return CollectedArtifacts::default() };
    let bytes = match directory.read(ARTIFACTS_FILE, bounds.max_file_bytes()).await {
        Ok(FoundFile::Regular(bytes)) if !bytes.is_empty() => bytes,
        Ok(FoundFile::Regular(_) | FoundFile::Nothing) => {
            return CollectedArtifacts::none(
                "none: the program was killed, or ended without its launcher, before they were packed",
            );
        }
        Ok(FoundFile::Unusable(problem)) => {
            return CollectedArtifacts::none(format!("none: their file {problem}"));
        }
        Err(error) => {
            return CollectedArtifacts::none(format!(
                "none: their file could not be read: {error}"
            ));
        }
    };
    match read(&bytes, bounds).await {
        Ok(packed) => store(site, run, &bytes, packed).await,
        Err(problem) => CollectedArtifacts::none(format!("none: {problem}")),
    }
}

async fn read(bytes: &Bytes, bounds: ArtifactBounds) -> Result<PackedArtifacts, String> {
    let text = bytes.clone();
    let reading = tokio::task::spawn_blocking(move || read_artifacts(&text, &bounds));
    reading.await.map_err(|error| format!("their reader broke: {error}"))?
}

async fn store(
    site: &Site,
    run: &Run,
    bytes: &Bytes,
    packed: PackedArtifacts,
) -> CollectedArtifacts {
    let one = |(path, range): (String, std::ops::Range<usize>)| {
        let content = bytes.slice(range);
        async move { store_one(site, run, path, content).await }
    };
    let stored: Vec<_> = stream::iter(packed.files).map(one).buffered(CONCURRENT).collect().await;
    let problem = packed.left_out.map(|left_out| format!("left out: {left_out}"));
    let mut collected = CollectedArtifacts { stored: Vec::new(), problem };
    for outcome in stored {
        match outcome {
            Ok(artifact) => collected.stored.push(artifact),
            Err(error) => {
                tracing::warn!(job.id = %run.job.id, %error, "could not store an artifact");
                collected.problem = Some(format!("not all are stored: {error}"));
            }
        }
    }
    collected
}

async fn store_one(
    site: &Site,
    run: &Run,
    path: String,
    content: Bytes,
) -> Result<Artifact, StoreError> {
    let key = format!("{}/{}/artifacts/{path}", run.job.id, run.job.run_id);
    let content_type = mime_guess::from_path(&path).first_or_octet_stream().to_string();
    let bytes = content.len() as u64;
    let hashed = content.clone();
    let hash = move || hex::encode(Sha256::digest(&hashed));
    let sha256 = tokio::task::spawn_blocking(hash).await.unwrap_or_default();
    site.store.put(Bucket::Results, &key, content, &content_type, Condition::None).await?;
    Ok(Artifact { path, key, bytes, sha256, content_type })
}
