//! An engine that costs nothing: a server that speaks as much of the Docker Engine's API as a worker asks for, and has
//! no containers. A container ends at once and with success, and leaves what the helper and the launcher of a Python
//! backtest would have left. So what a worker, the broker and the store cost can be measured without the engine.
//!
//! It remembers what it does not know, and answers that with 501.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use longshore_job::archive::RESULT_FILE;
use longshore_job::judging::exit_note::{BEGUN, ENDED, EXIT_NOTE};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The version of the API that it speaks.
const API_VERSION: &str = "1.41";

/// What every container prints.
pub const OUTPUT: &str = "done\n";

/// What every container leaves as its result.
pub const RESULT: &str = r#"{"ok": true}"#;

/// The first byte of a frame of standard output.
const STDOUT: u8 = 1;

/// The server. It ends when it is dropped. Each has an id of its own, so a worker with its own `TEMP_DIR` takes it for
/// a host of its own.
pub struct CostlessEngine {
    socket: PathBuf,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

#[derive(Default)]
struct Shared {
    id: String,
    containers: Mutex<Containers>,
    unknown: Mutex<Vec<String>>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

#[derive(Default)]
struct Containers {
    by_id: HashMap<String, Container>,
    by_name: HashMap<String, String>,
    made: usize,
}

/// A container, which has ended once it was started.
#[derive(Clone)]
struct Container {
    id: String,
    name: String,
    /// The request that made it.
    body: Value,
    created: Timestamp,
    ended: Option<Timestamp>,
}

impl CostlessEngine {
    /// Listens on a socket in this folder.
    pub fn start(folder: &Path) -> Self {
        let socket = folder.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let id = uuid::Uuid::new_v4().to_string();
        let shared = Arc::new(Shared { id, ..Shared::default() });
        let (until, accepting) = (shared.ended.clone(), accept(listener, Arc::clone(&shared)));
        shared.tasks.spawn(async move {
            until.run_until_cancelled_owned(accepting).await;
        });
        let ends = shared.ended.clone().drop_guard();
        Self { socket, shared, _ends: ends }
    }

    /// The `DOCKER_HOST` of a worker that uses it.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// How many containers were made so far.
    pub fn made(&self) -> usize {
        self.shared.containers.lock().unwrap().made
    }

    /// The names of the containers that nobody has removed.
    pub fn left(&self) -> Vec<String> {
        self.shared.containers.lock().unwrap().by_name.keys().cloned().collect()
    }

