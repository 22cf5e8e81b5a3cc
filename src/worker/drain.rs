//! How a worker ends. Each step ends only what no later step needs.

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tokio_util::task::TaskTracker;

/// How a worker ends. Tasks of the worker are spawned here, and learn here when to stop. The steps
/// are taken in the order of the methods below. Each clone is the same drain.
#[derive(Debug, Clone, Default)]
pub(super) struct Drain {
    no_more_segments: CancellationToken,
    no_more_messages: CancellationToken,
    intakes: TaskTracker,
    terminating: TaskTracker,
    long_running: TaskTracker,
    detached: CancellationToken,
    released: CancellationToken,
    holders: TaskTracker,
    given_up: CancellationToken,
}

/// The steps.
impl Drain {
    /// Takes no more segments and no more starts. Returns when no task takes any more. Stops are taken until
    /// [`Drain::detach`].
    pub(super) async fn stop_intake(&self) {
        self.no_more_segments.cancel();
        self.no_more_messages.cancel();
        self.intakes.close();
        self.intakes.wait().await;
    }

    /// Returns when no terminating run is left.
    pub(super) async fn wait_for_terminating(&self) {
        self.terminating.close();
        self.terminating.wait().await;
    }

    /// How many terminating runs are left.
    pub(super) fn terminating_left(&self) -> usize {
        self.terminating.len()
    }

    /// Leaves every run to the segment's next owner. Returns when all runs are left alone.
    pub(super) async fn detach(&self) {
        self.detached.cancel();
        self.terminating.close();
        self.long_running.close();
        self.terminating.wait().await;
        self.long_running.wait().await;
    }

    /// Releases every segment. Returns when all are free.
    pub(super) async fn release_segments(&self) {
        self.released.cancel();
        self.holders.close();
        self.holders.wait().await;
    }

    /// Stops waiting for the broker. What it has not confirmed by now stays in the journal.
    pub(super) fn give_up(&self) {
        self.given_up.cancel();
    }
}

/// For the worker's tasks.
impl Drain {
    /// Spawns a task that takes messages until [`Drain::no_more_messages`].
    pub(super) fn spawn_intake(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.intakes.spawn(task);
    }

    /// Spawns a run of a kind: the drain waits for terminating ones, and leaves long-running ones at once.
    pub(super) fn spawn_run(
        &self,
        is_long_running: bool,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let runs = if is_long_running { &self.long_running } else { &self.terminating };
        runs.spawn(task);
    }

    /// Spawns a task that is given up when runs are left to the next owner of their segment.
    pub(super) fn spawn_errand(&self, task: impl Future<Output = ()> + Send + 'static) {
        let until = self.detached.clone();
        self.long_running.spawn(async move {
            until.run_until_cancelled(task).await;
        });
    }

    /// Spawns a task that holds a segment until [`Drain::released`], or takes stops until
    /// [`Drain::detached`].
    pub(super) fn spawn_holder(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.holders.spawn(task);
    }

    /// Cancelled when the worker takes no more segments.
    pub(super) fn no_more_segments(&self) -> &CancellationToken {
        &self.no_more_segments
    }

    /// Cancelled when the worker takes no more messages.
    pub(super) fn no_more_messages(&self) -> &CancellationToken {
        &self.no_more_messages
    }

    /// Cancelled when runs are left to the next owner of their segment.
    pub(super) fn detached(&self) -> &CancellationToken {
        &self.detached
    }

    /// Waits until the worker releases its segments.
    pub(super) fn released(&self) -> WaitForCancellationFuture<'_> {
        self.released.cancelled()
    }

    /// Cancelled when the worker stops waiting for the broker.
    pub(super) fn given_up(&self) -> &CancellationToken {
        &self.given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that goes on until `end`.
    fn until(end: &CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        end.clone().cancelled_owned()
    }

    async fn has_ended(step: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(std::time::Duration::from_secs(1), step).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_waits_for_its_own_tasks_alone() {
        let (drain, run, bot) =
            (Drain::default(), CancellationToken::new(), CancellationToken::new());
        drain.spawn_intake(until(drain.no_more_messages()));
        drain.spawn_run(false, until(&run));
        drain.spawn_run(true, until(&bot));
        let holder = drain.clone();
        drain.spawn_holder(async move { holder.released().await });

        assert!(has_ended(drain.stop_intake()).await);
        assert!(drain.no_more_segments().is_cancelled());
        assert!(!has_ended(drain.wait_for_terminating()).await);
        assert_eq!(drain.terminating_left(), 1);
        run.cancel();
        assert!(has_ended(drain.wait_for_terminating()).await, "a bot is not waited for");

        assert!(!has_ended(drain.detach()).await);
        bot.cancel();
        assert!(has_ended(drain.detach()).await);
        assert!(has_ended(drain.release_segments()).await);
        drain.give_up();
        assert!(drain.given_up().is_cancelled());
    }
}
