//! The filter around a socket, and the adapter that makes lapin accept such a socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::Task;
use async_rs::{Runtime, Tokio};
use futures_util::Stream;
use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::tcp::AsyncTcpStream;

use crate::job::amqp::Filter;

/// Bytes that are read from the socket at a time.
const READ_AT_A_TIME: usize = 64 * 1024;

/// A connection without the filter: with TLS, or without.
type Socket = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// A connection that delivers only readable frames.
pub(super) struct Guarded {
    socket: Socket,
    filter: Filter,
    read: Box<[u8]>,
    /// The bytes that have passed the filter, and how many of them were returned.
    passed: Vec<u8>,
    handed_out: usize,
}

impl Guarded {
    /// `frame_max` is the size that the client asks for; 0 if it asks for none.
    pub(super) fn new(socket: Socket, frame_max: u32) -> Self {
        Self {
            socket,
            filter: Filter::new(frame_max),
            read: vec![0; READ_AT_A_TIME].into_boxed_slice(),
            passed: Vec::new(),
            handed_out: 0,
        }
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while this.handed_out == this.passed.len() {
            this.passed.clear();
            this.handed_out = 0;
            let count = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut this.read))?;
            if count == 0 {
                // The held part of a frame that will never be complete is useless.
                return Poll::Ready(Ok(0));
            }
            let pushed = this.filter.push(&this.read[..count], &mut this.passed);
            pushed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        let waiting = &this.passed[this.handed_out..];
        let count = waiting.len().min(buf.len());
        buf[..count].copy_from_slice(&waiting[..count]);
        this.handed_out += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// tokio, with guarded connections: lapin takes the type of its connection from its runtime.
#[derive(Debug, Clone)]
pub(super) struct Kit(Tokio);

impl Kit {
    /// The runtime that this is called on.
    pub(super) fn current() -> Runtime<Self> {
        Runtime::new(Self(Tokio::current()))
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, f: F) -> T {
        self.0.block_on(f)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        f: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(f)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        f: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(f)
    }
}

impl Reactor for Kit {
    type TcpStream = Guarded;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: io::Read + io::Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, dur: Duration) -> Self::Sleep {
        self.0.sleep(dur)
    }

    fn interval(&self, dur: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(dur)
    }

    fn tcp_connect_addr(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(addr);
        async move { Ok(Guarded::new(AsyncTcpStream::Plain(connecting.await?), 0)) }
    }
}
