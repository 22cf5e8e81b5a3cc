//! Sends spans to the collector.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use crate::settings::TracesSettings;
use crate::tls::{TlsFiles, TlsFilesError};

/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long the last spans may take when the program ends.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The address is one of an encrypted collector, and no authority is known.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT cannot be reached with TLS: {0}")]
    Tls(#[from] TlsFilesError),
    /// The client cannot be made.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT cannot be spoken to: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter refuses what `OTEL_…` variables say.
    #[error("spans cannot be sent as the OTEL_ variables say: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Spans on their way to a collector.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

/// Sends spans from here on, if there is a collector. The library reads the other `OTEL_…` variables itself: headers,
/// sampler, size of its queue.
///
/// # Errors
/// See [`TracesError`].
pub fn start(settings: &TracesSettings, worker: &str) -> Result<Option<Traces>, TracesError> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client::to(endpoint)?)
        .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .with_timeout(ANSWER)
        .build()?;
    let resource = Resource::builder()
        .with_service_name(settings.service.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", worker.to_owned()))
        .build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    global::set_tracer_provider(provider.clone());
    Ok(Some(Traces { provider }))
}

impl Traces {
    /// Sends the last spans, and no more.
    pub async fn finish(self) {
        let provider = self.provider;
        let sent = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_SPANS));
        let problem = match sent.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(problem, "the last spans may not have reached OTEL_EXPORTER_OTLP_ENDPOINT");
    }
}

/// The client that everything else here uses, on the runtime: the thread that sends spans has none.
#[derive(Debug)]
struct Client {
    runtime: Handle,
    client: reqwest::Client,
}

impl Client {
    fn to(endpoint: &str) -> Result<Self, TracesError> {
        let builder = reqwest::Client::builder().timeout(ANSWER);
        let builder = if endpoint.starts_with("https://") {
            builder.use_preconfigured_tls(TlsFiles::default().client_config()?)
        } else {
            builder
        };
        Ok(Self { runtime: Handle::current(), client: builder.build()? })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        });
        let (status, body) = sent.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}
