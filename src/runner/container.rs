//! `ContainerBuilder`: from a job to the container's specification. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::job::{HealthCheck, Limits, Network};

/// Everything the engine needs to know to make a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    /// Its name: namespace, job and attempt, so that a second one of the same attempt clashes.
    pub name: String,
    /// The image.
    pub image: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Host directories and where they appear.
    pub binds: Vec<Bind>,
    /// Where the program starts.
    pub working_dir: String,
    /// Network.
    pub network: Network,
    /// Resources.
    pub limits: Limits,
    /// How long the engine waits between SIGTERM and SIGKILL by default.
    pub stop_timeout: Duration,
    /// How the engine tells whether it is well.
    pub health_check: Option<HealthCheck>,
}

/// A host directory and where it appears in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// On the host.
    pub host: PathBuf,
    /// In the container.
    pub container: String,
}