    /// The requests that it did not know.
    pub fn unknown(&self) -> Vec<String> {
        self.shared.unknown.lock().unwrap().clone()
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let serving = Arc::clone(&shared);
        let service = service_fn(move |request| answer(request, Arc::clone(&serving)));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let ended = shared.ended.clone();
        shared.tasks.spawn(async move {
            ended.run_until_cancelled_owned(connection).await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answer, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let url = reqwest::Url::parse(&format!("http://engine{target}")).unwrap();
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    let mut path: Vec<_> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    if path.first().is_some_and(|part| part.starts_with("v1.")) {
        path.remove(0);
    }
    let asked = Asked { shared: &shared, query: &query, body: &body };
    Ok(asked.route(&parts.method, &path).unwrap_or_else(|| {
        let name = format!("{} /{}", parts.method, path.join("/"));
        shared.unknown.lock().unwrap().push(name.clone());
        problem(StatusCode::NOT_IMPLEMENTED, &format!("the costless engine does not know {name}"))
    }))
}

/// One request.
struct Asked<'a> {
    shared: &'a Shared,
    query: &'a BTreeMap<String, String>,
    body: &'a [u8],
}

impl Asked<'_> {
    /// The answer, if the request is known.
    fn route(&self, method: &Method, path: &[&str]) -> Option<Answer> {
        Some(match (method.as_str(), path) {
            ("GET", ["version"]) => found(&json!({
                "Version": "20.10.24", "ApiVersion": API_VERSION, "MinAPIVersion": "1.12", "Os": "linux", "Arch": "amd64",
            })),
            ("GET", ["info"]) => found(&json!({
                "ID": self.shared.id, "ServerVersion": "20.10.24", "OSType": "linux", "CgroupVersion": "2",
                "SecurityOptions": ["name=seccomp,profile=default"],
            })),
            ("GET", ["images", name @ .., "json"]) => {
                found(&json!({ "Id": format!("sha256:{}", name.join("/")) }))
            }
            ("GET", ["containers", "json"]) => self.list(),
            ("POST", ["containers", "create"]) => self.create(),
            (_, ["containers", id, rest @ ..]) => {
                let Some(container) = self.container(id) else {
                    return Some(none(id));
                };
                match (method.as_str(), rest) {
                    ("POST", ["start"]) => self.start(container),
                    ("POST", ["wait"]) => found(&json!({ "StatusCode": 0 })),
                    ("GET", ["json"]) => found(&container.inspected()),
                    ("GET", ["logs"]) => self.logs(&container),
                    ("GET", ["archive"]) => {
                        let said = format!("Could not find the file in container {id}");
                        problem(StatusCode::NOT_FOUND, &said)
                    }
                    ("POST", ["kill"]) => {
                        let said = format!("Container {id} is not running");
                        problem(StatusCode::CONFLICT, &said)
                    }
                    ("DELETE", []) => self.remove(&container),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    fn container(&self, id_or_name: &str) -> Option<Container> {
        let all = self.shared.containers.lock().unwrap();
        let id = all.by_name.get(id_or_name).map_or(id_or_name, String::as_str);
        all.by_id.get(id).cloned()
    }

    fn create(&self) -> Answer {
        let name = self.query.get("name").cloned().unwrap_or_default();
        let id = format!("{0}{0}", uuid::Uuid::new_v4().simple());
        let body = serde_json::from_slice(self.body).unwrap_or_default();
        let mut all = self.shared.containers.lock().unwrap();
        if let Some(holder) = all.by_name.get(&name) {
            let said = format!("The container name \"/{name}\" is already in use by {holder}");
            return problem(StatusCode::CONFLICT, &said);
        }
        let (created, ended) = (Timestamp::now(), None);
        let container = Container { id: id.clone(), name: name.clone(), body, created, ended };
        all.by_id.insert(id.clone(), container);
        all.by_name.insert(name, id.clone());
        all.made += 1;
        answered(StatusCode::CREATED, json!({ "Id": id, "Warnings": [] }).to_string())
    }

    /// The container begins, and has ended.
    fn start(&self, mut container: Container) -> Answer {
        if let Err(error) = container.leave_files() {
            return problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
        }
        container.ended = Some(Timestamp::now());
        let mut all = self.shared.containers.lock().unwrap();
        all.by_id.insert(container.id.clone(), container);
        answered(StatusCode::NO_CONTENT, String::new())
    }

    fn list(&self) -> Answer {
        let filters: BTreeMap<String, Vec<String>> = self
            .query
            .get("filters")
            .and_then(|filters| serde_json::from_str(filters).ok())
            .unwrap_or_default();
        let wanted = filters.get("label").map(Vec::as_slice).unwrap_or_default();
        let all = self.shared.containers.lock().unwrap();
        let those = all.by_id.values().filter(|one| wanted.iter().all(|label| one.carries(label)));
        found(&those.map(Container::summary).collect())
    }

    fn logs(&self, container: &Container) -> Answer {
        let Some(ended) = container.ended else {
            return answered(StatusCode::OK, String::new());
        };
        let has_stamps = self.query.get("timestamps").is_some_and(|value| value == "true");
        let line = if has_stamps { format!("{ended} {OUTPUT}") } else { OUTPUT.to_owned() };
        let length = u32::try_from(line.len()).unwrap().to_be_bytes();
        let frame = [&[STDOUT, 0, 0, 0][..], &length, line.as_bytes()].concat();
        Response::new(Full::new(frame.into()))
    }

    fn remove(&self, container: &Container) -> Answer {
        let mut all = self.shared.containers.lock().unwrap();
        all.by_name.remove(&container.name);
        match all.by_id.remove(&container.id) {
            Some(_) => answered(StatusCode::NO_CONTENT, String::new()),
            None => none(&container.id),
        }
    }
}

impl Container {
    /// Writes what the helper and the launcher would have left to the files that are bound into the container.
    fn leave_files(&self) -> std::io::Result<()> {
        let note = format!("{BEGUN}\ncpu.stat usage_usec 1000\nmemory.peak 1000000\n{ENDED}\n");
        let mounts = self.body["HostConfig"]["Mounts"].as_array();
        for mount in mounts.into_iter().flatten() {
            let text = |field: &str| mount[field].as_str().unwrap_or_default();
            let (source, target) = (text("Source"), text("Target"));
            if target.ends_with(EXIT_NOTE) {
                std::fs::write(source, &note)?;
            } else if target.ends_with(RESULT_FILE) {
                std::fs::write(source, RESULT)?;
            }
        }
        Ok(())
    }

    /// Whether it carries a label such as `name=value`.
    fn carries(&self, label: &str) -> bool {
        let (name, value) = label.split_once('=').unwrap_or((label, ""));
        let has = self.body["Labels"][name].as_str();
        has.is_some_and(|has| !label.contains('=') || has == value)
    }

    fn state(&self) -> &'static str {
        if self.ended.is_some() { "exited" } else { "created" }
    }

    fn inspected(&self) -> Value {
        let ended = self.ended.map(|at| at.to_string());
        json!({
            "Id": self.id, "Name": format!("/{}", self.name), "Created": self.created.to_string(),
            "State": {
                "Status": self.state(), "Running": false, "OOMKilled": false, "ExitCode": 0, "Error": "",
                "StartedAt": ended, "FinishedAt": ended,
            },
            "Config": { "Image": self.body["Image"], "Labels": self.body["Labels"] },
        })
    }

    fn summary(&self) -> Value {
        json!({
            "Id": self.id, "Names": [format!("/{}", self.name)], "Image": self.body["Image"],
            "State": self.state(), "Created": self.created.as_second(), "Labels": self.body["Labels"],
        })
    }
}

fn found(body: &Value) -> Answer {
    answered(StatusCode::OK, body.to_string())
}

fn none(id: &str) -> Answer {
    problem(StatusCode::NOT_FOUND, &format!("No such container: {id}"))
}

fn problem(status: StatusCode, said: &str) -> Answer {
    answered(status, json!({ "message": said }).to_string())
}

fn answered(status: StatusCode, body: String) -> Answer {
    let answer = Response::builder().status(status).header("Api-Version", API_VERSION);
    answer.header("Content-Type", "application/json").body(Full::new(body.into())).unwrap()
}
