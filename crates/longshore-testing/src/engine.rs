//! The containers of a test, seen from outside: straight from the engine.

use std::collections::HashMap;

use bollard::Docker;
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, ExecConfig, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions,
};
use futures_util::TryStreamExt as _;

/// The label that says which namespace a container belongs to.
const NAMESPACE_LABEL: &str = "runtime.namespace";

/// The label on containers that a test makes by itself, with its namespace.
pub const TEST_LABEL: &str = "longshore.test";

/// The ids of all containers, running or not, that carry `labels`.
pub async fn with_labels(docker: &Docker, labels: &[(&str, &str)]) -> Vec<String> {
    let wanted = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    let filters = HashMap::from([("label".to_owned(), wanted)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = docker.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|container| container.id).collect()
}

/// The containers of a namespace.
pub async fn of_namespace(docker: &Docker, namespace: &str) -> Vec<String> {
    with_labels(docker, &[(NAMESPACE_LABEL, namespace)]).await
}

/// Everything that the engine knows about the one container of a job.
pub async fn of_job(docker: &Docker, namespace: &str, id: &str) -> ContainerInspectResponse {
    let found = with_labels(docker, &[(NAMESPACE_LABEL, namespace), ("runtime.id", id)]).await;
    let [container] = found.as_slice() else {
        panic!("{} containers of the job {id}, not one: {found:?}", found.len());
    };
    docker.inspect_container(container, None::<InspectContainerOptions>).await.unwrap()
}

/// Whether a container runs.
pub async fn is_running(docker: &Docker, container: &str) -> bool {
    match docker.inspect_container(container, None::<InspectContainerOptions>).await {
        Ok(found) => found.state.and_then(|state| state.running) == Some(true),
        Err(_) => false,
    }
}

/// Runs a command in a container that runs, to a good end.
pub async fn exec(docker: &Docker, container: &str, command: &[&str]) {
    let config = ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
        ..Default::default()
    };
    let exec = docker.create_exec(container, config).await.unwrap().id;
    let StartExecResults::Attached { output, .. } = docker.start_exec(&exec, None).await.unwrap()
    else {
        panic!("{command:?} was not waited for");
    };
    let said: Vec<_> = output.try_collect().await.unwrap();
    let code = docker.inspect_exec(&exec).await.unwrap().exit_code;
    assert_eq!(code, Some(0), "{command:?}: {said:?}");
}

/// Starts a container that is none of Longshore's, with `labels` of its own choice.
pub async fn start_foreign(docker: &Docker, namespace: &str, labels: &[(&str, &str)]) -> String {
    let mut all: HashMap<_, _> =
        labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
    all.insert(TEST_LABEL.to_owned(), namespace.to_owned());
    let body = ContainerCreateBody {
        image: Some("python:3.11-slim".to_owned()),
        cmd: Some(vec!["sleep".to_owned(), "600".to_owned()]),
        labels: Some(all),
        // None is needed, and not every machine has the engine's default bridge.
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let created = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
    docker.start_container(&created.id, None::<StartContainerOptions>).await.unwrap();
    created.id
}

/// Removes whatever a test has left, its own containers included.
pub async fn sweep(docker: &Docker, namespace: &str) {
    for label in [NAMESPACE_LABEL, TEST_LABEL] {
        for container in with_labels(docker, &[(label, namespace)]).await {
            let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
            if let Err(error) = docker.remove_container(&container, Some(force)).await {
                eprintln!("remove container {container}: {error}");
            }
        }
    }
}
