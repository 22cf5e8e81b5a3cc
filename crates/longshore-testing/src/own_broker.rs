//! A private RabbitMQ of a test, which the test may start, stop and start again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig, PortBinding, ResourcesUlimits};
use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::sleep;

use super::certificates::{Folder, IN_CONTAINER, USER};
use super::engine::TEST_LABEL;
use super::events::Seen;
use super::observer::Observer;
use super::servers::free_port;

/// How often `rabbitmqctl` is tried again.
const CONTROL_TRIES: u32 = 20;

const IMAGE: &str = "rabbitmq:4-management";

/// A unique word, to find it wherever it appears.
pub const PASSWORD: &str = "canary-of-the-broker-4d1f";

/// The file with the enabled plugins.
const PLUGINS: &str = "enabled_plugins";

/// The file that opens the listener for TLS, which accepts only clients with a certificate.
const CONFIG: &str = "20-tls.conf";

/// A broker in its own container, on a port of this machine.
pub struct OwnBroker {
    docker: Docker,
    container: String,
    port: u16,
    tls_port: Option<u16>,
    events: Observer,
}

impl OwnBroker {
    /// Makes the container, and does not start it. It is removed with the other containers of
    /// `namespace`.
    pub async fn create(docker: &Docker, namespace: &str) -> Self {
        Self::make(docker, namespace, None, &[]).await
    }

    /// The same with the largest message that it takes, in bytes.
    pub async fn create_for_messages_of(docker: &Docker, namespace: &str, max_bytes: u32) -> Self {
        let arguments = format!("-rabbit max_message_size {max_bytes}");
        let more = [format!("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS={arguments}")];
        Self::make(docker, namespace, None, &more).await
    }

    /// The same with a second port for TLS, with the server's certificate in this folder. A client
    /// must show a certificate of the folder's authority, and may be identified by it.
    pub async fn create_with_tls(docker: &Docker, namespace: &str, tls: &Folder) -> Self {
        let options = [
            "listeners.ssl.default = 5671".to_owned(),
            format!("ssl_options.cacertfile = {IN_CONTAINER}/ca.pem"),
            format!("ssl_options.certfile = {IN_CONTAINER}/server.pem"),
            format!("ssl_options.keyfile = {IN_CONTAINER}/server.key"),
            "ssl_options.verify = verify_peer".to_owned(),
            "ssl_options.fail_if_no_peer_cert = true".to_owned(),
            "auth_mechanisms.1 = PLAIN".to_owned(),
            "auth_mechanisms.2 = EXTERNAL".to_owned(),
            "ssl_cert_login_from = common_name\n".to_owned(),
        ];
        tls.write(CONFIG, &options.join("\n"));
        tls.write(PLUGINS, "[rabbitmq_management,rabbitmq_auth_mechanism_ssl].\n");
        Self::make(docker, namespace, Some(tls), &[]).await
    }

