//! One attempt to connect.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, RustlsConnector, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind};
use parking_lot::Mutex;

use super::BrokerError;
use super::endpoint::Endpoint;
use super::guarded::{Guarded, Kit};
use super::lapin_error::{describe, reply_code};
use crate::tls::{TlsFiles, TlsProblem};

/// How long one attempt may take, from resolving the name to the open virtual host.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Reply codes with which a broker refuses the login: 403 for user and password, 530 for the
/// virtual host.
const REFUSALS: [u16; 2] = [403, 530];

/// How a connection ends if its peer hangs up.
const ENDED: [io::ErrorKind; 4] = [
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// Connects once. The management UI shows `name`.
pub(super) async fn dial(endpoint: &Endpoint, name: &str) -> Result<Connection, BrokerError> {
    let unreachable =
        |reason: String| BrokerError::Unreachable { endpoint: endpoint.to_string(), reason };
    let connector = connector(endpoint).await?;
    let (uses_tls, has_identity) = (connector.is_some(), endpoint.tls.identity.is_some());
    let attempt = Attempt { has_identity, uses_tls, ..Attempt::default() };
    let abandon = Abandon(attempt.socket.clone());
    let connecting = connect(endpoint.uri.clone(), name, connector, attempt.clone());
    let connection = match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) if reply_code(&error).is_some_and(|code| REFUSALS.contains(&code)) => {
            let reason = describe(&error);
            return Err(BrokerError::Refused { endpoint: endpoint.to_string(), reason });
        }
        Ok(Err(error)) => {
            return Err(match attempt.problem(&error) {
                Some(problem) => BrokerError::Tls { endpoint: endpoint.to_string(), problem },
                None => unreachable(attempt.reason(&error)),
            });
        }
        Err(_) => {
            let reason = format!("no answer within {} s", DIAL_TIMEOUT.as_secs());
            return Err(unreachable(reason));
        }
    };
    abandon.0.keep();
    Ok(connection)
}

/// The configuration of TLS, with the files of the settings as they are now; `None` without TLS.
async fn connector(endpoint: &Endpoint) -> Result<Option<RustlsConnector>, BrokerError> {
    if endpoint.uri.scheme == AMQPScheme::AMQP {
        return Ok(None);
    }
    let files: TlsFiles = endpoint.tls.clone();
    let read = tokio::task::spawn_blocking(move || files.client_config());
    let config = read.await.map_err(|error| BrokerError::Failed {
        action: "reading the files of TLS".to_owned(),
        reason: error.to_string(),
    })??;
    Ok(Some(config.into()))
}

async fn connect(
    uri: AMQPUri,
    name: &str,
    connector: Option<RustlsConnector>,
    attempt: Attempt,
) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let reactor = lapin::runtime::default_runtime()?;
    let open = async move |uri: AMQPUri, _| {
        // The time-out of `dial` does not end this future: lapin drives it on its own thread.
        let opening = async {
            let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
            let stream = plain.connect_with_config_async(TLSConfig::default(), &reactor).await?;
            if let AsyncTcpStream::Plain(stream) = &stream {
                attempt.socket.hold(stream.get_ref())?;
            }
            let stream = match &connector {
                Some(connector) => stream.into_rustls(connector, &uri.authority.host).await?,
                None => stream,
            };
            attempt.is_open.store(true, Ordering::Release);
            let frame_max = uri.query.frame_max.unwrap_or_default();
            Ok::<_, io::Error>(AsyncTcpStream::Plain(Guarded::new(stream, frame_max)))
        };
        let opened = tokio::time::timeout(DIAL_TIMEOUT, opening).await;
        Ok(opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
    };
    Connection::connector(uri, Kit::current(), open, properties).await
}

/// What is known about an attempt while it runs.
#[derive(Clone, Default)]
struct Attempt {
    socket: HalfOpen,
    /// Whether there is a connection for AMQP: TCP, and TLS if requested.
    is_open: Arc<AtomicBool>,
    has_identity: bool,
    uses_tls: bool,
}

impl Attempt {
    /// The problem with TLS in a failed attempt, if there is one.
    fn problem(&self, error: &lapin::Error) -> Option<TlsProblem> {
        let ErrorKind::IOError(io) = error.kind() else { return None };
        // From TLS 1.3 on, the peer checks our certificate after our side of the handshake has
        // ended. Its message about it may be lost when it hangs up.
        let hung_up = || {
            (self.uses_tls && self.has_hung_up(error))
                .then_some(TlsProblem::HungUp(self.has_identity))
        };
        TlsProblem::of(&**io).or_else(hung_up)
    }

    /// Whether there was a connection, and the peer ended it before any AMQP.
    fn has_hung_up(&self, error: &lapin::Error) -> bool {
        let is_end = match error.kind() {
            ErrorKind::IOError(io) => ENDED.contains(&io.kind()),
            ErrorKind::ParsingError(_) => true,
            _ => false,
        };
        is_end && self.is_open.load(Ordering::Acquire)
    }

    /// Why an attempt failed, in one sentence.
    fn reason(&self, error: &lapin::Error) -> String {
        if self.has_hung_up(error) {
            return "it hung up before it spoke AMQP; if this is a port of TLS, AMQP_URL must begin \
                    with amqps://"
                .to_owned();
        }
        describe(error)
    }
}

/// The socket of a connection that is not open yet.
///
/// An abandoned attempt would leave a thread of lapin waiting for a peer that never answers: one
/// more with each attempt. So dropping an attempt shuts its socket down.
#[derive(Clone, Default)]
struct HalfOpen(Arc<Mutex<Option<TcpStream>>>);

impl HalfOpen {
    fn hold(&self, socket: &impl AsFd) -> io::Result<()> {
        let twin = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        *self.0.lock() = Some(twin);
        Ok(())
    }

    fn keep(&self) {
        self.0.lock().take();
    }
}

/// Shuts the socket down, if it is still held.
struct Abandon(HalfOpen);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(socket) = self.0.0.lock().take() {
            // It fails if the peer has already closed the socket, which is just as good.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}
