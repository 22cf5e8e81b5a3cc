//! A RabbitMQ of the test's own, which it may start, stop and start again.

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
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use longshore::broker::REASON_HEADER;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::certificates::{Folder, IN_CONTAINER, USER};
use super::engine::TEST_LABEL;
use super::events::{PATIENCE, Seen};
use super::servers::free_port;

const IMAGE: &str = "rabbitmq:4-management";

/// A word that stands nowhere else, so that it is found wherever it gets to.
pub const PASSWORD: &str = "canary-of-the-broker-4d1f";

/// The file with what is enabled beside the broker itself.
const PLUGINS: &str = "enabled_plugins";

/// The file that opens the listener for TLS, which lets in only who has a certificate.
const CONFIG: &str = "20-tls.conf";

/// How long one attempt to connect may take while the broker boots.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker in a container of its own, on a port of this machine. What is said on it is kept in a
/// durable queue, so that no event is missed when it is restarted.
pub struct OwnBroker {
    docker: Docker,
    container: String,
    port: u16,
    tls_port: Option<u16>,
    namespace: String,
    seen: Vec<Seen>,
}

impl OwnBroker {
    /// Makes the container, and does not start it. It goes with what else the engine has of
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

    /// The same with a second port for TLS, with the server's certificate in this folder. Who comes
    /// there must show a certificate of the folder's authority, which may say who comes.
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
        let namespace = namespace.to_owned();
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
            // A fixed name, for its data is kept under it.
            "RABBITMQ_NODENAME=rabbit@localhost".to_owned(),
        ];
        env.extend_from_slice(more_env);
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            env: Some(env),
            // The image names the port of TLS in nothing of its own.
            exposed_ports: Some(ports.keys().cloned().collect()),
            // A sweep of the namespace removes it, also after a panic.
            labels: Some(HashMap::from([(TEST_LABEL.to_owned(), namespace.clone())])),
            host_config: Some(HostConfig {
                port_bindings: Some(ports),
                binds,
                ulimits: Some(vec![files]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let created = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
        Self { docker, container: created.id, port, tls_port, namespace, seen: Vec::new() }
    }

    /// Its AMQP URL.
    pub fn url(&self) -> String {
        format!("amqp://{USER}:{PASSWORD}@127.0.0.1:{}/%2f", self.port)
    }

    /// Its AMQP URL over TLS, under this name of the machine.
    pub fn tls_url(&self, host: &str) -> String {
        format!("amqps://{USER}:{PASSWORD}@{host}:{}/%2f", self.tls_port.unwrap())
    }

    /// Its socket, the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts it, waits until it lets us in, and keeps what is said from then on.
    pub async fn start(&self) {
        let options = None::<StartContainerOptions>;
        self.docker.start_container(&self.container, options).await.unwrap();
        let (_connection, channel) = self.connect().await;
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let queue = self.observer();
        let arguments = FieldTable::default();
        channel.queue_declare(queue.as_str().into(), durable, arguments.clone()).await.unwrap();
        for exchange in ["status", "results"] {
            let exchange = format!("{}.{exchange}", self.namespace);
            let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let (kind, name) = (ExchangeKind::Topic, exchange.as_str());
            let declared =
                channel.exchange_declare(name.into(), kind, durable, arguments.clone()).await;
            declared.unwrap();
            let options = QueueBindOptions::default();
            let bound = channel.queue_bind(
                queue.as_str().into(),
                name.into(),
                "#".into(),
                options,
                arguments.clone(),
            );
            bound.await.unwrap();
        }
    }

    /// Stops it; what is durable is there again after [`OwnBroker::start`].
    pub async fn stop(&self) {
        let options = StopContainerOptionsBuilder::default().t(30).build();
        self.docker.stop_container(&self.container, Some(options)).await.unwrap();
    }

    /// Kills it; what was confirmed is there again after [`OwnBroker::start`].
    pub async fn kill(&self) {
        let options = None::<KillContainerOptions>;
        self.docker.kill_container(&self.container, options).await.unwrap();
        // Until the engine knows, a start would do nothing.
        while super::engine::is_running(&self.docker, &self.container).await {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Has its `rabbitmqctl` do something.
    pub async fn control(&self, arguments: &[&str]) {
        let command = std::iter::once("rabbitmqctl").chain(arguments.iter().copied());
        let options = ExecConfig {
            cmd: Some(command.map(str::to_owned).collect()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let created = self.docker.create_exec(&self.container, options).await.unwrap();
        let started = self.docker.start_exec(&created.id, None::<StartExecOptions>).await.unwrap();
        let StartExecResults::Attached { output, .. } = started else { panic!("not attached") };
        let said: Vec<_> = output.map(|piece| piece.unwrap().to_string()).collect().await;
        let ended = self.docker.inspect_exec(&created.id).await.unwrap();
        assert_eq!(ended.exit_code, Some(0), "rabbitmqctl {arguments:?}: {}", said.concat());
    }

    /// Publishes a message for the workers; a queue must take it.
    pub async fn publish(&self, key: &str, message: &Value) {
        let (_connection, channel) = self.connect().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let exchange = format!("{}.jobs", self.namespace);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(uuid::Uuid::new_v4().to_string().into());
        let body = message.to_string();
        let (to, key) = (exchange.as_str().into(), key.into());
        let published = channel.basic_publish(to, key, options, body.as_bytes(), properties).await;
        let confirmed = published.unwrap().await.unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
    }

    /// The messages among the dead letters: the reason, and all there is.
    pub async fn dead_letters(&self) -> Vec<(String, String)> {
        let (_connection, channel) = self.connect().await;
        let (queue, options) =
            (format!("{}.dead", self.namespace), BasicGetOptions { no_ack: true });
        let mut found = Vec::new();
        while let Some(got) = channel.basic_get(queue.as_str().into(), options).await.unwrap() {
            let headers = got.delivery.properties.headers().clone().unwrap_or_default();
            let reason = headers.inner().get(REASON_HEADER).unwrap();
            let body = String::from_utf8_lossy(&got.delivery.data).into_owned();
            found.push((format!("{reason:?}"), body));
        }
        found
    }

    /// Every event that was said so far.
    pub async fn seen(&mut self) -> &[Seen] {
        let (_connection, channel) = self.connect().await;
        let (queue, options) = (self.observer(), BasicGetOptions { no_ack: true });
        while let Some(got) = channel.basic_get(queue.as_str().into(), options).await.unwrap() {
            self.seen.push(Seen::of(&got.delivery));
        }
        &self.seen
    }

    /// The first event that is meant, or the next one to come.
    pub async fn wait_for(&mut self, what: &str, is_meant: impl Fn(&Seen) -> bool) -> Seen {
        let begun = Instant::now();
        loop {
            let seen = self.seen().await;
            if let Some(found) = seen.iter().find(|one| is_meant(one)) {
                return found.clone();
            }
            let keys: Vec<_> = seen.iter().map(|one| &one.routing_key).collect();
            assert!(begun.elapsed() < PATIENCE, "no {what}; seen: {keys:#?}");
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// The result of a job.
    pub async fn result_of(&mut self, id: &str) -> Seen {
        let is_result = |seen: &Seen| seen.is_result() && seen.subject() == Some(id);
        self.wait_for(&format!("result of {id}"), is_result).await
    }

    /// The queue that keeps what is said.
    pub fn observer(&self) -> String {
        format!("{}.observer", self.namespace)
    }

    async fn connect(&self) -> (Connection, Channel) {
        let begun = Instant::now();
        loop {
            let url = self.url();
            let connecting = Connection::connect(&url, ConnectionProperties::default());
            if let Ok(Ok(connection)) = timeout(CONNECT_TIMEOUT, connecting).await {
                let channel = connection.create_channel().await.unwrap();
                return (connection, channel);
            }
            assert!(begun.elapsed() < PATIENCE, "the test's own broker does not start");
            sleep(Duration::from_millis(300)).await;
        }
    }
}
