//! The containers of a test, seen from outside: straight from the engine.

use std::collections::HashMap;

use bollard::Docker;
use bollard::exec::StartExecResults;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerSummary, ExecConfig, HostConfig,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptions, TopOptions,
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

/// The containers of the jobs of a namespace, without helpers such as compilers, and without those that
/// wait for a job.
pub async fn jobs_of_namespace(docker: &Docker, namespace: &str) -> Vec<String> {
    let all = [(NAMESPACE_LABEL, namespace), ("runtime.managed", "true")];
    let waiting = waiting_in_namespace(docker, namespace).await;
    let all = with_labels(docker, &all).await.into_iter();
    all.filter(|container| !waiting.contains(container)).collect()
}

/// The containers of a namespace that wait for a job.
pub async fn waiting_in_namespace(docker: &Docker, namespace: &str) -> Vec<String> {
    let label = format!("{NAMESPACE_LABEL}={namespace}");
    let name = format!("^/{namespace}\\.warm\\.[0-9a-f]{{32}}$");
    let filters = HashMap::from([
        ("label".to_owned(), vec![label, "runtime.warm".to_owned()]),
        ("name".to_owned(), vec![name]),
    ]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = docker.list_containers(Some(options)).await.unwrap();
    found.into_iter().filter_map(|container| container.id).collect()
}

/// The processes of the container that publishes a port on this machine; none where no container does.
pub async fn behind_port(docker: &Docker, port: u16) -> Vec<u32> {
    let all = docker.list_containers(None::<ListContainersOptions>).await.unwrap();
    let publishes = |container: &ContainerSummary| {
        container.ports.iter().flatten().any(|one| one.public_port == Some(port))
    };
    let Some(id) = all.into_iter().find(publishes).and_then(|container| container.id) else {
        return Vec::new();
    };
    let top = docker.top_processes(&id, None::<TopOptions>).await.unwrap();
    let column = top.titles.unwrap_or_default().iter().position(|title| title == "PID").unwrap();
    let rows = top.processes.unwrap_or_default().into_iter();
    rows.map(|row| row[column].parse().unwrap()).collect()
}

/// Everything that the engine knows about the one container of a job.
pub async fn of_job(docker: &Docker, namespace: &str, id: &str) -> ContainerInspectResponse {
    let found = with_labels(docker, &[(NAMESPACE_LABEL, namespace), ("runtime.id", id)]).await;
    let [container] = found.as_slice() else {
        panic!("{} containers of the job {id}, not one: {found:?}", found.len());
    };
    docker.inspect_container(container, None::<InspectContainerOptions>).await.unwrap()
}

/// Ends one container of the jobs of a namespace as somebody else would, with `docker kill` or `docker stop`. It
/// may have ended, or there may be none.
pub async fn end_one(docker: &Docker, namespace: &str, is_killed: bool) {
    let label = format!("{NAMESPACE_LABEL}={namespace}");
    let filters = HashMap::from([("label", vec![label, "runtime.managed=true".to_owned()])]);
    let options = ListContainersOptionsBuilder::default().filters(&filters).build();
    let Ok(running) = docker.list_containers(Some(options)).await else { return };
    for container in running.into_iter().filter_map(|container| container.id) {
        let ended = if is_killed {
            docker.kill_container(&container, None::<KillContainerOptions>).await
        } else {
            docker.stop_container(&container, None::<StopContainerOptions>).await
        };
        if ended.is_ok() {
            return;
        }
    }
}

/// Whether a container runs.
pub async fn is_running(docker: &Docker, container: &str) -> bool {
    match docker.inspect_container(container, None::<InspectContainerOptions>).await {
        Ok(found) => found.state.and_then(|state| state.running) == Some(true),
        Err(_) => false,
    }
}

/// Runs a command in a running container. It must succeed.
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

/// Starts a container that does not belong to Longshore, with the given `labels`.
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

/// Removes everything that a test has left, including its own containers.
pub async fn sweep(docker: &Docker, namespace: &str) {
    for label in [NAMESPACE_LABEL, TEST_LABEL] {
        for container in with_labels(docker, &[(label, namespace)]).await {
            remove(docker, &container).await;
        }
    }
}

/// Removes a container, running or not, and its volumes.
async fn remove(docker: &Docker, container: &str) {
    let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    if let Err(error) = docker.remove_container(container, Some(force)).await {
        eprintln!("remove container {container}: {error}");
    }
}
