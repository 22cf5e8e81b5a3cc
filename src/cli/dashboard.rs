//! `longshore dashboard`.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::output::{Format, print, print_json_line, warn};
use super::signals::interrupted;
use super::telemetry::Voice;
use super::{Context, Failure, Outcome};
use crate::broker::Broker;
use crate::http::{self, Readiness};
use crate::settings::is_loopback_host;
use crate::storage::S3Store;

/// Serve a page that shows workers, jobs, live logs and dead letters.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore dashboard
  longshore dashboard --listen 127.0.0.1:9000
  HTTP_TOKEN=… longshore dashboard --listen 0.0.0.0:8090

It prints an address. Open it in a browser: the token that the page needs is behind the #. A new
token is made each time, unless HTTP_TOKEN is set. It needs the broker and the store, and no engine.
A worker with HTTP_TOKEN serves the same page on HTTP_LISTEN.")]
pub struct DashboardArguments {
    /// Where to listen; an address beyond the loopback needs a token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// How to print the address
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) async fn run(arguments: &DashboardArguments, context: &Context) -> Outcome {
    let (broker, store, mut http) =
        context.settings(Voice::Tool, |reader| (reader.broker(), reader.store(), reader.http()))?;
    let is_given = http.token.is_some();
    if !is_given && !is_loopback_host(&arguments.listen.ip().to_string()) {
        return Err(Failure::Usage(format!(
            "others can reach {}: set HTTP_TOKEN, or listen on 127.0.0.1",
            arguments.listen
        )));
    }
    let token = http.token.get_or_insert_with(new_token).clone();
    http.listen = arguments.listen;
    let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
    let readiness = Readiness::default();
    readiness.watch_store(Arc::new(S3Store::new(&store)?));
    readiness.watch_broker(Broker::connect(&broker, "longshore dashboard", &closing)?);
    let serving = http::serve_dashboard(&http, &readiness, &tasks, closing.clone()).await;
    let (address, serving) = serving.map_err(|error| {
        Failure::of(format!("cannot listen on {} (--listen): {error}", arguments.listen))
    })?;
    // The operator has HTTP_TOKEN already, and it would stay in the terminal's history.
    let url = if is_given {
        format!("http://{address}/")
    } else {
        format!("http://{address}/#token={token}")
    };
    match arguments.output {
        Format::Text => print(&url)?,
        Format::Json => print_json_line(&json!({ "url": url, "address": address }))?,
    }
    if arguments.output == Format::Text {
        let token = if is_given { " and enter HTTP_TOKEN" } else { "" };
        warn(&format!("open this address{token}; Ctrl-C ends it"));
    }
    let ending = async {
        interrupted().await;
        closing.cancel();
    };
    tokio::join!(serving, ending);
    Ok(0)
}

/// 244 random bits.
fn new_token() -> String {
    [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()].map(|id| id.simple().to_string()).concat()
}
