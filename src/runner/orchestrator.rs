//! What Longshore asks of a container engine.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::container::ContainerSpec;
use crate::logs::Frame;

pub use crate::job::judging::{ContainerState, ContainerStatus};

/// Why an operation of the engine failed; one variant an operation, so that the message says what
/// was being done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine cannot be reached.
    #[error("the container engine cannot be reached at {endpoint}: {reason}")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
        /// What happened.
        reason: String,
    },
    /// An image could not be had, and asking again will not help.
    #[error("the image {image} cannot be had: {reason}")]
    ImageMissing {
        /// The image.
        image: String,
        /// What the registry or the engine said.
        reason: String,
    },
    /// An image could not be pulled this time.
    #[error("pulling the image {image} failed: {reason}")]
    Pull {
        /// The image.
        image: String,
        /// What happened.
        reason: String,
    },
    /// A container of this name is there already.
    #[error("a container named {name} is there already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Another container of the engine runs as the user that this one was to have alone.
    #[error("another container on this engine runs as the user {user}")]
    UserTaken {
        /// The user.
        user: u32,
    },
    /// There is no such container.
    #[error("there is no container {container}")]
    NoContainer {
        /// Its id or name.
        container: String,
    },
    /// Anything else that an operation ran into.
    #[error("{operation} {container} failed: {reason}")]
    Operation {
        /// What was being done: `creating`, `starting`, `stopping`, …
        operation: &'static str,
        /// The container's id or name.
        container: String,
        /// What the engine said.
        reason: String,
    },
    /// A file inside a container is larger than the caller takes, or not a regular file.
    #[error("{path} in container {container} {problem}")]
    BadFile {
        /// The container.
        container: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl EngineError {
    /// Whether the same operation may go well later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Pull { .. }
            | Self::UserTaken { .. }
            | Self::Operation { .. } => true,
            Self::ImageMissing { .. }
            | Self::NameTaken { .. }
            | Self::NoContainer { .. }
            | Self::BadFile { .. } => false,
        }
    }
}

/// Whose root an engine is, on the host that it shares with the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineRoot {
    /// The host's own.
    Host,
    /// That of a user's namespace, as of a rootless engine: the user, where that can be told.
    User(Option<u32>),
    /// The host's, but containers have their users mapped to others.
    Mapped,
}

/// One container in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerInfo {
    /// The engine's id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// The image it was made from.
    pub image: String,
    /// Where it is in its life.
    pub state: ContainerState,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What a container that was waited for gave.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRunResult {
    /// Its status at the end.
    pub status: ContainerStatus,
    /// The last part of its output.
    pub output: String,
    /// The file that was asked for, where it was written.
    pub result: Option<Bytes>,
}

/// What Longshore asks of a container engine.
#[async_trait]
pub trait ContainerOrchestrator: Send + Sync {
    /// Makes sure that the image is here: used as it is when present, pulled when missing, once
    /// for all who wait for it.
    async fn pull_image(&self, image: &str) -> Result<(), EngineError>;

    /// Makes a container and starts it; gives its id. One whose start failed is removed again, and so is
    /// one that is to have its user alone where another container runs as that user.
    /// Whoever stops waiting for this may leave one behind, which its labels tell.
    async fn create_and_start(&self, spec: &ContainerSpec) -> Result<String, EngineError>;

    /// Makes a container, starts it, waits for its end, reads its output and the file
    /// `result_path` in it, and removes it.
    async fn run_and_wait(
        &self,
        spec: &ContainerSpec,
        result_path: Option<&str>,
    ) -> Result<ContainerRunResult, EngineError>;

    /// Waits until a started container has ended; gives its status then. An engine that is away is
    /// sat out, however long: nobody else can tell whether the container runs. For one that was
    /// never started its status comes at once.
    async fn wait(&self, container: &str) -> Result<ContainerStatus, EngineError>;

    /// SIGTERM, then SIGKILL after `timeout`. That it is not running is not an error.
    async fn stop(&self, container: &str, timeout: Duration) -> Result<(), EngineError>;

    /// The last `tail` lines of both outputs in order of arrival, or all of them; of very long
    /// ones the last part.
    async fn get_logs(&self, container: &str, tail: Option<usize>) -> Result<String, EngineError>;

    /// The output from its beginning, and on until the container ends. An error is the last item.
    fn follow_logs(&self, container: &str) -> BoxStream<'static, Result<Frame, EngineError>>;

    /// One regular file of a container, running or not; `None` where there is none.
    async fn copy_from_container(
        &self,
        container: &str,
        path: &str,
        max_bytes: u64,
    ) -> Result<Option<Bytes>, EngineError>;

    /// What the engine says about a container.
    async fn get_status(&self, container: &str) -> Result<ContainerStatus, EngineError>;

    /// The containers, ended ones included, that carry all of these labels.
    async fn list_containers(
        &self,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<ContainerInfo>, EngineError>;

    /// Removes a container, running or not. That there is none is not an error.
    async fn remove(&self, container: &str) -> Result<(), EngineError>;

    /// Whether the engine answers: its version.
    async fn check(&self) -> Result<String, EngineError>;

    /// The engine's own id, which tells it from every other engine.
    async fn identity(&self) -> Result<String, EngineError>;

    /// Whose root it is.
    async fn root(&self) -> Result<EngineRoot, EngineError>;

    /// Whether an image is here already.
    async fn has_image(&self, image: &str) -> Result<bool, EngineError>;
}
