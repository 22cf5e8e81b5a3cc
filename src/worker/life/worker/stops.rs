//! The way of a stop message: `stop.rs`.

use std::rc::Rc;

use super::{Tenure, Worker, step};
use crate::storage::RecordState;
use crate::worker::life::tombstone;
use crate::worker::life::world::Message;

impl Worker {
    pub(super) async fn take_stops(self) {
        loop {
            step().await;
            let is_stop = |message: &Message| matches!(message, Message::Stop(_));
            let delivered = self.world().deliver(self.me, is_stop);
            if let Some((tag, Message::Stop(at))) = delivered {
                step().await;
                let stop = tombstone(&self.world().job, at);
                self.world().tombstone = Some(stop);
                self.follow_stop().await;
                step().await;
                self.world().ack(self.me, tag);
            }
        }
    }

    pub(super) async fn take_mailbox(self, tenure: Rc<Tenure>) {
        let is_meant =
            |message: &Message| matches!(message, Message::Forwarded(to) if *to == tenure.segment);
        while !tenure.over.get() {
            step().await;
            let delivered = self.world().deliver(self.me, is_meant);
            if let Some((tag, _)) = delivered {
                self.follow_stop().await;
                step().await;
                self.world().ack(self.me, tag);
            }
        }
    }

    pub(super) async fn follow_stop(&self) {
        if let Some(active) = self.mind.active.borrow().as_ref()
            && !active.ended.get()
        {
            active.stop.set(true);
            let is_held = active.claimed.borrow().as_ref().is_some_and(|one| self.is_proven(one));
            if is_held {
                return;
            }
        }
        step().await;
        let known = self.world().read();
        match known {
            Some((record, _)) if record.state == RecordState::Active => {
                if !self.has(&record) {
                    step().await;
                    self.world().publish(Message::Forwarded(record.segment));
                }
            }
            _ => self.world().not_running += 1,
        }
    }
}
