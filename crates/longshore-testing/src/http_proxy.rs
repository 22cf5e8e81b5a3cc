//! A sick server, such as an object store or a container engine: an HTTP proxy in front of a real one, which decides
//! about each request by itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The socket of this machine's engine.
const ENGINE_SOCKET: &str = "/var/run/docker.sock";

/// One request of a worker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// Bucket, key and query, as they are sent.
    pub target: String,
}

impl Asked {
    /// Whether it writes or deletes an object.
    pub fn is_write(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }

    /// Whether it is a request of this method whose target contains this text.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.target.contains(part)
    }
}

/// What the server does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// It answers as it would.
    Pass,
    /// It takes so long, and then does what was asked.
    Slow(Duration),
    /// It does what was asked, and the answer takes so long.
    HoldAnswer(Duration),
    /// It does what was asked, and the connection ends without an answer.
    LoseAnswer,
    /// It does nothing and answers with this status.
    Refuse(u16),
    /// It does nothing and does not answer.
    Hang,
    /// It does nothing before [`HttpProxy::release`], even if whoever asked is gone by then, like a network
    /// that delivers late.
    Detain,
}

type Rule = dyn FnMut(&Asked) -> Deed + Send;
type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// A request that waits to be delivered.
type Detained = (Asked, Request<Full<Bytes>>);

/// A proxy on a free port of this machine. It ends when it is dropped.
pub struct HttpProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _ends: DropGuard,
}

/// Where the real server is.
enum Target {
    Tcp(SocketAddr),
    Socket(PathBuf),
}

struct Shared {
    target: Target,
    rule: Mutex<Box<Rule>>,
    asked: Mutex<Vec<Asked>>,
    answered: Mutex<Vec<(Asked, u16)>>,
    detained: Mutex<Vec<Detained>>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl HttpProxy {
    /// Listens on a free port and passes every request on to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        Self::before(Target::Tcp(target)).await
    }

    /// Listens on a free port and passes every request on to the container engine of this machine.
    pub async fn start_for_engine() -> Self {
        Self::before(Target::Socket(PathBuf::from(ENGINE_SOCKET))).await
    }

    /// The same for the engine with this `DOCKER_HOST`, which is a socket.
    pub async fn start_for_engine_at(docker_host: &str) -> Self {
        let socket = docker_host.strip_prefix("unix://").expect("a socket");
        Self::before(Target::Socket(PathBuf::from(socket))).await
    }

    async fn before(target: Target) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ended = CancellationToken::new();
        let shared = Arc::new(Shared {
            target,
            rule: Mutex::new(Box::new(|_| Deed::Pass)),
            asked: Mutex::default(),
            answered: Mutex::default(),
            detained: Mutex::default(),
            tasks: TaskTracker::new(),
            ended: ended.clone(),
        });
        let accepting = accept(listener, Arc::clone(&shared));
        let until = ended.clone();
        shared.tasks.spawn(async move {
            until.run_until_cancelled_owned(accepting).await;
        });
        Self { addr, shared, _ends: ended.drop_guard() }
    }

    /// Where to connect to: host and port.
    pub fn endpoint(&self) -> String {
        self.addr.to_string()
    }

    /// Decides about every request from now on by `rule`.
    pub fn rule(&self, rule: impl FnMut(&Asked) -> Deed + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// Passes every request on again. Those that hang are never answered.
    pub fn restore(&self) {
        self.rule(|_| Deed::Pass);
    }

    /// How many requests wait to be delivered.
    pub fn detained(&self) -> usize {
        self.shared.detained.lock().unwrap().len()
    }

    /// Delivers what waits, in order. Gives the status of each answer, which nobody else hears.
    pub async fn release(&self) -> Vec<u16> {
        let waiting = std::mem::take(&mut *self.shared.detained.lock().unwrap());
        let mut statuses = Vec::new();
        for (asked, request) in waiting {
            let status = pass(request, &self.shared).await.unwrap().status().as_u16();
            self.shared.answered.lock().unwrap().push((asked, status));
            statuses.push(status);
        }
        statuses
    }

    /// The status of each answer to a request for this text, in order.
    pub fn answers_to(&self, method: &str, part: &str) -> Vec<u16> {
        let answered = self.shared.answered.lock().unwrap();
        let found = answered.iter().filter(|(asked, _)| asked.is(method, part));
        found.map(|(_, status)| *status).collect()
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let serving = Arc::clone(&shared);
        let service = service_fn(move |request| answer(request, Arc::clone(&serving)));
        let connection = server::Builder::new().serve_connection(TokioIo::new(stream), service);
        let ended = shared.ended.clone();
        shared.tasks.spawn(async move {
            ended.run_until_cancelled_owned(connection).await;
        });
    }
}

/// No answer: the connection ends.
#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the answer is lost")
    }
}

impl std::error::Error for NoAnswer {}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Answer, NoAnswer> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str()).to_owned();
    let asked = Asked { method: request.method().to_string(), target };
    let deed = (shared.rule.lock().unwrap())(&asked);
    shared.asked.lock().unwrap().push(asked.clone());
    let answer = answer_by(deed, request, &asked, &shared).await?;
    shared.answered.lock().unwrap().push((asked, answer.status().as_u16()));
    Ok(answer)
}

async fn answer_by(
    deed: Deed,
    request: Request<Incoming>,
    asked: &Asked,
    shared: &Shared,
) -> Result<Answer, NoAnswer> {
    match deed {
        Deed::Pass => pass(request, shared).await,
        Deed::Slow(time) => {
            sleep(time).await;
            pass(request, shared).await
        }
        Deed::HoldAnswer(time) => {
            let answer = pass(request, shared).await;
            sleep(time).await;
            answer
        }
        Deed::LoseAnswer => {
            drop(pass(request, shared).await);
            Err(NoAnswer)
        }
        Deed::Refuse(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            let body = "<Error><Code>AccessDenied</Code><Message>refused</Message></Error>";
            let body = Either::Right(Full::new(Bytes::from_static(body.as_bytes())));
            Ok(Response::builder().status(status).body(body).unwrap())
        }
        Deed::Hang => std::future::pending().await,
        Deed::Detain => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
            let whole = Request::from_parts(head, Full::new(body));
            shared.detained.lock().unwrap().push((asked.clone(), whole));
            std::future::pending().await
        }
    }
}

/// Asks the real server, over a connection of the request's own.
async fn pass<B>(request: Request<B>, shared: &Shared) -> Result<Answer, NoAnswer>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    match &shared.target {
        Target::Tcp(address) => ask(TcpStream::connect(address).await, request, shared).await,
        Target::Socket(path) => ask(UnixStream::connect(path).await, request, shared).await,
    }
}

async fn ask<S, B>(
    stream: std::io::Result<S>,
    request: Request<B>,
    shared: &Shared,
) -> Result<Answer, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let stream = TokioIo::new(stream.map_err(|_| NoAnswer)?);
    let (mut sender, connection) = client::handshake(stream).await.map_err(|_| NoAnswer)?;
    shared.tasks.spawn(connection);
    let answer = sender.send_request(request).await.map_err(|_| NoAnswer)?;
    Ok(answer.map(Either::Left))
}
