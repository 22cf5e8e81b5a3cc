//! A proxy to an HTTP server that holds single requests until a test lets them pass.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::events::PATIENCE;

/// How much of an answer is passed on at a time, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// What ends the head of a request.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// The beginning of an answer that says that a condition has failed, and of one that says that the
/// object was written.
const FAILED_CONDITION: &[u8] = b"HTTP/1.1 412 Precondition Failed\r\n";
const TAKEN_WRITE: &[u8] = b"HTTP/1.1 200 OK\r\nETag: \"taken\"\r\n";

/// How far a gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// No request has come yet. The next one will be held.
    Closed,
    /// A request waits.
    Reached,
    /// Every request passes.
    Open,
    /// The server has answered the request that waited.
    Answered,
}

/// Holds every request with a method and a part of a path until it is opened.
#[derive(Debug)]
pub struct Gate {
    method: &'static str,
    part: String,
    /// How many requests pass before one is held.
    ahead: AtomicUsize,
    stage: watch::Sender<Stage>,
}

impl Gate {
    /// Waits until a request is at the gate.
    pub async fn reached(&self) {
        self.until(Stage::Reached).await;
    }

    /// Waits until a request is at the gate, lets it pass and waits for its answer. Later requests
    /// pass at once.
    pub async fn pass(&self) {
        self.reached().await;
        self.advance(Stage::Open);
        self.until(Stage::Answered).await;
    }

    /// Holds no request any more.
    pub fn open(&self) {
        self.advance(Stage::Open);
    }

    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let is_news = *stage < to;
            *stage = to.max(*stage);
            is_news
        });
    }

    async fn until(&self, wanted: Stage) {
        let mut stage = self.stage.subscribe();
        let reached = stage.wait_for(|stage| *stage >= wanted);
        let in_time = tokio::time::timeout(PATIENCE, reached).await;
        assert!(in_time.is_ok(), "{} …{}… was not {wanted:?} in time", self.method, self.part);
    }
}

/// A proxy on a free port of this machine, with gates. It ends when it is dropped.
pub struct GatedLine {
    addr: SocketAddr,
    line: Arc<Line>,
    _ends: DropGuard,
}

/// What all connections share.
struct Line {
    target: SocketAddr,
    gates: Mutex<Vec<Arc<Gate>>>,
    /// Parts of paths. The client is not told of failed conditions on such a path.
    forgiven: Mutex<Option<String>>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl GatedLine {
    /// Listens on a free port and passes requests on to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let line = Arc::new(Line {
            target,
            gates: Mutex::default(),
            forgiven: Mutex::default(),
            tasks: TaskTracker::new(),
            ended: CancellationToken::new(),
        });
        let accepting = accept(listener, Arc::clone(&line));
        line.tasks.spawn(line.ended.clone().run_until_cancelled_owned(accepting));
        let ends = line.ended.clone().drop_guard();
        Self { addr, line, _ends: ends }
    }

    /// Where to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Holds the requests with `method` whose path has `part`.
    pub fn hold(&self, method: &'static str, part: &str) -> Arc<Gate> {
        self.hold_after(0, method, part)
    }

    /// The same, once so many of them have passed.
    pub fn hold_after(&self, ahead: usize, method: &'static str, part: &str) -> Arc<Gate> {
        let (stage, ahead) = (watch::Sender::new(Stage::Closed), AtomicUsize::new(ahead));
        let gate = Arc::new(Gate { method, part: part.to_owned(), ahead, stage });
        self.line.gates.lock().unwrap().push(Arc::clone(&gate));
        gate
    }

    /// Answers that writes to a path with `part` were done, although their condition failed. To the
    /// client, this looks like a store that ignores conditions. (The proxy cannot remove the
    /// condition, because the client signs it.)
    pub fn forgive(&self, part: &str) {
        *self.line.forgiven.lock().unwrap() = Some(part.to_owned());
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let carried = carry(client, Arc::clone(&line));
        line.tasks.spawn(line.ended.clone().run_until_cancelled_owned(carried));
    }
}

/// One side has closed the connection.
struct Closed;

