//! The machine of a simulated worker.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use super::process::Process;
use super::world::World;
use crate::runner::Uptime;
use crate::worker::ownership::machine::{Machine, Mark};

/// How long a machine had run when the history began.
const UP_BEFORE: Duration = Duration::from_secs(1_000);

/// The marks of all machines: who holds the one of a segment at a place.
#[derive(Default)]
pub(super) struct Marks {
    held: Mutex<BTreeMap<(String, u32), Arc<Process>>>,
}

/// The machine of one process.
pub(super) struct SimulatedMachine {
    pub(super) world: Arc<World>,
    pub(super) process: Arc<Process>,
    pub(super) marks: Arc<Marks>,
    /// Names the machine.
    pub(super) host: String,
}

#[derive(Clone)]
struct HeldMark {
    marks: Arc<Marks>,
    process: Arc<Process>,
    key: (String, u32),
}

impl std::fmt::Debug for HeldMark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HeldMark").field(&self.key).finish()
    }
}

impl Mark for HeldMark {}

impl Drop for HeldMark {
    fn drop(&mut self) {
        let mut held = self.marks.held.lock();
        if held.get(&self.key).is_some_and(|holder| Arc::ptr_eq(holder, &self.process)) {
            held.remove(&self.key);
        }
    }
}

/// The time that a kernel has counted.
pub(super) fn uptime(world: &World) -> Duration {
    UP_BEFORE + world.elapsed()
}

#[async_trait]
impl Machine for SimulatedMachine {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn uptime(&self) -> Option<Uptime> {
        Some(Uptime::since_boot(uptime(&self.world)))
    }

    fn random_id(&self) -> Uuid {
        Uuid::from_u128(self.world.draw(|rng| rng.u128(..)))
    }

    fn ordered_id(&self) -> Uuid {
        self.random_id()
    }

    async fn mark(
        &self,
        temp_dir: &Path,
        _: &str,
        segment: u32,
    ) -> io::Result<Option<Box<dyn Mark>>> {
        let key = (format!("{}{}", self.host, temp_dir.display()), segment);
        let mut held = self.marks.held.lock();
        if held.get(&key).is_some_and(|holder| !holder.is_dead()) {
            return Ok(None);
        }
        held.insert(key.clone(), Arc::clone(&self.process));
        let (marks, process) = (Arc::clone(&self.marks), Arc::clone(&self.process));
        Ok(Some(Box::new(HeldMark { marks, process, key })))
    }
}
