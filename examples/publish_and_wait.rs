//! Publishes a start message from a file and waits for its result.
//!
//! ```text
//! AMQP_URL=amqp://user:password@localhost:5672 cargo run --example publish_and_wait -- start.json
//! ```
//!
//! What a client in any language has to do is the same: bind a queue to the exchange of results
//! first, publish persistently with a message id and a confirm, then read until the job's result
//! is there. A worker must be running, or the result is a long time coming.

use anyhow::{Context, Result, bail};
use longshore::broker::{Binding, Broker, Feed, MessageOptions, SubscriptionError};
use longshore::job::{EventData, Executable, ExecutionResult};
use longshore::settings::{Loader, Reader, Sources};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).context("usage: publish_and_wait FILE")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let start: Executable =
        serde_json::from_str(&text).with_context(|| format!("{path} is not a start message"))?;

    let settings = Loader::new(Sources::of_process(None)).read(Reader::broker)?;
    let shutdown = CancellationToken::new();
    let broker = Broker::connect(&settings, "publish_and_wait", &shutdown)?;
    let result = run(&broker, &start, &shutdown).await;
    broker.close().await;

    let result = result?;
    anstream::println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}

async fn run(
    broker: &Broker,
    start: &Executable,
    shutdown: &CancellationToken,
) -> Result<ExecutionResult> {
    // Idempotent; it makes the example work where no worker has ever run.
    broker.declare_topology().await?;
    let bindings = [Feed::Status, Feed::Results].map(|feed| Binding::of_job(feed, &start.id));
    let mut events = broker.subscribe(bindings.to_vec(), shutdown.clone()).await?;

    // The same id again, after a crash of this program, would still be the same run.
    let message_id = uuid::Uuid::now_v7().to_string();
    let options = MessageOptions { message_id, ..Default::default() };
    broker.publish_start(start, &options).await?;

    while let Some(event) = events.next().await {
        match event {
            Ok(event) => match event.data {
                EventData::Status(status) => anstream::eprintln!("{}", status.state.as_str()),
                EventData::Result(result) => return Ok(result),
            },
            Err(error @ SubscriptionError::Undecodable { .. }) => anstream::eprintln!("{error}"),
            Err(error @ SubscriptionError::Gap { .. }) => bail!(error),
        }
    }
    bail!("the events ended")
}