/// One connection, until one of its sides closes it.
async fn carry(client: TcpStream, line: Arc<Line>) {
    let Ok(server) = TcpStream::connect(line.target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // A client sends its next request when it has the answer, so only one is under way.
    let asked = Mutex::new(Asked::default());
    tokio::select! {
        _ = pass_requests(from_client, to_server, &line, &asked) => {}
        _ = pass_answers(from_server, to_client, &asked) => {}
    }
}

/// What to do with the answer to the request that is under way.
#[derive(Default)]
struct Asked {
    gate: Option<Arc<Gate>>,
    is_forgiven: bool,
}

async fn pass_requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    line: &Line,
    asked: &Mutex<Asked>,
) -> Result<(), Closed> {
    let mut buffer = Vec::new();
    loop {
        let length = loop {
            if let Some(length) = length_of(&buffer) {
                break length;
            }
            read_more(&mut from, &mut buffer).await?;
        };
        if let Some(gate) = line.gate_of(&buffer) {
            gate.advance(Stage::Reached);
            let mut stage = gate.stage.subscribe();
            loop {
                tokio::select! {
                    opened = stage.wait_for(|stage| *stage >= Stage::Open) => {
                        opened.map_err(|_| Closed)?;
                        break;
                    }
                    // A request whose client has gone must not be carried out later.
                    read = read_more(&mut from, &mut buffer) => read?,
                }
            }
            asked.lock().unwrap().gate = Some(gate);
        }
        asked.lock().unwrap().is_forgiven = line.forgives(&buffer);
        while buffer.len() < length {
            read_more(&mut from, &mut buffer).await?;
        }
        to.write_all(&buffer[..length]).await.map_err(|_| Closed)?;
        buffer.drain(..length);
    }
}

async fn read_more(from: &mut OwnedReadHalf, buffer: &mut Vec<u8>) -> Result<(), Closed> {
    match from.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(Closed),
        Ok(_) => Ok(()),
    }
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Mutex<Asked>,
) -> Result<(), Closed> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await.map_err(|_| Closed)?;
        if length == 0 {
            return Ok(());
        }
        let Asked { gate, is_forgiven } = std::mem::take(&mut *asked.lock().unwrap());
        let rest = piece[..length].strip_prefix(FAILED_CONDITION).filter(|_| is_forgiven);
        if rest.is_some() {
            to.write_all(TAKEN_WRITE).await.map_err(|_| Closed)?;
        }
        to.write_all(rest.unwrap_or(&piece[..length])).await.map_err(|_| Closed)?;
        if let Some(gate) = gate {
            gate.advance(Stage::Answered);
        }
    }
}

/// The length of the first request, head and body, in bytes; `None` if its head is not complete.
fn length_of(buffer: &[u8]) -> Option<usize> {
    let end = buffer.windows(END_OF_HEAD.len()).position(|four| four == END_OF_HEAD)?;
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "a request without a length: {head}");
    let body = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    Some(end + END_OF_HEAD.len() + body.map_or(0, |length| length.trim().parse().unwrap()))
}

impl Line {
    /// The gate at which the first request of `buffer` is.
    fn gate_of(&self, buffer: &[u8]) -> Option<Arc<Gate>> {
        let (method, path) = method_and_path(buffer)?;
        let gates = self.gates.lock().unwrap();
        let is_meant = |gate: &&Arc<Gate>| gate.method == method && path.contains(&gate.part);
        let gate = gates.iter().find(is_meant)?;
        let passes = gate
            .ahead
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |ahead| ahead.checked_sub(1));
        passes.is_err().then(|| Arc::clone(gate))
    }

    /// Whether the first request of `buffer` is a write whose failed condition must be hidden.
    fn forgives(&self, buffer: &[u8]) -> bool {
        let forgiven = self.forgiven.lock().unwrap();
        let asked = method_and_path(buffer).zip(forgiven.as_ref());
        asked.is_some_and(|((method, path), part)| method == "PUT" && path.contains(part))
    }
}

/// What the first request of `buffer` asks for.
fn method_and_path(buffer: &[u8]) -> Option<(String, String)> {
    let end = buffer.iter().position(|byte| *byte == b'\r')?;
    let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    Some((method.to_owned(), target.split('?').next()?.to_owned()))
}
