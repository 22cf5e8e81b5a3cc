//! The way of a start message up to the claim: `recipe.rs`, `claim.rs`, `earlier.rs`, `settle.rs`.

use std::rc::Rc;

use super::{Claimed, Tenure, Worker, event, incoming, step};
use crate::job::{Event, Verdict};
use crate::storage::{JobRecord, RecordState};
use crate::worker::decide::{self, ClaimDecision, Incoming, Standing};
use crate::worker::life::world::{Message, Start};

enum Claim {
    Taken(Claimed),
    Cancelled(Claimed),
    Republish(Option<Event>),
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
                if active.run == start.run {
                    return self.world().ack(self.me, tag);
                }
                step().await;
                let ended = self.world().ended.get(&start.run).cloned();
                return match ended {
                    Some(event) => self.republish(tag, Some(&event)).await,
                    None => self.tell_duplicate(tag, start).await,
                };
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
            Claim::Republish(event) => self.republish(tag, event.as_ref()).await,
            Claim::Duplicate(record) if record.run_id == start.run => {
                step().await;
                self.world().ack(self.me, tag);
            }
            Claim::Duplicate(record) => {
                step().await;
                let stop = self.world().tombstone.clone();
                if stop.is_some_and(|stop| decide::is_stopping(&stop, &record)) {
                    return self.later(tag, start).await;
                }
                self.tell_duplicate(tag, start).await;
            }
        }
    }

    async fn later(&self, tag: u64, start: Start) {
        step().await;
        self.world().put_aside(start);
        step().await;
        self.world().ack(self.me, tag);
    }

    async fn tell_duplicate(&self, tag: u64, start: Start) {
        step().await;
        self.world().duplicates.insert(start.run);
        step().await;
        self.world().ack(self.me, tag);
    }

    async fn republish(&self, tag: u64, event: Option<&Event>) {
        step().await;
        if let Some(event) = event {
            self.world().tell(event);
        }
        step().await;
        self.world().ack(self.me, tag);
    }

    async fn claim(&self, tenure: &Rc<Tenure>, start: &Start) -> Claim {
        let incoming = incoming(start);
        let mut is_entered = false;
        loop {
            step().await;
            let existing = self.world().read();
            let mut record = self.new_record(tenure, start);
            if let Some((old, _)) = &existing {
                if let Some(answer) = self.answer(old, &incoming).await {
                    if is_entered && old.segment != tenure.segment {
                        step().await;
                        self.world().index.remove(&tenure.segment);
                    }
                    return answer;
                }
                if old.run_id == start.run {
                    record.attempt = record.attempt.max(old.attempt);
                } else {
                    self.keep_end(old).await;
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
            let (tenure, attempt) = (Rc::clone(tenure), record.attempt);
            let claimed = Claimed { tenure, record, version, attempt };
            let now = self.world().now();
            return match stop {
                Some(stop) if decide::cancels(&stop, &incoming, now) => Claim::Cancelled(claimed),
                _ => Claim::Taken(claimed),
            };
        }
    }

    async fn answer(&self, record: &JobRecord, incoming: &Incoming) -> Option<Claim> {
        if record.run_id != incoming.run_id {
            step().await;
            let ended = self.world().ended.get(&incoming.run_id).cloned();
            if ended.is_some() {
                return Some(Claim::Republish(ended));
            }
        }
        let standing = self.standing(record).await;
        match decide::claim(record, incoming, standing) {
            ClaimDecision::Take => None,
            ClaimDecision::Republish => Some(Claim::Republish(record.result.clone())),
            ClaimDecision::Duplicate => Some(Claim::Duplicate(record.clone())),
        }
    }

    async fn standing(&self, record: &JobRecord) -> Standing {
        match record.state {
            RecordState::Active => {
                step().await;
                let owner = self.world().owners[record.segment as usize];
                step().await;
                let is_indexed = self.world().index.contains(&record.segment);
                decide::standing(record, Some(owner.epoch), is_indexed)
            }
            RecordState::Waiting => {
                step().await;
                let is_indexed = self.world().index.contains(&record.segment);
                if is_indexed { Standing::Theirs } else { Standing::Orphaned }
            }
            RecordState::Finished => Standing::Theirs,
        }
    }

    /// Before the record of a run gives way to another run's.
    async fn keep_end(&self, old: &JobRecord) {
        step().await;
        let Some(end) = &old.result else {
            let result = self.result(old, old.attempt, Verdict::Cancelled);
            self.world().ended.entry(old.run_id.clone()).or_insert_with(|| event(result));
            return;
        };
        self.world().ended.insert(old.run_id.clone(), end.clone());
        step().await;
        let is_indexed = self.world().index.contains(&old.segment);
        if is_indexed {
            step().await;
            self.publish(old);
        }
    }
}
