//! One attempt to connect.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::{AMQPUriTcpExt, AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};

use super::BrokerError;
use super::endpoint::Endpoint;
use super::error::{describe, reply_code};

/// How long one attempt may take, from the name's resolution to the open virtual host.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Reply codes with which a broker says that we may not come in: 403 for user and password, 530
/// for the virtual host.
const REFUSALS: [u16; 2] = [403, 530];

/// Connects once. `name` is shown in the management UI.
pub(super) async fn dial(endpoint: &Endpoint, name: &str) -> Result<Connection, BrokerError> {
    let unreachable =
        |reason: String| BrokerError::Unreachable { endpoint: endpoint.to_string(), reason };
    let socket = HalfOpen::default();
    let abandon = Abandon(socket.clone());
    let connecting = connect(endpoint.uri.clone(), name, socket);
    let connection = match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) if reply_code(&error).is_some_and(|code| REFUSALS.contains(&code)) => {
            let reason = describe(&error);
            return Err(BrokerError::Refused { endpoint: endpoint.to_string(), reason });
        }
        Ok(Err(error)) => return Err(unreachable(describe(&error))),
        Err(_) => {
            let reason = format!("no answer within {} s", DIAL_TIMEOUT.as_secs());
            return Err(unreachable(reason));
        }
    };
    abandon.0.keep();
    Ok(connection)
}

async fn connect(uri: AMQPUri, name: &str, socket: HalfOpen) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime()?;
    let reactor = runtime.clone();
    let open = async move |uri: AMQPUri, _| {
        // The time-out of `dial` does not reach into this future: lapin drives it on its thread.
        let opening = async {
            let plain = AMQPUri { scheme: AMQPScheme::AMQP, ..uri.clone() };
            let tls = OwnedTLSConfig::default();
            let stream = plain.connect_with_config_async(tls.as_ref(), &reactor).await?;
            if let AsyncTcpStream::Plain(stream) = &stream {
                socket.hold(stream.get_ref())?;
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, tls.as_ref()).await,
            }
        };
        let opened = tokio::time::timeout(DIAL_TIMEOUT, opening).await;
        Ok(opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)
    };
    Connection::connector(uri, runtime, open, properties).await
}

/// The socket of a connection that is not open yet.
///
/// An abandoned attempt would leave lapin's thread waiting for a peer that never answers, one
/// more with each attempt; so the socket of an attempt that is dropped is shut down.
#[derive(Clone, Default)]
struct HalfOpen(Arc<Mutex<Option<TcpStream>>>);

impl HalfOpen {
    fn hold(&self, socket: &impl AsFd) -> io::Result<()> {
        let twin = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(twin);
        Ok(())
    }

    fn keep(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Shuts the socket down, if it is still held.
struct Abandon(HalfOpen);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(socket) = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It fails where the peer has closed the socket already, which is as good.
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}
