//! A private cluster of three RabbitMQ nodes, each of which a test may kill, stop, freeze or cut off.
//!
//! The nodes are containers in one network: that of a fourth container, which only runs Erlang's
//! port mapper (epmd). So all of them are on `localhost`, and a node that is killed takes nothing
//! away from the others.

use std::collections::HashMap;
use std::path::Path;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding, ResourcesUlimits};
use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use futures_util::future::join_all;
use tokio::time::{Duration, sleep};

use super::engine::{self, TEST_LABEL};
use super::observer::Observer;
use super::servers::free_port;

/// How often a node is asked to freeze.
const FREEZE_TRIES: u32 = 10;

const IMAGE: &str = "rabbitmq:4-management";

const USER: &str = "longshore";

/// A unique word, to find it wherever it appears.
pub const PASSWORD: &str = "canary-of-the-cluster-7b20";

/// How many nodes there are.
pub const NODES: usize = 3;

/// How long the nodes need at most to notice that one of them is silent, in seconds. Less than the
/// 60 of RabbitMQ, so that tests need not wait that long.
const NET_TICK_SECONDS: u32 = 8;

/// The secret that the nodes share. A node with another one is no longer let in.
const COOKIE: &str = "one";

/// The port for clients of the first node, inside. The management plugin is off: its port would be
/// the same for all.
const FIRST_PORT: usize = 5672;

/// Three nodes. Numbers of nodes count from 0.
pub struct OwnCluster {
    docker: Docker,
    nodes: Vec<Node>,
    /// Publishes and listens.
    pub events: Observer,
}

struct Node {
    container: String,
    port: u16,
}

impl OwnCluster {
    /// Makes and starts it, and keeps all events from then on. Its files are written to `folder`.
    /// Its containers are removed with the others of `namespace`.
    pub async fn start(docker: &Docker, namespace: &str, folder: &Path) -> Self {
        let ports: Vec<_> = (0..NODES).map(|_| free_port()).collect();
        let network = create(docker, namespace, port_mapper(&ports)).await;
        docker.start_container(&network, None::<StartContainerOptions>).await.unwrap();
        let files = write_files(folder);
        let made = ports.iter().enumerate().map(async |(number, &port)| {
            let container = create(docker, namespace, node(number, &network, &files)).await;
            docker.start_container(&container, None::<StartContainerOptions>).await.unwrap();
            Node { container, port }
        });
        let nodes: Vec<_> = join_all(made).await;
        let urls: Vec<_> = nodes.iter().map(|node| url_of(node.port)).collect();
        let (docker, events) = (docker.clone(), Observer::new(urls, namespace));
        let cluster = Self { docker, nodes, events };
        // A queue that is declared before all have joined would have fewer replicas.
        join_all((0..NODES).map(|number| cluster.is_up(number))).await;
        cluster.events.begin().await;
        cluster
    }

    /// The AMQP URLs of all nodes, as `AMQP_URL` takes them.
    pub fn urls(&self) -> String {
        self.nodes.iter().map(|node| url_of(node.port)).collect::<Vec<_>>().join(",")
    }

    /// The AMQP URL of one node.
    pub fn url(&self, number: usize) -> String {
        url_of(self.nodes[number].port)
    }

    /// The number of the node whose address is in `text`.
    pub fn node_in(&self, text: &str) -> Option<usize> {
        self.nodes.iter().position(|node| text.contains(&format!("127.0.0.1:{}", node.port)))
    }

