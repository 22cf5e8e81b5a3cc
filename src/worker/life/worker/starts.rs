//! The way of a start message up to the claim: `recipe.rs`, `claim.rs`, `settle.rs`.

use std::rc::Rc;

use super::{Claimed, Tenure, Worker, event, incoming, step};
use crate::job::{RunId, Verdict};
use crate::storage::{JobRecord, RecordState};
use crate::worker::decide::{self, ClaimDecision, Incoming, Standing};
use crate::worker::life::world::{Message, Start};

enum Claim {
    Taken(Claimed),
    Cancelled(Claimed),
    Republish(JobRecord),
    Duplicate(JobRecord),
    TooLate,
}

impl Worker {
    pub(super) async fn take_starts(self) {
        loop {
            step().await;
            let Some(tenure) = self.mind.home.borrow().clone() else { continue };
            let is_start = |message: &Message| matches!(message, Message::Start(_));
            let delivered = self.world().deliver(self.me, is_start);
            if let Some((tag, Message::Start(start))) = delivered {
                self.spawn(self.clone().follow_start(tenure, tag, start));
            }
        }
    }

    async fn follow_start(self, tenure: Rc<Tenure>, tag: u64, start: Start) {
        let guard = match self.begin(&start.run) {
            Ok(guard) => guard,
            Err(active) => {
                let is_claimed = active.claimed.borrow().is_some();
                if !is_claimed
                    || active.ended.get()
                    || (active.stop.get() && active.run != start.run)
                {
                    return self.later(tag, start).await;
                }
                return self.not_again(tag, start, &active.run).await;
            }
        };
        match self.claim(&tenure, &start).await {
            Claim::Taken(claimed) => {
                guard.active.claimed.replace(Some(Rc::clone(&tenure)));
                step().await;
                self.world().ack(self.me, tag);
                self.run_claimed(claimed, None, guard).await;
            }
            Claim::Cancelled(claimed) => {
                guard.active.claimed.replace(Some(Rc::clone(&tenure)));
                step().await;
                self.world().ack(self.me, tag);
                let result = self.result(&claimed.record, claimed.attempt, Verdict::Cancelled);
                self.settle(claimed, result, None, guard).await;
            }
            Claim::TooLate => {
                self.let_go(&tenure);
                self.world().requeue(tag);
            }
            Claim::Republish(record) => {
                step().await;
                self.publish(&record);
                step().await;
                self.world().ack(self.me, tag);
            }
            Claim::Duplicate(record) => {
                step().await;
                let stop = self.world().tombstone.clone();
                let stops = stop.is_some_and(|stop| decide::is_stopping(&stop, &record));
                if stops && record.run_id != start.run {
                    return self.later(tag, start).await;
                }
                self.not_again(tag, start, &record.run_id).await;
            }
        }
    }

    async fn later(&self, tag: u64, start: Start) {
        step().await;
        self.world().put_aside(start);
        step().await;
        self.world().ack(self.me, tag);
    }

    async fn not_again(&self, tag: u64, start: Start, by: &RunId) {
        step().await;
        // In one step here, though a worker may die in between: the end of a run that has no record
        // cannot be remembered, so its start may come again and then run after all.
        if start.run != *by && start.attempt > 1 {
            let record = self.new_record(&Tenure::nobodys(), &start);
            let result = self.result(&record, start.attempt, Verdict::Cancelled);
            *self.world().told_unclaimed.entry(start.run.clone()).or_default() += 1;
            self.world().tell(&event(result));
        } else if start.run != *by {
            self.world().duplicates.insert(start.run.clone());
        }
        self.world().ack(self.me, tag);
    }

    async fn claim(&self, tenure: &Rc<Tenure>, start: &Start) -> Claim {
        let incoming = incoming(start);
        let record = self.new_record(tenure, start);
        let mut is_entered = false;
        loop {
            step().await;
            let existing = self.world().read();
            let decided = self.decision(existing.as_ref().map(|(old, _)| old), &incoming).await;
            if let Some((old, _)) = &existing
                && decided != ClaimDecision::Take
            {
                if is_entered && old.segment != tenure.segment {
                    step().await;
                    self.world().index.remove(&tenure.segment);
                }
                let old = old.clone();
                return match decided {
                    ClaimDecision::Republish => Claim::Republish(old),
                    ClaimDecision::Duplicate | ClaimDecision::Take => Claim::Duplicate(old),
                };
            }
            if let Some((old, _)) = &existing
                && old.state == RecordState::Finished
            {
                step().await;
                let is_indexed = self.world().index.contains(&old.segment);
                if is_indexed {
                    step().await;
                    self.publish(old);
                }
            }
            step().await;
            self.world().index.insert(tenure.segment);
            is_entered = true;
            let seen = existing.map(|(_, seen)| seen);
            let Some(version) = self.insist(&record, seen).await else { continue };
            step().await;
            let owner = self.world().owners[tenure.segment as usize];
            step().await;
            let stop = self.world().tombstone.clone();
            if owner.epoch != tenure.epoch {
                return Claim::TooLate;
            }
            let (tenure, attempt) = (Rc::clone(tenure), start.attempt);
            let claimed = Claimed { tenure, record, version, attempt };
            let now = self.world().now();
            return match stop {
                Some(stop) if decide::cancels(&stop, &incoming, now) => Claim::Cancelled(claimed),
                _ => Claim::Taken(claimed),
            };
        }
    }

    async fn decision(&self, existing: Option<&JobRecord>, incoming: &Incoming) -> ClaimDecision {
        let standing = match existing {
            Some(record) if record.state == RecordState::Active => {
                step().await;
                let owner = self.world().owners[record.segment as usize];
                step().await;
                let is_indexed = self.world().index.contains(&record.segment);
                decide::standing(record, Some(owner.epoch), is_indexed)
            }
            Some(record) if record.state == RecordState::Waiting => {
                step().await;
                let is_indexed = self.world().index.contains(&record.segment);
                if is_indexed { Standing::Theirs } else { Standing::Orphaned }
            }
            _ => Standing::Theirs,
        };
        decide::claim(existing, incoming, standing)
    }
}
