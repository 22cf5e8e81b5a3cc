//! A claimed run up to its end: `recipe.rs`, `execute.rs`, `account.rs`, `ending.rs`, and the runner.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::{Active, Claimed, Guard, Tenure, Worker, event, step};
use crate::job::{ExecutionResult, Verdict};
use crate::runner::orchestrator::ContainerState;
use crate::storage::{JobRecord, RecordState};
use crate::worker::decide::{self, NextStep};
use crate::worker::life::world::{Ended, Start};

enum Executed {
    Ended(Box<ExecutionResult>, Option<u64>),
    Failed(u32),
    TakenOver,
}

impl Worker {
    pub(super) async fn run_claimed(&self, claimed: Claimed, adopted: Option<u64>, guard: Guard) {
        let mut claimed = claimed;
        let tenure = Rc::clone(&claimed.tenure);
        let executed = {
            let mut executing = Box::pin(self.execute(&mut claimed, adopted, &guard.active));
            poll_fn(|context| match executing.as_mut().poll(context) {
                Poll::Pending if tenure.over.get() => Poll::Ready(Executed::TakenOver),
                polled => polled,
            })
            .await
        };
        match executed {
            Executed::TakenOver => {}
            Executed::Ended(result, container) => {
                self.settle(claimed, *result, container, guard).await;
            }
            Executed::Failed(attempt) => {
                let most = self.world().job.max_attempts;
                if decide::may_retry(attempt, most) {
                    return self.retry(claimed, attempt, guard).await;
                }
                let result = self.result(&claimed.record, attempt, Verdict::Unavailable);
                self.settle(claimed, result, None, guard).await;
            }
        }
    }

    /// Writes the record in the place of our own last one.
    pub(super) async fn write(
        &self,
        claimed: &mut Claimed,
        change: impl FnOnce(&mut JobRecord),
    ) -> bool {
        let mut record = claimed.record.clone();
        change(&mut record);
        let written = self.insist(&record, Some(claimed.version)).await;
        if let Some(version) = written {
            (claimed.record, claimed.version) = (record, version);
        }
        written.is_some()
    }

    /// Writes until there is an answer. Where something else is there, it may be what we wrote
    /// ourselves, at a try that got no answer.
    pub(super) async fn insist(&self, record: &JobRecord, seen: Option<u64>) -> Option<u64> {
        let written = loop {
            step().await;
            let fault = self.world().faults[self.me].take();
            if fault != Some(false) {
                let written = self.world().write(record, seen);
                if fault.is_none() {
                    break written;
                }
            }
        };
        if written.is_some() {
            return written;
        }
        step().await;
        let found = self.world().read();
        found.filter(|(found, _)| decide::follows(found, record)).map(|(_, version)| version)
    }

    pub(super) async fn settle(
        &self,
        mut claimed: Claimed,
        result: ExecutionResult,
        container: Option<u64>,
        guard: Guard,
    ) {
        let was_stopped = result.verdict.is_some_and(Verdict::was_asked_for);
        let (event, now) = (event(result), self.world().now());
        let finish = |record: &mut JobRecord| {
            record.state = RecordState::Finished;
            record.finished_at = Some(now);
            record.result = Some(event);
        };
        if !self.write(&mut claimed, finish).await {
            return;
        }
        guard.active.ended.set(true);
        step().await;
        self.publish(&claimed.record);
        step().await;
        if let Some(container) = container {
            self.world().remove(container);
        }
        step().await;
        if was_stopped {
            self.world().tombstone = None;
        }
        self.leave_index(&claimed.tenure).await;
    }

    async fn retry(&self, mut claimed: Claimed, attempt: u32, guard: Guard) {
        let aside = |record: &mut JobRecord| {
            record.state = RecordState::Waiting;
            record.attempt = attempt + 1;
        };
        if !self.write(&mut claimed, aside).await {
            return;
        }
        guard.active.ended.set(true);
        let record = &claimed.record;
        let published_at = record.message.published_at.map_or(0, jiff::Timestamp::as_second);
        let (run, attempt) = (record.run_id.clone(), record.attempt);
        step().await;
        self.world().put_aside(Start { run, attempt, published_at });
        self.leave_index(&claimed.tenure).await;
    }