    /// Kills a node.
    pub async fn kill(&self, number: usize) {
        let container = &self.nodes[number].container;
        self.docker.kill_container(container, None::<KillContainerOptions>).await.unwrap();
        // Until the engine has noticed the end, a start would do nothing.
        while engine::is_running(&self.docker, container).await {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops a node as an operator does.
    pub async fn stop(&self, number: usize) {
        let options = StopContainerOptionsBuilder::default().t(30).build();
        let container = &self.nodes[number].container;
        self.docker.stop_container(container, Some(options)).await.unwrap();
    }

    /// Starts a node again, and waits until it is one of three.
    pub async fn start_again(&self, number: usize) {
        let container = &self.nodes[number].container;
        self.docker.start_container(container, None::<StartContainerOptions>).await.unwrap();
        self.is_up(number).await;
    }

    /// Freezes a node: its connections stay open, and nothing comes over them.
    pub async fn freeze(&self, number: usize) {
        let container = &self.nodes[number].container;
        // The kernel's freezer may give up on a busy machine ("unable to freeze").
        for _ in 1..FREEZE_TRIES {
            if self.docker.pause_container(container).await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
        self.docker.pause_container(container).await.unwrap();
    }

    /// Lets a frozen node go on.
    pub async fn thaw(&self, number: usize) {
        self.docker.unpause_container(&self.nodes[number].container).await.unwrap();
    }

    /// Cuts a node off from the other two. Its clients still reach it.
    pub async fn cut_off(&self, number: usize) {
        self.set_cookies(number, "another").await;
    }

    /// Lets a node that was cut off back in, and waits until it is one of three.
    pub async fn rejoin(&self, number: usize) {
        self.set_cookies(number, COOKIE).await;
        self.is_up(number).await;
    }

    async fn set_cookies(&self, number: usize, cookie: &str) {
        let others: Vec<_> = (0..NODES).filter(|other| *other != number).map(name_of).collect();
        let expression = format!(
            "[begin erlang:set_cookie(Node, '{cookie}'), erlang:disconnect_node(Node) end \
             || Node <- ['{}']].",
            others.join("', '")
        );
        self.control(number, &["eval", &expression]).await;
    }

    async fn is_up(&self, number: usize) {
        // The command does not wait for a node that does not run at all yet.
        Observer::new(vec![self.url(number)], "").is_there().await;
        let many = NODES.to_string();
        self.control(number, &["await_online_nodes", &many, "--timeout", "90"]).await;
    }

    async fn control(&self, number: usize, arguments: &[&str]) {
        let command = [&["rabbitmqctl"], arguments].concat();
        engine::exec(&self.docker, &self.nodes[number].container, &command).await;
    }
}

fn name_of(number: usize) -> String {
    format!("r{}@localhost", number + 1)
}

fn url_of(port: u16) -> String {
    format!("amqp://{USER}:{PASSWORD}@127.0.0.1:{port}/%2f")
}

/// Writes the files that every node reads. Returns them as binds.
fn write_files(folder: &Path) -> Vec<String> {
    let discovery = "cluster_formation.peer_discovery_backend = classic_config".to_owned();
    let nodes = (0..NODES).map(|number| {
        let name = name_of(number);
        format!("cluster_formation.classic_config.nodes.{} = {name}", number + 1)
    });
    let config: String = std::iter::once(discovery).chain(nodes).map(|line| line + "\n").collect();
    let files = [
        ("enabled_plugins", "/etc/rabbitmq/enabled_plugins", "[].\n"),
        ("cluster.conf", "/etc/rabbitmq/conf.d/30-cluster.conf", config.as_str()),
    ];
    let bind = |(name, inside, text): (&str, &str, &str)| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        format!("{}:{inside}:ro", path.display())
    };
    files.into_iter().map(bind).collect()
}

/// The container whose network all nodes share.
fn port_mapper(ports: &[u16]) -> ContainerCreateBody {
    let bindings: HashMap<_, _> = ports
        .iter()
        .enumerate()
        .map(|(number, port)| {
            let host_ip = Some("127.0.0.1".to_owned());
            let binding = PortBinding { host_ip, host_port: Some(port.to_string()) };
            (format!("{}/tcp", FIRST_PORT + number), Some(vec![binding]))
        })
        .collect();
    ContainerCreateBody {
        entrypoint: Some(vec!["epmd".to_owned()]),
        cmd: Some(Vec::new()),
        exposed_ports: Some(bindings.keys().cloned().collect()),
        host_config: Some(HostConfig { port_bindings: Some(bindings), ..Default::default() }),
        ..Default::default()
    }
}

fn node(number: usize, network: &str, binds: &[String]) -> ContainerCreateBody {
    let port = FIRST_PORT + number;
    // The strategy is given in this way because RabbitMQ 4.3 has no such key in its file any more.
    let arguments = format!(
        "-setcookie {COOKIE} -kernel net_ticktime {NET_TICK_SECONDS} \
         -rabbit cluster_partition_handling pause_minority"
    );
    let env = vec![
        format!("RABBITMQ_DEFAULT_USER={USER}"),
        format!("RABBITMQ_DEFAULT_PASS={PASSWORD}"),
        format!("RABBITMQ_NODENAME={}", name_of(number)),
        format!("RABBITMQ_NODE_PORT={port}"),
        format!("RABBITMQ_DIST_PORT={}", port + 20_000),
        format!("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={arguments}"),
        format!("RABBITMQ_CTL_ERL_ARGS=-setcookie {COOKIE}"),
    ];
    let files =
        ResourcesUlimits { name: Some("nofile".to_owned()), soft: Some(16384), hard: Some(16384) };
    ContainerCreateBody {
        env: Some(env),
        host_config: Some(HostConfig {
            network_mode: Some(format!("container:{network}")),
            binds: Some(binds.to_vec()),
            ulimits: Some(vec![files]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn create(docker: &Docker, namespace: &str, body: ContainerCreateBody) -> String {
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        labels: Some(HashMap::from([(TEST_LABEL.to_owned(), namespace.to_owned())])),
        ..body
    };
    docker.create_container(None::<CreateContainerOptions>, body).await.unwrap().id
}
