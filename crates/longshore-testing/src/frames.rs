//! A proxy that understands AMQP: it breaks a connection at a given frame of the broker.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Bytes of a frame in addition to its payload: type, channel and size before it, one byte after
/// it.
const HEAD: usize = 7;

/// What a client sends before its first frame.
const PROTOCOL_HEADER: usize = 8;

/// A part of the name of a worker's connection for locks.
const LOCKS: &[u8] = b"(locks)";

/// Which connection of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    Work,
    Locks,
}

/// Where the connection breaks: after a frame of the broker, or within a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Method,
    Header,
    Body,
}

/// A frame of the broker: on which connection, of which method, and which part of it.
pub type Point = (Which, (u16, u16), Part);

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Both sides see its end.
    Cut,
    /// The broker's data stops, and the connection stays open.
    Stall,
}

/// The proxy, on a free port of this machine. It ends when it is dropped.
pub struct FrameProxy {
    addr: SocketAddr,
    line: Arc<Line>,
    _ends: DropGuard,
}

struct Line {
    target: SocketAddr,
    seen: Mutex<BTreeSet<Point>>,
    armed: Mutex<Option<(Point, Break)>>,
    /// How often a connection of a kind was cut by hand.
    cuts: watch::Sender<(usize, usize)>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl FrameProxy {
    /// Listens on a free port and passes every connection on to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ended = CancellationToken::new();
        let line = Arc::new(Line {
            target,
            seen: Mutex::default(),
            armed: Mutex::default(),
            cuts: watch::Sender::new((0, 0)),
            tasks: TaskTracker::new(),
            ended: ended.clone(),
        });
        let accepting = accept(listener, Arc::clone(&line));
        let until = ended.clone();
        line.tasks.spawn(async move {
            until.run_until_cancelled_owned(accepting).await;
        });
        Self { addr, line, _ends: ended.drop_guard() }
    }

    /// The same URL, through this proxy.
    pub fn url(&self, url: &str) -> String {
        let (credentials, path) = url.split_once('@').unwrap();
        let vhost = path.split_once('/').map_or("", |(_, vhost)| vhost);
        format!("{credentials}@{}/{vhost}", self.addr)
    }

    /// Every kind of frame that the broker has sent so far.
    pub fn seen(&self) -> BTreeSet<Point> {
        self.line.seen.lock().unwrap().clone()
    }

    /// Breaks the connection at the next such frame.
    pub fn arm(&self, point: Point, how: Break) {
        *self.line.armed.lock().unwrap() = Some((point, how));
    }

    /// Whether the armed break has happened.
    pub fn has_fired(&self) -> bool {
        self.line.armed.lock().unwrap().is_none()
    }

    /// Cuts all current connections of a kind.
    pub fn cut(&self, which: Which) {
        self.line.cuts.send_modify(|(work, locks)| match which {
            Which::Work => *work += 1,
            Which::Locks => *locks += 1,
        });
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let carried = carry(client, Arc::clone(&line));
        let ended = line.ended.clone();
        line.tasks.spawn(async move {
            ended.run_until_cancelled_owned(carried).await;
        });
    }
}

/// One connection, until one side ends it or it is broken.
async fn carry(client: TcpStream, line: Arc<Line>) {
    let Ok(server) = TcpStream::connect(line.target).await else { return };
    let is_for_locks = AtomicBool::new(false);
    let mut cuts = line.cuts.subscribe();
    let before = *cuts.borrow_and_update();
    let cut = cuts.wait_for(|(work, locks)| {
        if is_for_locks.load(Ordering::SeqCst) { *locks > before.1 } else { *work > before.0 }
    });
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = ask(from_client, to_server, &is_for_locks) => {}
        () = answer(from_server, to_client, &line, &is_for_locks) => {}
        _ = cut => {}
    }
}

/// Passes on the client's data, and learns from its first bytes what the connection is for.
async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_for_locks: &AtomicBool) {
    let mut piece = vec![0; 16 * 1024];
    let mut heard = Vec::new();
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if heard.len() < 16 * 1024 {
            heard.extend_from_slice(&piece[..length]);
            let greeting = heard.get(PROTOCOL_HEADER..).unwrap_or_default();
            if greeting.windows(LOCKS.len()).any(|window| window == LOCKS) {
                is_for_locks.store(true, Ordering::SeqCst);
            }
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Passes on the broker's data, frame by frame.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    line: &Line,
    is_for_locks: &AtomicBool,
) {
    let mut buffer = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    // The last method of each channel: headers and bodies belong to it.
    let mut methods = std::collections::BTreeMap::new();
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        buffer.extend_from_slice(&piece[..length]);
        while let Some(frame) = take_frame(&mut buffer) {
            let channel = u16::from_be_bytes([frame[1], frame[2]]);
            let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
            let part = match frame[0] {
                1 => {
                    methods.insert(channel, (word(HEAD), word(HEAD + 2)));
                    Some(Part::Method)
                }
                2 => Some(Part::Header),
                3 => Some(Part::Body),
                _ => None,
            };
            let which =
                if is_for_locks.load(Ordering::SeqCst) { Which::Locks } else { Which::Work };
            let broken = part.and_then(|part| line.meet((which, methods[&channel], part)));
            let passes = match broken {
                Some((_, _, Part::Body)) => frame.len() / 2,
                _ => frame.len(),
            };
            if to.write_all(&frame[..passes]).await.is_err() {
                return;
            }
            if broken.is_some() {
                let how = line.armed.lock().unwrap().take().map(|(_, how)| how);
                if how == Some(Break::Stall) {
                    // Until the client gives it up.
                    std::future::pending::<()>().await;
                }
                return;
            }
        }
    }
}

impl Line {
    /// Notes a frame. Returns it if the connection must break there.
    fn meet(&self, point: Point) -> Option<Point> {
        self.seen.lock().unwrap().insert(point);
        self.armed.lock().unwrap().filter(|(armed, _)| *armed == point).map(|(armed, _)| armed)
    }
}

/// The first frame, if it is complete.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let size = buffer.get(3..HEAD)?;
    let size = usize::try_from(u32::from_be_bytes(size.try_into().unwrap())).unwrap();
    let whole = HEAD + size + 1;
    (buffer.len() >= whole).then(|| buffer.drain(..whole).collect())
}
