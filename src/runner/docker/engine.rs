//! The connection to the engine, and what its errors mean.

use std::error::Error as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use bollard::errors::Error;
use bollard::{API_DEFAULT_VERSION, Docker};

use super::ends::Ends;
use crate::runner::orchestrator::{EngineError, EngineRoot};

/// Where the engine is by default.
const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";

/// How long the engine may take to begin its answer.
const REQUEST_TIMEOUT_SECONDS: u64 = 120;

/// A client of one engine. Every request makes a new connection, so a restarted engine is found
/// again by itself.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) docker: Docker,
    /// The ends of containers whose output is read.
    pub(super) ends: Arc<Ends>,
    endpoint: Arc<str>,
}

impl Engine {
    /// Reaches the engine and agrees on a version of its API.
    pub(super) async fn connect(docker_host: Option<&str>) -> Result<Self, EngineError> {
        let endpoint = endpoint(docker_host);
        let unreachable = |error| EngineError::Unreachable {
            endpoint: endpoint.to_owned(),
            reason: said(&error),
        };
        let docker = client(endpoint).map_err(unreachable)?;
        let docker = docker.negotiate_version().await.map_err(unreachable)?;
        Ok(Self { docker, ends: Arc::default(), endpoint: endpoint.into() })
    }

    /// The user that owns the engine's socket. A rootless engine runs as this user.
    pub(super) fn socket_owner(&self) -> Option<u32> {
        let socket = self.endpoint.strip_prefix("unix://")?;
        std::fs::metadata(socket).ok().map(|metadata| metadata.uid())
    }

    /// Turns the error of `operation` on `container` into ours.
    pub(super) fn failed(
        &self,
        operation: &'static str,
        container: &str,
    ) -> impl FnOnce(Error) -> EngineError {
        let container = container.to_owned();
        let endpoint = Arc::clone(&self.endpoint);
        move |error| meaning(&endpoint, operation, container, &error)
    }
}

/// Whose root an engine is, according to its security options.
pub(super) fn root(security: &[String], socket_owner: Option<u32>) -> EngineRoot {
    let says = |name: &str| {
        security.iter().any(|option| option.split(',').any(|part| part == format!("name={name}")))
    };
    if says("rootless") {
        EngineRoot::User(socket_owner)
    } else if says("userns") {
        EngineRoot::Mapped
    } else {
        EngineRoot::Host
    }
}

fn endpoint(docker_host: Option<&str>) -> &str {
    docker_host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_ENDPOINT)
}

fn client(endpoint: &str) -> Result<Docker, Error> {
    if endpoint.starts_with("unix://") {
        Docker::connect_with_unix(endpoint, REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
    } else if endpoint.starts_with("tcp://") || endpoint.starts_with("http://") {
        Docker::connect_with_http(endpoint, REQUEST_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
    } else {
        Err(Error::UnsupportedURISchemeError { uri: endpoint.to_owned() })
    }
}

fn meaning(
    endpoint: &str,
    operation: &'static str,
    container: String,
    error: &Error,
) -> EngineError {
    let reason = said(error);
    match error {
        Error::DockerResponseServerError { status_code: 404, message }
            if message.contains("No such container") =>
        {
            EngineError::NoContainer { container }
        }
        Error::HyperLegacyError { .. }
        | Error::HyperResponseError { .. }
        | Error::IOError { .. }
        | Error::SocketNotFoundError(_)
        | Error::RequestTimeoutError => {
            EngineError::Unreachable { endpoint: endpoint.to_owned(), reason }
        }
        _ => EngineError::Operation { operation, container, reason },
    }
}

/// What the engine said, without the client's own text, and with every cause: the outermost error
/// of the client names none.
pub(super) fn said(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Error::DockerStreamError { error } => error.trim().to_owned(),
        Error::RequestTimeoutError => format!("no answer within {REQUEST_TIMEOUT_SECONDS} s"),
        Error::HyperLegacyError { err } => {
            let mut text = err.to_string();
            let mut cause = err.source();
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    fn judged(error: &Error) -> EngineError {
        meaning("unix:///x", "starting", "c".to_owned(), error)
    }

    #[test]
    fn an_engine_says_whose_root_it_is() {
        let root = |options: &[&str]| {
            super::root(&options.iter().map(|&one| one.to_owned()).collect::<Vec<_>>(), Some(7))
        };
        assert_eq!(root(&[]), EngineRoot::Host);
        assert_eq!(root(&["name=seccomp,profile=default", "name=cgroupns"]), EngineRoot::Host);
        assert_eq!(root(&["name=seccomp,profile=default", "name=userns"]), EngineRoot::Mapped);
        assert_eq!(root(&["name=rootless", "name=userns"]), EngineRoot::User(Some(7)));
    }

    #[test]
    fn an_unset_or_empty_docker_host_is_the_local_socket() {
        for (host, expected) in [
            (None, DEFAULT_ENDPOINT),
            (Some(""), DEFAULT_ENDPOINT),
            (Some("tcp://h:2375"), "tcp://h:2375"),
        ] {
            assert_eq!(endpoint(host), expected);
        }
    }

    #[test]
    fn only_a_404_about_the_container_means_that_there_is_none() {
        let gone = judged(&answer(404, "No such container: c"));
        assert!(matches!(gone, EngineError::NoContainer { .. }), "{gone}");
        let other = judged(&answer(404, "network xyz not found"));
        assert_eq!(other.to_string(), "starting c failed: network xyz not found");
    }

    #[test]
    fn an_engine_that_does_not_answer_is_unreachable() {
        let io = || std::io::Error::new(std::io::ErrorKind::ConnectionReset, "reset by peer");
        for error in [
            Error::RequestTimeoutError,
            Error::IOError { err: io() },
            Error::SocketNotFoundError("/x".to_owned()),
        ] {
            let judged = judged(&error);
            assert!(matches!(judged, EngineError::Unreachable { .. }), "{judged}");
        }
        assert!(matches!(judged(&answer(500, "EOF")), EngineError::Operation { .. }));
    }

    #[tokio::test]
    async fn a_scheme_that_we_do_not_speak_is_named() {
        for host in ["ssh://h", "https://h", "npipe:////./pipe/docker_engine"] {
            let text = Engine::connect(Some(host)).await.err().unwrap().to_string();
            assert!(text.contains(host), "{text}");
        }
    }
}
