//! A private object store of a test, which the test may start, stop and start again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, StartContainerOptions, StopContainerOptionsBuilder,
};
use longshore::settings::StoreSettings;
use longshore::storage::{ObjectStore as _, S3Store};
use longshore::tls::TlsFiles;
use tokio::time::{Instant, sleep};

use super::certificates::{Folder, IN_CONTAINER};
use super::engine::TEST_LABEL;
use super::events::PATIENCE;
use super::s3;
use super::servers::free_port;

const IMAGE: &str = "chrislusf/seaweedfs:4.48";

/// Time between SIGTERM and SIGKILL, in seconds. The store does not end by itself, and acknowledged
/// objects survive.
const STOP_SECONDS: i32 = 2;

/// The local stack's way to run it, with little room.
const ARGUMENTS: [&str; 10] = [
    "-s3.ip.bind=0.0.0.0",
    "-dir=/data",
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-s3",
    "-s3.port=8333",
    "-s3.port.iceberg=0",
    "-volume.max=60",
    "-master.volumeSizeLimitMB=256",
    "-master.telemetry=false",
];

/// A SeaweedFS in its own container, on a port of this machine.
pub struct OwnStore {
    docker: Docker,
    container: String,
    port: u16,
    /// The file with its authority, if it uses TLS.
    ca: Option<PathBuf>,
    credentials: StoreSettings,
}

impl OwnStore {
    /// Makes the container, and does not start it. It is removed with the other containers of
    /// `namespace`.
    pub async fn create(docker: &Docker, namespace: &str) -> Self {
        Self::make(docker, namespace, None, s3::settings()).await
    }

    /// The same with keys of its own.
    pub async fn create_with_keys(
        docker: &Docker,
        namespace: &str,
        access_key: &str,
        secret_key: &str,
    ) -> Self {
        let (access_key, secret_key) = (access_key.to_owned(), secret_key.to_owned());
        let keys = StoreSettings { access_key, secret_key, ..s3::settings() };
        Self::make(docker, namespace, None, keys).await
    }

    /// The same with TLS, and the server's certificate in this folder.
    pub async fn create_with_tls(docker: &Docker, namespace: &str, tls: &Folder) -> Self {
        Self::make(docker, namespace, Some(tls), s3::settings()).await
    }

    async fn make(
        docker: &Docker,
        namespace: &str,
        tls: Option<&Folder>,
        credentials: StoreSettings,
    ) -> Self {
        let docker = docker.clone();
        let port = free_port();
        let bound = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(port.to_string()),
        };
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        if tls.is_some() {
            arguments.push(format!("-s3.cert.file={IN_CONTAINER}/server.pem"));
            arguments.push(format!("-s3.key.file={IN_CONTAINER}/server.key"));
        }
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            entrypoint: Some(vec!["weed".to_owned(), "server".to_owned()]),
            cmd: Some(arguments),
            env: Some(vec![
                format!("AWS_ACCESS_KEY_ID={}", credentials.access_key),
                format!("AWS_SECRET_ACCESS_KEY={}", credentials.secret_key),
            ]),
            // The clean-up of the namespace removes it, also after a panic.
            labels: Some(HashMap::from([(TEST_LABEL.to_owned(), namespace.to_owned())])),
            host_config: Some(HostConfig {
                port_bindings: Some(HashMap::from([("8333/tcp".to_owned(), Some(vec![bound]))])),
                binds: tls.map(|tls| vec![format!("{}:{IN_CONTAINER}:ro", tls.path().display())]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let created = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
        let ca = tls.map(|tls| tls.file("ca.pem"));
        Self { docker, container: created.id, port, ca, credentials }
    }

    /// Its socket, the same after a restart.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Settings of a client of it.
    pub fn settings(&self) -> StoreSettings {
        let Some(ca) = &self.ca else {
            return StoreSettings { endpoint: self.addr().to_string(), ..self.credentials.clone() };
        };
        let endpoint = format!("https://localhost:{}", self.port);
        let tls = TlsFiles { ca: Some(("MINIO_CA_FILE", ca.clone())), identity: None };
        StoreSettings { endpoint, tls, ..self.credentials.clone() }
    }

    /// Starts it, and waits for nothing.
    pub async fn boot(&self) {
        let options = None::<StartContainerOptions>;
        self.docker.start_container(&self.container, options).await.unwrap();
    }

    /// Starts it, and waits until its buckets exist.
    pub async fn start(&self) {
        self.boot().await;
        let store = S3Store::new(&self.settings()).unwrap();
        let begun = Instant::now();
        while let Err(error) = store.ensure_buckets().await {
            assert!(begun.elapsed() < PATIENCE, "the test's own store does not start: {error}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Stops it. Acknowledged objects are back after [`OwnStore::start`].
    pub async fn stop(&self) {
        let options = StopContainerOptionsBuilder::default().t(STOP_SECONDS).build();
        self.docker.stop_container(&self.container, Some(options)).await.unwrap();
    }
}
