//! Which segments a worker has: `adopt.rs`, `segment.rs`.

use std::cell::Cell;
use std::rc::Rc;

use super::{Tenure, Worker, step};
use crate::worker::life::world::SEGMENTS;

impl Worker {
    pub(super) async fn keep_home(self) {
        loop {
            let tenure = self.find_home().await;
            self.mind.home.replace(Some(Rc::clone(&tenure)));
            while !tenure.over.get() {
                step().await;
            }
        }
    }

    pub(super) async fn find_home(&self) -> Rc<Tenure> {
        loop {
            for segment in 0..u32::try_from(SEGMENTS).unwrap() {
                if !self.owns(segment)
                    && let Some(tenure) = self.look(segment, true).await
                {
                    self.settle_in(&tenure).await;
                    return tenure;
                }
            }
            step().await;
        }
    }

    pub(super) async fn watch_others(self) {
        loop {
            for segment in 0..u32::try_from(SEGMENTS).unwrap() {
                step().await;
                let home = self.mind.home.borrow().clone();
                let Some(home) = home else { continue };
                let ours = self.mind.tenures.borrow().get(&segment).cloned();
                match ours {
                    None => {
                        if let Some(tenure) = self.look(segment, false).await {
                            let worker = self.clone();
                            self.spawn(async move { worker.settle_in(&tenure).await });
                        }
                    }
                    Some(tenure) if tenure.settled_in.get() => {
                        let is_left = self.mind.active.borrow().is_none();
                        let is_indexed = self.world().index.contains(&segment);
                        if is_indexed && is_left {
                            self.recover(&tenure).await;
                        }
                        step().await;
                        let is_idle = !self.world().index.contains(&segment);
                        if is_idle && tenure.segment != home.segment {
                            step().await;
                            self.let_go(&tenure);
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }

    pub(super) fn let_go(&self, tenure: &Tenure) {
        self.remove(tenure);
        let mut world = self.world();
        let lock = &mut world.locks[tenure.segment as usize];
        *lock = lock.filter(|holder| *holder != self.me);
        world.proofs.remove(&(tenure.segment, self.me));
        let owner = &mut world.owners[tenure.segment as usize];
        owner.is_released |= owner.epoch == tenure.epoch;
    }

    /// Looks at a segment and takes it where that may be.
    pub(super) async fn look(&self, segment: u32, needs_one: bool) -> Option<Rc<Tenure>> {
        step().await;
        let seen = self.world().owners[segment as usize];
        step().await;
        let is_empty = !self.world().index.contains(&segment);
        if is_empty && !needs_one {
            return None;
        }
        let may_come_back = seen.epoch > 0 && !seen.is_released;
        let needs_wait =
            (!is_empty || may_come_back) && !self.world().is_dead_neighbour(segment, self.me);
        step().await;
        if !self.world().lock(segment, self.me, needs_wait) {
            return None;
        }
        step().await;
        let owned = self.world().own(segment, seen.epoch, self.me);
        let epoch = owned?;
        step().await;
        if self.world().locks[segment as usize] != Some(self.me) {
            return None;
        }
        let (over, settled_in) = (Cell::new(false), Cell::new(false));
        Some(Rc::new(Tenure { segment, epoch, over, settled_in }))
    }

    pub(super) async fn settle_in(&self, tenure: &Rc<Tenure>) {
        self.mind.tenures.borrow_mut().insert(tenure.segment, Rc::clone(tenure));
        self.spawn(self.clone().hold(Rc::clone(tenure)));
        self.recover(tenure).await;
        tenure.settled_in.set(true);
        self.spawn(self.clone().take_mailbox(Rc::clone(tenure)));
    }

    /// Regains a lock that was lost, where nobody else has taken the segment meanwhile.
    pub(super) async fn hold(self, tenure: Rc<Tenure>) {
        let slot = tenure.segment as usize;
        while !tenure.over.get() {
            step().await;
            if self.world().locks[slot] == Some(self.me) {
                self.world().proofs.insert((tenure.segment, self.me));
                continue;
            }
            step().await;
            if self.world().owners[slot].epoch != tenure.epoch {
                self.remove(&tenure);
            } else if !tenure.over.get() && self.world().locks[slot].is_none() {
                self.world().locks[slot] = Some(self.me);
                step().await;
                // Looked at once more while the lock is ours.
                if self.world().owners[slot].epoch != tenure.epoch {
                    self.let_go(&tenure);
                }
            }
        }
    }

    pub(super) fn remove(&self, tenure: &Tenure) {
        let mut tenures = self.mind.tenures.borrow_mut();
        if tenures.get(&tenure.segment).is_some_and(|ours| ours.epoch == tenure.epoch) {
            tenures.remove(&tenure.segment);
        }
        let mut home = self.mind.home.borrow_mut();
        if home.as_ref().is_some_and(|home| std::ptr::eq(&raw const **home, tenure)) {
            *home = None;
        }
        tenure.over.set(true);
    }
}
