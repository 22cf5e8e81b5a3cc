//! Where the real servers are, and what to do if they are not running.

use std::time::Duration;

use bollard::Docker;
use lapin::{Connection, ConnectionProperties};

use crate::variable;

/// What to do if a server is missing.
pub const SET_UP: &str = "start the local stack with `scripts/stack.sh up`";

/// How long a server may take to accept us.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Where RabbitMQ is.
pub fn amqp_url() -> String {
    let default = "amqp://longshore:longshore@127.0.0.1:5672/%2f";
    variable("LONGSHORE_TEST_AMQP_URL").unwrap_or_else(|| default.to_owned())
}

/// A connection to RabbitMQ.
pub async fn broker() -> Connection {
    let url = amqp_url();
    let connecting = Connection::connect(&url, ConnectionProperties::default());
    let shown = url.rsplit('@').next().unwrap_or_default();
    let Ok(connected) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
        panic!("RabbitMQ at {shown} does not answer; {SET_UP}");
    };
    match connected {
        Ok(connection) => connection,
        Err(error) => panic!("RabbitMQ at {shown} cannot be used: {error}; {SET_UP}"),
    }
}

/// The container engine.
pub async fn engine() -> Docker {
    let connected = async { Docker::connect_with_defaults()?.negotiate_version().await };
    match connected.await {
        Ok(docker) => docker,
        Err(error) => panic!("the container engine cannot be used: {error}; {SET_UP}"),
    }
}

/// A port that nobody uses right now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// RabbitMQ's management interface. It knows what AMQP cannot report, such as which queues exist.
pub struct Management {
    client: reqwest::Client,
    url: String,
    user: String,
    password: String,
}

impl Management {
    /// The interface of the tests' broker, with the credentials of its AMQP URL.
    pub fn new() -> Self {
        let default = "http://127.0.0.1:15672";
        let url = variable("LONGSHORE_TEST_MANAGEMENT_URL").unwrap_or_else(|| default.to_owned());
        let amqp = amqp_url();
        let authority = amqp.split("://").nth(1).unwrap_or_default();
        let (user, password) = authority
            .rsplit_once('@')
            .and_then(|(credentials, _)| credentials.split_once(':'))
            .unwrap_or(("guest", "guest"));
        Self {
            client: reqwest::Client::new(),
            url,
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The names of all `what` (`queues`, `exchanges`) that begin with `prefix`.
    pub async fn names(&self, what: &str, prefix: &str) -> Result<Vec<String>, String> {
        let url = format!("{}/api/{what}/%2f?columns=name", self.url);
        let request = self.client.get(&url).basic_auth(&self.user, Some(&self.password));
        let answered = async { request.send().await?.error_for_status()?.json().await };
        let found: Vec<serde_json::Value> = answered.await.map_err(|error: reqwest::Error| {
            format!("RabbitMQ's management interface at {url} cannot be used: {error}; {SET_UP}")
        })?;
        let names = found.iter().filter_map(|one| one["name"].as_str());
        Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }

    /// Asks for a change, which must be made.
    pub async fn call(&self, method: reqwest::Method, path: &str, body: Option<serde_json::Value>) {
        let url = format!("{}/api/{path}", self.url);
        let request = self.client.request(method, &url);
        let request = request.basic_auth(&self.user, Some(&self.password)).json(&body);
        let answered = async { request.send().await?.error_for_status() };
        if let Err(error) = answered.await {
            panic!("RabbitMQ's management interface at {url} cannot be used: {error}; {SET_UP}");
        }
    }

    /// Deletes every queue and exchange whose name begins with `prefix`.
    pub async fn sweep(&self, prefix: &str) -> Result<(), String> {
        for what in ["queues", "exchanges"] {
            for name in self.names(what, prefix).await? {
                let url = format!("{}/api/{what}/%2f/{name}", self.url);
                let request = self.client.delete(url).basic_auth(&self.user, Some(&self.password));
                // A queue that is already gone is fine: locks end with their connection.
                request.send().await.map_err(|error| format!("delete {name}: {error}"))?;
            }
        }
        Ok(())
    }
}
