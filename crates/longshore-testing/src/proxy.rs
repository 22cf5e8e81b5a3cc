//! A network that can be broken on purpose: a TCP proxy in front of a real server.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How much is passed on at a time, in bytes.
const PIECE_BYTES: usize = 16 * 1024;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// It carries data.
    Fair,
    /// It carries nothing, and connections stay open.
    Stalled,
    /// It has closed every connection, and closes new ones.
    Cut,
}

/// What happens after this many bytes from the server.
struct Limit {
    bytes: usize,
    then_stall: bool,
}

/// A proxy on a free port of this machine. It ends when it is dropped.
pub struct Proxy {
    addr: SocketAddr,
    line: Arc<Line>,
    _ends: DropGuard,
}

/// What all connections share.
struct Line {
    target: SocketAddr,
    weather: watch::Sender<Weather>,
    limit: Mutex<Option<Limit>>,
    connections: AtomicUsize,
    /// Connections with a lower number than this carry nothing.
    frozen: watch::Sender<usize>,
    tasks: TaskTracker,
    ended: CancellationToken,
}

impl Proxy {
    /// Listens on a free port and passes every connection on to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let ended = CancellationToken::new();
        let line = Arc::new(Line {
            target,
            weather: watch::Sender::new(Weather::Fair),
            limit: Mutex::new(None),
            connections: AtomicUsize::new(0),
            frozen: watch::Sender::new(0),
            tasks: TaskTracker::new(),
            ended: ended.clone(),
        });
        let accepting = accept(listener, Arc::clone(&line));
        line.tasks.spawn(async move {
            ended.run_until_cancelled_owned(accepting).await;
        });
        let ends = line.ended.clone().drop_guard();
        Self { addr, line, _ends: ends }
    }

    /// Where to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections have been made.
    pub fn connections(&self) -> usize {
        self.line.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection, and each new one at once.
    pub fn cut(&self) {
        self.line.weather.send_replace(Weather::Cut);
    }

    /// Carries no more data, and leaves every connection open.
    pub fn stall(&self) {
        self.line.weather.send_replace(Weather::Stalled);
    }

    /// Carries no more data over the connections that are there, and leaves them open. New ones are
    /// fine.
    pub fn freeze_present(&self) {
        self.line.frozen.send_replace(self.connections());
    }

    /// Carries data again. Stalled connections go on; cut ones must be made again.
    pub fn restore(&self) {
        self.limit(None);
        self.line.frozen.send_replace(0);
        self.line.weather.send_replace(Weather::Fair);
    }

    /// Lets the server send `bytes` more, over all connections, and breaks the one that goes
    /// beyond. Later connections work again: 0 loses only the next answer.
    pub fn break_after(&self, bytes: usize) {
        self.limit(Some(Limit { bytes, then_stall: false }));
    }

    /// Lets the server send `bytes` more, over all connections, and stalls.
    pub fn stall_after(&self, bytes: usize) {
        self.limit(Some(Limit { bytes, then_stall: true }));
    }

    fn limit(&self, limit: Option<Limit>) {
        *self.line.limit.lock().unwrap() = limit;
    }
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = line.connections.fetch_add(1, Ordering::SeqCst);
        let carried = carry(client, number, Arc::clone(&line));
        let ended = line.ended.clone();
        line.tasks.spawn(async move {
            ended.run_until_cancelled_owned(carried).await;
        });
    }
}

/// The line broke, and with it the connection in both directions.
struct Broken;

/// One connection, until both sides have ended it or the line breaks.
async fn carry(client: TcpStream, number: usize, line: Arc<Line>) {
    let mut weather = line.weather.subscribe();
    let Ok(server) = TcpStream::connect(line.target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let both = async {
        tokio::try_join!(
            pump(from_client, to_server, (number, &line), false),
            pump(from_server, to_client, (number, &line), true),
        )
    };
    tokio::select! {
        _ = weather.wait_for(|now| *now == Weather::Cut) => {}
        _ = both => {}
    }
}

/// Passes on data while the network carries it. At its end, closes that direction.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (number, line): (usize, &Line),
    is_answer: bool,
) -> Result<(), Broken> {
    let (mut weather, mut frozen) = (line.weather.subscribe(), line.frozen.subscribe());
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from.read(&mut piece).await.map_err(|_| Broken)?;
        if length == 0 {
            return Ok(());
        }
        weather.wait_for(|now| *now == Weather::Fair).await.map_err(|_| Broken)?;
        frozen.wait_for(|below| number >= *below).await.map_err(|_| Broken)?;
        let passes = if is_answer { line.spend(length)? } else { length };
        to.write_all(&piece[..passes]).await.map_err(|_| Broken)?;
        if passes < length {
            weather.wait_for(|now| *now == Weather::Fair).await.map_err(|_| Broken)?;
            to.write_all(&piece[passes..length]).await.map_err(|_| Broken)?;
        }
    }
}

impl Line {
    /// How many of the next `length` bytes from the server get through before the line stalls; an
    /// error if the line breaks.
    fn spend(&self, length: usize) -> Result<usize, Broken> {
        let mut place = self.limit.lock().unwrap();
        let Some(limit) = place.as_mut() else { return Ok(length) };
        let passes = limit.bytes.min(length);
        limit.bytes -= passes;
        if passes == length {
            return Ok(length);
        }
        let then_stall = limit.then_stall;
        *place = None;
        if !then_stall {
            return Err(Broken);
        }
        self.weather.send_replace(Weather::Stalled);
        Ok(passes)
    }
}
