//! The HTTP client of the store. rust-s3 signs the requests, and we send them, because its own
//! client can neither take a list of trusted authorities nor reload it.

use std::path::Path;
use std::time::SystemTime;

use parking_lot::Mutex;
use reqwest::{Client, Method, Response};
use s3::Bucket as Handle;
use s3::command::Command;
use s3::error::S3Error;
use s3::request::Request as _;
use s3::request::tokio_backend::ReqwestRequest;

use super::fault::Fault;
use crate::storage::StoreError;
use crate::tls::TlsFiles;

/// The most of an error's body that is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The client, and the files from which it was made.
pub(super) struct Transport {
    tls: Option<TlsFiles>,
    made: Mutex<(Client, Option<Stamp>)>,
}

/// What distinguishes one state of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok(), bytes: metadata.len() })
    }
}

impl Transport {
    /// A transport to `endpoint`, with the files of `tls` if it uses TLS.
    pub(super) fn new(endpoint: &str, tls: &TlsFiles) -> Result<Self, StoreError> {
        let tls = endpoint.starts_with("https://").then(|| tls.clone());
        let stamp = stamp(tls.as_ref());
        let made = Mutex::new((client(tls.as_ref())?, stamp));
        Ok(Self { tls, made })
    }

    /// The client. It is made again if the file of authorities has changed, so old connections are
    /// not used again. A file that cannot be read at the moment changes nothing.
    fn client(&self) -> Client {
        let stamp = stamp(self.tls.as_ref());
        let mut made = self.made.lock();
        if stamp.is_some() && made.1 != stamp {
            made.1 = stamp;
            match client(self.tls.as_ref()) {
                Ok(client) => {
                    tracing::info!("loaded the changed authorities of the object store");
                    made.0 = client;
                }
                Err(error) => {
                    tracing::warn!(%error, "could not read the changed authorities of the object store; keeping the old ones");
                }
            }
        }
        made.0.clone()
    }

    /// Sends a request; the answer's body is still to be read.
    pub(super) async fn send(
        &self,
        handle: &Handle,
        path: &str,
        command: Command<'_>,
    ) -> Result<Response, Fault> {
        let request = ReqwestRequest::new(handle, path, command).await?;
        let verb = request.command.http_verb().to_string();
        let method = Method::from_bytes(verb.as_bytes())
            .map_err(|error| Fault::Malformed(error.to_string()))?;
        let sending = self
            .client()
            .request(method, request.url()?)
            .headers(request.headers().await?)
            .body(request.request_body()?);
        let answer = sending.send().await.map_err(S3Error::Reqwest)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let body = text(answer, MAX_ERROR_BYTES).await?;
        Err(S3Error::HttpFailWithBody(status, body).into())
    }
}

/// The body of an answer as text, `max_bytes` of it at most.
pub(super) async fn text(mut answer: Response, max_bytes: usize) -> Result<String, Fault> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| Fault::no_answer(&error))? {
        body.extend_from_slice(&piece);
        if body.len() >= max_bytes {
            body.truncate(max_bytes);
            break;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn stamp(tls: Option<&TlsFiles>) -> Option<Stamp> {
    let (_, path) = tls?.ca.as_ref()?;
    Stamp::of(path)
}

fn client(tls: Option<&TlsFiles>) -> Result<Client, StoreError> {
    let builder = match tls {
        Some(files) => Client::builder().use_preconfigured_tls(files.client_config()?),
        None => Client::builder(),
    };
    builder.build().map_err(|error| StoreError::Settings {
        variable: "MINIO_ENDPOINT",
        reason: format!("cannot be spoken to: {error}"),
    })
}
