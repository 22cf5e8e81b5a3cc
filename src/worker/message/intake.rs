//! Takes messages from the queues: a slot first, then a look whether we can work, then a delivery.

use std::sync::Arc;

use super::stop::follow_stop;
use super::undelivered::follow_undelivered;
use crate::broker::{Consumer, Delivery};
use crate::worker::context::{Context, Known};
use crate::worker::ownership::tenure::Tenure;
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
            let Some((tenure, delivery)) = next(&ctx.known, &mut consumer).await else {
                return;
            };
            let follow = follow_start(Arc::clone(&ctx), tenure, delivery, slot);
            ctx.drain.spawn_run(long_running, follow);
        }
    };
    ctx.drain.no_more_messages().run_until_cancelled(intake).await;
    consumer.close().await;
}

/// Takes starts that the broker gave up on, one after the other, until shutdown.
pub(in crate::worker) async fn take_undelivered(ctx: Arc<Context>, mut consumer: Consumer) {
    let intake = async {
        while let Some((tenure, delivery)) = next(&ctx.known, &mut consumer).await {
            follow_undelivered(&ctx, &tenure, delivery).await;
        }
    };
    ctx.drain.no_more_messages().run_until_cancelled(Box::pin(intake)).await;
    consumer.close().await;
}

/// Takes stop messages, from the shared queue or our mailbox, until shutdown.
pub(in crate::worker) async fn take_stops(ctx: Arc<Context>, mut consumer: Consumer) {
    while let Some(delivery) = consumer.next().await {
        follow_stop(&ctx, delivery).await;
    }
    consumer.close().await;
}

/// The next delivery, taken once we can work, and the segment that it goes to. `None`: no more come.
async fn next(known: &Known, consumer: &mut Consumer) -> Option<(Arc<Tenure>, Delivery)> {
    loop {
        known.gate.pass().await;
        let tenure = known.tenures.home().await;
        tokio::select! {
            delivery = consumer.next() => return delivery.map(|delivery| (tenure, delivery)),
            () = tenure.over().cancelled() => {}
        }
    }
}
