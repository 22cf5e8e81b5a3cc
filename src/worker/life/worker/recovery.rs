//! What is left of others: `recover.rs`, `sweep.rs`.

use std::rc::Rc;

use super::{Claimed, Tenure, Worker, step};
use crate::job::Verdict;
use crate::storage::{JobRecord, RecordState};
use crate::worker::decide;
use crate::worker::life::world::Container;
use crate::worker::segment::continuation::{Continuation, continuation};
use crate::worker::segment::sweep::{Kind, Left, is_orphan};

impl Worker {
    pub(super) async fn recover(&self, tenure: &Rc<Tenure>) {
        step().await;
        let engine = self.world().places[self.me].engine.clone();
        let mut found = self.world().containers.clone();
        found.retain(|one| one.segment == tenure.segment && one.engine == engine);
        found.sort_by_key(|one| one.attempt);
        step().await;
        if self.mind.active.borrow().is_some() {
            return;
        }
        if !self.world().index.contains(&tenure.segment) {
            return self.remove_unknown(found).await;
        }
        step().await;
        let ours = self.world().read().filter(|(record, _)| record.segment == tenure.segment);
        if ours.as_ref().is_some_and(|(record, _)| record.epoch > tenure.epoch) {
            return;
        }
        let run = ours.as_ref().map(|(record, _)| record.run_id.clone());
        let newest = found.iter().rposition(|one| Some(&one.run) == run.as_ref());
        let container = newest.map(|newest| found.remove(newest));
        match ours {
            Some((record, version)) if record.state != RecordState::Finished => {
                self.take_up(tenure, record, version, container).await;
            }
            finished => {
                if let Some(container) = container {
                    step().await;
                    self.world().remove(container.id);
                }
                step().await;
                if let Some((record, _)) = finished {
                    self.publish(&record);
                }
                self.leave_index(tenure).await;
            }
        }
        self.remove_unknown(found).await;
    }

    async fn remove_unknown(&self, found: Vec<Container>) {
        for one in found {
            step().await;
            let is_active = self.mind.active.borrow().is_some();
            if !is_active {
                self.world().remove(one.id);
            }
        }
    }

    async fn take_up(
        &self,
        tenure: &Rc<Tenure>,
        record: JobRecord,
        version: u64,
        container: Option<Container>,
    ) {
        let Ok(guard) = self.begin(&record.run_id) else { return };
        let left = container.as_ref().map(|one| ("it", one.state, one.attempt));
        let next = continuation(&self.world().job, &record, left);
        let (attempt, epoch) = (record.attempt, tenure.epoch);
        let mut claimed = Claimed { tenure: Rc::clone(tenure), record, version, attempt };
        let make_ours = |record: &mut JobRecord| {
            record.epoch = epoch;
            record.state = RecordState::Active;
        };
        if !self.write(&mut claimed, make_ours).await {
            return;
        }
        guard.active.claimed.replace(Some(Rc::clone(tenure)));
        step().await;
        let stop = self.world().tombstone.clone();
        if stop.is_some_and(|stop| decide::ends(&stop, &claimed.record)) {
            guard.active.stop.set(true);
        }
        if let Some(container) = &container
            && !matches!(next, Continuation::Adopt { .. })
        {
            step().await;
            self.world().remove(container.id);
        }
        let (adopted, attempt) = match next {
            Continuation::Adopt { attempt, .. } => (container.map(|one| one.id), attempt),
            Continuation::Launch { attempt } => (None, attempt),
            Continuation::Lost => {
                let result = self.result(&claimed.record, claimed.attempt, Verdict::Lost);
                return self.settle(claimed, result, None, guard).await;
            }
        };
        claimed.attempt = attempt;
        let worker = self.clone();
        self.spawn(async move { worker.run_claimed(claimed, adopted, guard).await });
    }

    pub(super) async fn sweep(self) {
        loop {
            step().await;
            let place = self.world().places[self.me].clone();
            let mut found = self.world().containers.clone();
            found.retain(|one| one.engine == place.engine);
            for one in found {
                step().await;
                let record = self.world().read().map(|(record, _)| record);
                let left = Left { run: &one.run, attempt: one.attempt, kind: Kind::Container };
                let is_active = self.mind.active.borrow().is_some();
                if !is_active && is_orphan(record.as_ref(), &left, &place, self.world().now()) {
                    step().await;
                    self.world().remove(one.id);
                }
            }
        }
    }
}
