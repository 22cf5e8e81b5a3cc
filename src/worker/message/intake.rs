//! Takes messages from the queues: a slot first, then a look whether we can work, then a delivery.

use std::sync::Arc;

use super::stop::follow_stop;
use crate::broker::Consumer;
use crate::worker::context::Context;
use crate::worker::recipe::follow_start;

/// Takes start messages of one kind until shutdown.
///
/// The consumer gives one message for each call and takes none in between, so no message ever waits
/// in a worker that cannot run it while another worker could.
pub(in crate::worker) async fn take_starts(
    ctx: Arc<Context>,
    mut consumer: Consumer,
    long_running: bool,
) {
    let intake = async {
        while let Some(slot) = ctx.known.slots.take(long_running).await {
            ctx.known.gate.pass().await;
            let tenure = ctx.known.tenures.home().await;
            let delivery = tokio::select! {
                delivery = consumer.next() => delivery,
                () = tenure.over().cancelled() => continue,
            };
            let Some(delivery) = delivery else {
                return;
            };
            let follow = follow_start(Arc::clone(&ctx), tenure, delivery, slot);
            ctx.drain.spawn_run(long_running, follow);
        }
    };
    ctx.drain.no_more_messages().run_until_cancelled(intake).await;
    consumer.close().await;
}

/// Takes stop messages, from the shared queue or our mailbox, until shutdown.
pub(in crate::worker) async fn take_stops(ctx: Arc<Context>, mut consumer: Consumer) {
    while let Some(delivery) = consumer.next().await {
        follow_stop(&ctx, delivery).await;
    }
    consumer.close().await;
}