    async fn make(
        docker: &Docker,
        namespace: &str,
        tls: Option<&Folder>,
        more_env: &[String],
    ) -> Self {
        let docker = docker.clone();
        let (port, tls_port) = (free_port(), tls.map(|_| free_port()));
        let bound = |port: u16| {
            let host_ip = Some("127.0.0.1".to_owned());
            Some(vec![PortBinding { host_ip, host_port: Some(port.to_string()) }])
        };
        let mut ports = HashMap::from([("5672/tcp".to_owned(), bound(port))]);
        ports.extend(tls_port.map(|port| ("5671/tcp".to_owned(), bound(port))));
        let binds = tls.map(|tls| {
            let (config, plugins) = (tls.setting(CONFIG), tls.setting(PLUGINS));
            vec![
                format!("{plugins}:/etc/rabbitmq/{PLUGINS}:ro"),
                format!("{}:{IN_CONTAINER}:ro", tls.path().display()),
                format!("{config}:/etc/rabbitmq/conf.d/{CONFIG}:ro"),
            ]
        });
        let files = ResourcesUlimits {
            name: Some("nofile".to_owned()),
            soft: Some(16384),
            hard: Some(16384),
        };
        let mut env = vec![
            format!("RABBITMQ_DEFAULT_USER={USER}"),
            format!("RABBITMQ_DEFAULT_PASS={PASSWORD}"),
            // A fixed name, because the broker keeps its data under it.
            "RABBITMQ_NODENAME=rabbit@localhost".to_owned(),
        ];
        env.extend_from_slice(more_env);
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            env: Some(env),
            // The image does not expose the port for TLS.
            exposed_ports: Some(ports.keys().cloned().collect()),
            // The clean-up of the namespace removes it, also after a panic.
            labels: Some(HashMap::from([(TEST_LABEL.to_owned(), namespace.to_owned())])),
            host_config: Some(HostConfig {
                port_bindings: Some(ports),
                binds,
                ulimits: Some(vec![files]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let created = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
        let events = Observer::new(vec![url_of(port)], namespace);
        Self { docker, container: created.id, port, tls_port, events }
    }

    /// Its AMQP URL.
    pub fn url(&self) -> String {
        url_of(self.port)
    }

    /// Its AMQP URL over TLS, under this name of the machine.
    pub fn tls_url(&self, host: &str) -> String {
        format!("amqps://{USER}:{PASSWORD}@{host}:{}/%2f", self.tls_port.unwrap())
    }

    /// Its socket, the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts it, waits until it accepts a login, and keeps all events from then on.
    pub async fn start(&self) {
        let options = None::<StartContainerOptions>;
        self.docker.start_container(&self.container, options).await.unwrap();
        self.events.begin().await;
    }

    /// Stops it. Durable messages are back after [`OwnBroker::start`].
    pub async fn stop(&self) {
        let options = StopContainerOptionsBuilder::default().t(30).build();
        self.docker.stop_container(&self.container, Some(options)).await.unwrap();
    }

    /// Kills it. Confirmed messages are back after [`OwnBroker::start`].
    pub async fn kill(&self) {
        let options = None::<KillContainerOptions>;
        self.docker.kill_container(&self.container, options).await.unwrap();
        // Until the engine has noticed the end, a start would do nothing.
        while super::engine::is_running(&self.docker, &self.container).await {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs its `rabbitmqctl`; again where a busy engine cannot start it, or the broker is being started.
    pub async fn control(&self, arguments: &[&str]) {
        for _ in 0..CONTROL_TRIES {
            if self.controlled(arguments).await.is_ok() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.controlled(arguments).await.unwrap_or_else(|said| panic!("rabbitmqctl: {said}"));
    }

    async fn controlled(&self, arguments: &[&str]) -> Result<(), String> {
        let command = std::iter::once("rabbitmqctl").chain(arguments.iter().copied());
        let options = ExecConfig {
            cmd: Some(command.map(str::to_owned).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let refused = |error: bollard::errors::Error| error.to_string();
        let created = self.docker.create_exec(&self.container, options).await.map_err(refused)?;
        let started = self.docker.start_exec(&created.id, None::<StartExecOptions>).await;
        let StartExecResults::Attached { output, .. } = started.map_err(refused)? else {
            panic!("not attached")
        };
        let said: Vec<_> = output.map(|piece| piece.unwrap().to_string()).collect().await;
        let ended = self.docker.inspect_exec(&created.id).await.map_err(refused)?;
        let is_done = ended.exit_code == Some(0);
        is_done.then_some(()).ok_or_else(|| format!("{arguments:?}: {}", said.concat()))
    }

    /// As [`Observer::publish`].
    pub async fn publish(&self, key: &str, message: &Value) {
        self.events.publish(key, message).await;
    }

    /// As [`Observer::dead_letters`].
    pub async fn dead_letters(&self) -> Vec<(String, String)> {
        self.events.dead_letters().await
    }

    /// As [`Observer::seen`].
    pub async fn seen(&mut self) -> &[Seen] {
        self.events.seen().await
    }

    /// As [`Observer::wait_for`].
    pub async fn wait_for(&mut self, what: &str, is_meant: impl Fn(&Seen) -> bool) -> Seen {
        self.events.wait_for(what, is_meant).await
    }

    /// As [`Observer::result_of`].
    pub async fn result_of(&mut self, id: &str) -> Seen {
        self.events.result_of(id).await
    }

    /// The queue that keeps the events.
    pub fn observer(&self) -> String {
        self.events.queue()
    }
}

fn url_of(port: u16) -> String {
    format!("amqp://{USER}:{PASSWORD}@127.0.0.1:{port}/%2f")
}
