//! Takes messages from the queues: first a slot, then a check whether we can work, then a delivery.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::stop::{StopMessage, UnreadStop};
use super::undelivered::follow_undelivered;
use crate::broker::{Delivery, MessageConsumer, MessageProperties};
use crate::job::JobId;
use crate::traces::Trace;
use crate::worker::context::{Context, Known};
use crate::worker::ownership::tenure::Tenure;
use crate::worker::recipe::follow_start;

/// How many stop messages of a queue may be unsettled on this worker at a time.
pub(in crate::worker) const STOP_PREFETCH: u16 = 64;

/// Takes start messages of one kind until shutdown.
///
/// The consumer returns one message for each call and takes none in between. So no message waits in
/// a worker that cannot run it while another worker could.
pub(in crate::worker) async fn take_starts(
    ctx: Arc<Context>,
    mut consumer: Box<dyn MessageConsumer>,
    long_running: bool,
) {
    let intake = async {
        while let Some(slot) = ctx.known.slots.take(long_running).await {
            let slot = slot.with(ctx.known.gate.pass(long_running).await);
            let revoked = ctx.known.gate.revoked(slot.is_trial());
            let (tenure, delivery) = match next(&ctx.known, &mut *consumer, revoked).await {
                Next::Came(tenure, delivery) => (tenure, *delivery),
                Next::CannotWork => continue,
                Next::NoMore => return,
            };
            let MessageProperties { traceparent, message_id, .. } = &delivery.properties;
            let trace = Trace::begin("run of a job", traceparent.as_deref(), message_id.as_deref());
            let follow = follow_start(Arc::clone(&ctx), tenure, delivery, slot.occupied());
            ctx.drain.spawn_run(long_running, trace.follow(follow));
        }
    };
    ctx.drain.no_more_messages().run_until_cancelled(intake).await;
    consumer.close().await;
}

/// Takes starts that the broker gave up, one after the other, until shutdown.
pub(in crate::worker) async fn take_undelivered(
    ctx: Arc<Context>,
    mut consumer: Box<dyn MessageConsumer>,
) {
    let intake = async {
        loop {
            ctx.known.gate.can_work().await;
            let revoked = ctx.known.gate.revoked(true);
            let (tenure, delivery) = match next(&ctx.known, &mut *consumer, revoked).await {
                Next::Came(tenure, delivery) => (tenure, *delivery),
                Next::CannotWork => continue,
                Next::NoMore => return,
            };
            follow_undelivered(&ctx, &tenure, delivery).await;
        }
    };
    ctx.drain.no_more_messages().run_until_cancelled(Box::pin(intake)).await;
    consumer.close().await;
}

/// Takes stop messages, from the shared queue or our mailbox, until shutdown. A run on this worker
/// is asked at once, also while the store hangs. Stops of one job follow each other, and those of
/// different jobs do not wait for each other.
pub(in crate::worker) async fn take_stops(
    ctx: Arc<Context>,
    mut consumer: Box<dyn MessageConsumer>,
) {
    let mut lanes: BTreeMap<JobId, VecDeque<StopMessage>> = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    let mut unsettled = 0_u16;
    loop {
        tokio::select! {
            biased;
            Some(id) = under_way.next() => {
                unsettled -= 1;
                let Some(id) = id else { continue };
                if let Some(next) = lanes.get_mut(&id).and_then(VecDeque::pop_front) {
                    under_way.push(follow_or_reject(&ctx, Ok(next)));
                } else {
                    lanes.remove(&id);
                }
            }
            delivery = consumer.next(), if unsettled < STOP_PREFETCH => {
                let Some(delivery) = delivery else { break };
                unsettled += 1;
                match StopMessage::read(&ctx, delivery) {
                    Ok(stop) => match lanes.entry(stop.id().clone()) {
                        Entry::Occupied(mut lane) => lane.get_mut().push_back(stop),
                        Entry::Vacant(lane) => {
                            lane.insert(VecDeque::new());
                            under_way.push(follow_or_reject(&ctx, Ok(stop)));
                        }
                    },
                    Err(refused) => under_way.push(follow_or_reject(&ctx, Err(refused))),
                }
            }
        }
    }
    // What waits behind them was not acknowledged, and goes to another worker.
    while under_way.next().await.is_some() {}
    consumer.close().await;
}

/// Handles one stop message. Returns the job that it was about, if it could be read.
async fn follow_or_reject(
    ctx: &Context,
    stop: Result<StopMessage, Box<UnreadStop>>,
) -> Option<JobId> {
    match stop {
        Ok(stop) => {
            let id = stop.id().clone();
            stop.follow(ctx).await;
            Some(id)
        }
        Err(unread) => {
            unread.reject(&*ctx.tools.broker).await;
            None
        }
    }
}

/// What came of waiting for a delivery.
enum Next {
    /// It came, for a job of this segment.
    Came(Arc<Tenure>, Box<Delivery>),
    /// The worker may not take one any more.
    CannotWork,
    /// No more come.
    NoMore,
}

/// The next delivery, and its segment. While the worker has no segment or may not take a delivery,
/// none waits here that another worker could take.
async fn next(
    known: &Known,
    consumer: &mut dyn MessageConsumer,
    revoked: impl Future<Output = ()>,
) -> Next {
    tokio::pin!(revoked);
    loop {
        let tenure = known.tenures.home().await;
        let is_revoked = tokio::select! {
            biased;
            delivery = consumer.next() => {
                return delivery.map_or(Next::NoMore, |delivery| Next::Came(tenure, Box::new(delivery)));
            }
            () = tenure.over().cancelled() => false,
            () = &mut revoked => true,
        };
        consumer.pause().await;
        if is_revoked {
            return Next::CannotWork;
        }
    }
}
