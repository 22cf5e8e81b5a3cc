//! What Longshore asks of a container engine.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use super::container::ContainerSpec;
use super::isolation::Isolation;
use crate::logs::Frame;

pub use crate::job::judging::{ContainerState, ContainerStatus};

/// Why an operation of the engine failed. There is a variant for each operation, so the message
/// says what was being done.
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
    /// The image is not available, and asking again will not help.
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
    /// A container of this name exists already.
    #[error("a container named {name} is there already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Another container of the engine runs as the user that this one must have alone.
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
    /// Any other failure of an operation.
    #[error("{operation} {container} failed: {reason}")]
    Operation {
        /// What was being done: `creating`, `starting`, `stopping`, …
        operation: &'static str,
        /// The container's id or name.
        container: String,
        /// What the engine said.
        reason: String,
    },
    /// A file inside a container is larger than the caller accepts, or not a regular file.
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
    /// Whether the same operation may succeed later.
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
    /// The root of a user namespace, as for a rootless engine: the user, if known.
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

/// One image in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// The engine's id.
    pub id: String,
    /// Its names with their tags; without any, the names by digest under which it was pulled.
    pub names: Vec<String>,
    /// What it takes, layers that it shares included.
    pub bytes: u64,
    /// Whether a container was made from it, running or not.
    pub is_used: bool,
}

/// The outcome of a container that was waited for.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerRunResult {
    /// Its status at the end.
    pub status: ContainerStatus,
    /// The last part of its output.
    pub output: String,
    /// The requested file, if it was written.
    pub result: Option<Bytes>,
}

/// What Longshore asks of a container engine.
#[async_trait]
pub trait ContainerOrchestrator: Send + Sync {
    /// Makes sure that the image is here: used unchanged if present, pulled if missing, once for
    /// all callers that wait for it.
    async fn pull_image(&self, image: &str) -> Result<(), EngineError>;

    /// Makes a container and starts it. Returns its id. If the start fails, the container is
    /// removed again; also if it must have its user alone and another container runs as that user.
    /// A caller that stops waiting may leave a container behind, which its labels identify.
    async fn create_and_start(&self, spec: &ContainerSpec) -> Result<String, EngineError>;

    /// Whether a container could start at once, because fewer start than may.
    fn has_free_start(&self) -> bool {
        true
    }

    /// Gives a container another name. One that is taken is refused.
    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError>;

    /// Makes a container, starts it, waits for its end, reads its output and the file
    /// `result_path` in it, and removes it.
    async fn run_and_wait(
        &self,
        spec: &ContainerSpec,
        result_path: Option<&str>,
    ) -> Result<ContainerRunResult, EngineError>;

    /// Waits until a started container has ended. Returns its status. While the engine is away, it
    /// waits, however long: nobody else knows whether the container runs. For a container that was
    /// never started, the status comes at once.
    async fn wait(&self, container: &str) -> Result<ContainerStatus, EngineError>;

    /// SIGTERM, then SIGKILL after `timeout`. A container that does not run is not an error.
    async fn stop(&self, container: &str, timeout: Duration) -> Result<(), EngineError>;

    /// The last `tail` lines of both outputs in order of arrival, or all of them. Of a very long
    /// output, only the last part.
    async fn get_logs(&self, container: &str, tail: Option<usize>) -> Result<String, EngineError>;

    /// The output from its beginning, and on until the container ends. An error is the last item.
    fn follow_logs(&self, container: &str) -> BoxStream<'static, Result<Frame, EngineError>>;

    /// The same for a container that is expected to end very soon: its output is followed at once.
    fn follow_logs_at_once(
        &self,
        container: &str,
    ) -> BoxStream<'static, Result<Frame, EngineError>> {
        self.follow_logs(container)
    }

    /// One regular file of a container, running or not; `None` if there is none.
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

    /// Removes a container, running or not. A missing one is not an error.
    async fn remove(&self, container: &str) -> Result<(), EngineError>;

    /// Whether the engine answers: its version.
    async fn check(&self) -> Result<String, EngineError>;

    /// The engine's own id, which distinguishes it from every other engine.
    async fn identity(&self) -> Result<String, EngineError>;

    /// Whose root it is.
    async fn root(&self) -> Result<EngineRoot, EngineError>;

    /// How well the engine keeps containers from its host.
    async fn isolation(&self) -> Result<Isolation, EngineError>;

    /// Whether an image is here already.
    async fn has_image(&self, image: &str) -> Result<bool, EngineError>;

    /// The engine's id of an image, which another image of the same name does not have; `None` where
    /// the image is not here.
    async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError>;

    /// The images that are here.
    async fn list_images(&self) -> Result<Vec<ImageInfo>, EngineError>;

    /// Removes a name of an image, and the image with its last name. One that a container was made from is
    /// refused.
    async fn remove_image(&self, image: &str) -> Result<(), EngineError>;
}
