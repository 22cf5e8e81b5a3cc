//! A process: what a worker is in, from its start to its end. All that a worker does to the world passes by here,
//! so a process that is dead or frozen does nothing any more, although its tasks are still there.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    Frozen,
    Dead,
}

/// A process.
pub(super) struct Process {
    /// Its name in the trace: the worker's, and which of its lives this is.
    pub(super) name: String,
    state: Mutex<State>,
    changed: Notify,
}

impl Process {
    pub(super) fn new(name: String) -> Self {
        Self { name, state: Mutex::new(State::Runs), changed: Notify::new() }
    }

    /// Waits until the process runs. Never returns once it is dead.
    pub(super) async fn runs(&self) {
        loop {
            let changed = self.changed.notified();
            match *self.state.lock() {
                State::Runs => return,
                State::Frozen | State::Dead => {}
            }
            changed.await;
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        *self.state.lock() == State::Dead
    }

    pub(super) fn freeze(&self) {
        self.become_if_alive(State::Frozen);
    }

    pub(super) fn thaw(&self) {
        self.become_if_alive(State::Runs);
        self.changed.notify_waiters();
    }

    /// Ends it, and frees nothing: what it held is its machine's to free, and the servers'.
    pub(super) fn die(&self) {
        *self.state.lock() = State::Dead;
    }

    fn become_if_alive(&self, next: State) {
        let mut state = self.state.lock();
        if *state != State::Dead {
            *state = next;
        }
    }
}
