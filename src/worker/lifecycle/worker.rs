//! A worker that takes messages, and its drain.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{BrokerError, Flow, Inbox};
use crate::worker::context::Context;
use crate::worker::message::intake::{STOP_PREFETCH, take_starts, take_stops, take_undelivered};
use crate::worker::run::outbox;
use crate::worker::segment::{adopt, sweep};

/// How long the last log lines and events may take once everything else has ended.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_secs(15);

/// A worker that takes messages.
pub(in crate::worker) struct Worker {
    ctx: Arc<Context>,
}

impl Worker {
    /// Claims a segment, adopts what is there and begins to take messages. Background work is
    /// spawned on `tasks`, some of it until `closing`. `None`: the shutdown came first.
    ///
    /// # Errors
    /// If the broker's objects do not fit.
    pub(in crate::worker) async fn begin(
        ctx: Arc<Context>,
        unconfirmed: outbox::Incoming,
        (tasks, closing): (&TaskTracker, &CancellationToken),
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, BrokerError> {
        let Some(found) = shutdown.run_until_cancelled(Box::pin(adopt::find_home(&ctx))).await
        else {
            ctx.drain.release_segments().await;
            return Ok(None);
        };
        found?;
        let worker = Self { ctx };
        worker.keep_segments(tasks);
        worker.publish_again(tasks, unconfirmed, closing);
        worker.take_messages();
        Ok(Some(worker))
    }

    /// Looks after segments: its own, those of dead workers, and orphans of runs.
    fn keep_segments(&self, tasks: &TaskTracker) {
        let until = self.ctx.drain.no_more_segments();
        let ctx = || Arc::clone(&self.ctx);
        tasks.spawn(until.clone().run_until_cancelled_owned(adopt::keep_home(ctx())));
        tasks.spawn(until.clone().run_until_cancelled_owned(adopt::watch_others(ctx())));
        tasks.spawn(until.clone().run_until_cancelled_owned(sweep::sweep_now_and_then(ctx())));
    }

    /// Publishes again what the broker has not confirmed, until `closing`.
    fn publish_again(
        &self,
        tasks: &TaskTracker,
        unconfirmed: outbox::Incoming,
        closing: &CancellationToken,
    ) {
        let (ctx, closing) = (Arc::clone(&self.ctx), closing.clone());
        tasks.spawn(async move {
            closing.run_until_cancelled(ctx.tools.outbox.publish_again(unconfirmed)).await;
        });
    }

    fn take_messages(&self) {
        let Context { tools, drain, .. } = &*self.ctx;
        let consumer =
            |inbox, flow| tools.broker.consumer(inbox, flow, drain.no_more_messages().clone());
        let ctx = || Arc::clone(&self.ctx);
        for long_running in [false, true] {
            let starts = consumer(Inbox::of_start(long_running), Flow::OnDemand);
            drain.spawn_intake(take_starts(ctx(), starts, long_running));
        }
        // Also during a drain: runs can be stopped until they are left to the next owner.
        let until = drain.detached().clone();
        let stops = tools.broker.consumer(Inbox::Stop, Flow::Prefetch(STOP_PREFETCH), until);
        drain.spawn_holder(take_stops(ctx(), stops));
        let undelivered = consumer(Inbox::Undelivered, Flow::Prefetch(1));
        drain.spawn_intake(take_undelivered(ctx(), undelivered));
    }

    /// Accepts no more, waits for terminating runs within the grace, and releases the rest.
    pub(in crate::worker) async fn drain(self, grace: Duration) {
        let Context { tools, known, drain } = &*self.ctx;
        tracing::info!(
            active = known.active.len(),
            grace_seconds = grace.as_secs(),
            "draining: taking no more starts"
        );
        if timeout(FLUSH_TIMEOUT, drain.stop_intake()).await.is_err() {
            tracing::warn!("the broker did not confirm in time that it sends no more messages");
        }
        if timeout(grace, drain.wait_for_terminating()).await.is_err() {
            tracing::warn!(
                left = drain.terminating_left(),
                "the drain took too long; left terminating runs to the segment's next owner"
            );
        }
        let flush = async {
            drain.detach().await;
            known.gate.rest().await;
            tools.publisher.tracker.close();
            tools.publisher.tracker.wait().await;
        };
        let (flushed, shipped) =
            tokio::join!(timeout(FLUSH_TIMEOUT, flush), tools.runner.stop_logs(FLUSH_TIMEOUT));
        if flushed.is_err() || !shipped {
            tracing::warn!("some log lines or events did not reach their place in time");
        }
        // Last, because the next owner begins at once.
        if timeout(FLUSH_TIMEOUT, drain.release_segments()).await.is_err() {
            tracing::warn!("could not release the segments in order");
        }
        drain.give_up();
        tools.broker.close().await;
    }
}