    /// Takes the job out of a segment's index, while that is shown to be ours.
    pub(super) async fn leave_index(&self, tenure: &Tenure) {
        while !tenure.over.get() {
            step().await;
            if self.is_proven(tenure) {
                self.world().index.remove(&tenure.segment);
                return;
            }
        }
    }

    async fn execute(
        &self,
        claimed: &mut Claimed,
        mut adopted: Option<u64>,
        active: &Active,
    ) -> Executed {
        let mut last: Option<ExecutionResult> = None;
        loop {
            if adopted.is_none() && !self.begin_attempt(claimed, active).await {
                return Executed::TakenOver;
            }
            if let Some(last) = last
                && active.stop.get()
                && adopted.is_none()
            {
                let stopped = ExecutionResult { verdict: Some(Verdict::Stopped), ..last };
                return Executed::Ended(Box::new(stopped), None);
            }
            let container = match adopted.take() {
                Some(container) => container,
                None => match self.launch(claimed, active).await {
                    Ok(container) => container,
                    Err(executed) => return executed,
                },
            };
            let Some(ended) = self.wait(container, active).await else {
                return Executed::Failed(claimed.attempt);
            };
            let verdict = match ended {
                _ if active.stop.get() => Verdict::Stopped,
                Ended::Unheard => Verdict::Lost,
                Ended::ByItself | Ended::AsAsked => Verdict::Succeeded,
            };
            let result = self.result(&claimed.record, claimed.attempt, verdict);
            let next = decide::after_end(&self.world().job, &result, decide::Tally::default());
            if next == NextStep::Settle {
                return Executed::Ended(Box::new(result), Some(container));
            }
            step().await;
            self.world().remove(container);
            claimed.attempt += 1;
            last = Some(result);
        }
    }

    /// Waits until an attempt may begin, and notes it; or until the run is asked to stop.
    async fn begin_attempt(&self, claimed: &mut Claimed, active: &Active) -> bool {
        loop {
            step().await;
            if active.stop.get() {
                return true;
            }
            if !self.is_proven(&claimed.tenure) {
                continue;
            }
            let (attempt, place) = (claimed.attempt, Some(self.world().places[self.me].clone()));
            let is_noted = claimed.record.attempt == attempt && claimed.record.place == place;
            let note = |record: &mut JobRecord| (record.attempt, record.place) = (attempt, place);
            return is_noted || self.write(claimed, note).await;
        }
    }

    async fn launch(&self, claimed: &Claimed, active: &Active) -> Result<u64, Executed> {
        step().await;
        if active.stop.get() {
            let result = self.result(&claimed.record, claimed.attempt, Verdict::Cancelled);
            return Err(Executed::Ended(Box::new(result), None));
        }
        let is_broken = std::mem::take(&mut self.world().broken_launches[self.me]);
        if is_broken || !self.is_proven(&claimed.tenure) {
            return Err(Executed::Failed(claimed.attempt));
        }
        let (run, attempt) = (&claimed.record.run_id, claimed.attempt);
        let container = self.world().create(run, attempt, claimed.tenure.segment, self.me);
        step().await;
        // The lease of one that starts too late has run out before it begins.
        if self.is_proven(&claimed.tenure) {
            self.world().start(container);
        }
        step().await;
        if !self.is_proven(&claimed.tenure) {
            self.world().remove(container);
            return Err(Executed::Failed(claimed.attempt));
        }
        Ok(container)
    }

    /// Waits for a container's end, and stops it where that is asked for. `None`: it is gone.
    async fn wait(&self, container: u64, active: &Active) -> Option<Ended> {
        loop {
            step().await;
            if active.stop.get() {
                self.world().end(Ended::AsAsked, |one| one.id == container);
            }
            step().await;
            let found = self.world().container(container).cloned()?;
            if found.state == ContainerState::Exited {
                return found.ended;
            }
        }
    }
}
