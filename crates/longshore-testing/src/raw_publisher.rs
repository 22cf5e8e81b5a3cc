//! A publisher that writes AMQP by itself: properties are any bytes, which no client library would
//! send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::rabbit::within;
use super::servers::amqp_url;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;

/// Body bytes in one frame, which may have 128 KiB.
const MAX_BODY_FRAME: usize = 128 * 1024 - 8;

/// Class and method of the broker's answers.
const START: (u16, u16) = (10, 10);
const TUNE: (u16, u16) = (10, 30);
const OPEN_OK: (u16, u16) = (10, 41);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const SELECT_OK: (u16, u16) = (85, 11);
const RETURN: (u16, u16) = (60, 50);
const ACK: (u16, u16) = (60, 80);
const NACK: (u16, u16) = (60, 120);
const CLOSE: (u16, u16) = (10, 50);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);

/// A connection with one channel in confirm mode.
pub struct RawPublisher {
    url: String,
    socket: Option<TcpStream>,
}

/// The broker did not take a message. The next one goes over a new connection.
#[derive(Debug)]
pub struct NotTaken(#[allow(dead_code, reason = "it is shown")] pub String);

impl RawPublisher {
    /// To the tests' broker.
    pub fn new() -> Self {
        Self::to(amqp_url())
    }

    /// To the broker with this URL.
    pub fn to(url: String) -> Self {
        Self { url, socket: None }
    }

    /// Publishes a message with `properties` as flags and values, and waits for the broker's
    /// answer.
    pub async fn publish(
        &mut self,
        exchange: &str,
        key: &[u8],
        properties: &[u8],
        body: &[u8],
    ) -> Result<(), NotTaken> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => within(connected(&self.url)).await,
        };
        let bytes = message(exchange, key, properties, body, body.len() as u64);
        // A broker that hangs up has sent the reason, which is read next.
        drop(socket.write_all(&bytes).await);
        let answer = within(answer(&mut socket)).await;
        if answer.is_ok() {
            self.socket = Some(socket);
        }
        answer
    }

    /// Declares a body of `size` bytes, sends a few of them and hangs up.
    pub async fn hang_up_within_a_body(exchange: &str, key: &[u8], size: u64) {
        let mut socket = within(connected(&amqp_url())).await;
        let bytes = message(exchange, key, b"\0\0", b"{}", size);
        drop(socket.write_all(&bytes).await);
        drop(socket.shutdown().await);
    }
}

/// The frames of a message.
fn message(exchange: &str, key: &[u8], properties: &[u8], body: &[u8], size: u64) -> Vec<u8> {
    let method =
        [&[0, 60, 0, 40, 0, 0][..], &short(exchange.as_bytes()), &short(key), &[1]].concat();
    let header = [&[0, 60, 0, 0][..], &size.to_be_bytes(), properties].concat();
    let mut bytes = [frame(METHOD, 1, &method), frame(HEADER, 1, &header)].concat();
    for part in body.chunks(MAX_BODY_FRAME) {
        bytes.extend(frame(BODY, 1, part));
    }
    bytes
}

async fn answer(socket: &mut TcpStream) -> Result<(), NotTaken> {
    let mut returned = false;
    loop {
        let Some((kind, payload)) = read_frame(socket).await else {
            return Err(NotTaken("the connection ended".to_owned()));
        };
        if kind != METHOD {
            continue;
        }
        match method_of(&payload) {
            ACK if !returned => return Ok(()),
            ACK => return Err(NotTaken("no queue took it".to_owned())),
            RETURN => returned = true,
            NACK => return Err(NotTaken("nack".to_owned())),
            CLOSE | CHANNEL_CLOSE => {
                return Err(NotTaken(String::from_utf8_lossy(&payload[4..]).into_owned()));
            }
            _ => {}
        }
    }
}

async fn connected(url: &str) -> TcpStream {
    let (login, place) = url.split_once("://").unwrap().1.split_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    let mut socket = TcpStream::connect(place.split('/').next().unwrap()).await.unwrap();
    socket.write_all(b"AMQP\0\0\x09\x01").await.unwrap();
    let login = format!("\0{user}\0{password}");
    let length = u32::try_from(login.len()).unwrap().to_be_bytes();
    let start_ok =
        [&[0, 0, 0, 0][..], &short(b"PLAIN"), &length, login.as_bytes(), &short(b"en_US")].concat();
    expect(&mut socket, START).await;
    tell(&mut socket, 0, (10, 11), &start_ok).await;
    expect(&mut socket, TUNE).await;
    // 2047 channels, frames of 128 KiB, no heartbeat.
    tell(&mut socket, 0, (10, 31), &[0x07, 0xff, 0, 2, 0, 0, 0, 0]).await;
    tell(&mut socket, 0, (10, 40), &[&short(b"/")[..], &[0, 0]].concat()).await;
    expect(&mut socket, OPEN_OK).await;
    tell(&mut socket, 1, (20, 10), &[0]).await;
    expect(&mut socket, CHANNEL_OPEN_OK).await;
    tell(&mut socket, 1, (85, 10), &[0]).await;
    expect(&mut socket, SELECT_OK).await;
    socket
}

async fn tell(socket: &mut TcpStream, channel: u16, (class, method): (u16, u16), fields: &[u8]) {
    let payload = [&class.to_be_bytes()[..], &method.to_be_bytes(), fields].concat();
    socket.write_all(&frame(METHOD, channel, &payload)).await.unwrap();
}

async fn expect(socket: &mut TcpStream, wanted: (u16, u16)) {
    let (kind, payload) = read_frame(socket).await.expect("the broker hung up");
    let said = String::from_utf8_lossy(&payload).into_owned();
    assert_eq!((kind, method_of(&payload)), (METHOD, wanted), "{said}");
}

fn method_of(payload: &[u8]) -> (u16, u16) {
    let number = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    (number(0), number(2))
}

async fn read_frame(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 7];
    socket.read_exact(&mut head).await.ok()?;
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let mut payload = vec![0; usize::try_from(size).unwrap() + 1];
    socket.read_exact(&mut payload).await.ok()?;
    assert_eq!(payload.pop(), Some(FRAME_END));
    Some((head[0], payload))
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind], &channel.to_be_bytes()[..], &size, payload, &[FRAME_END]].concat()
}

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}
