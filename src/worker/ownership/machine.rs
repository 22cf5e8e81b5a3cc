//! The machine of a worker: its clocks, its random numbers, and locks that end with a process.
//! There are two: the real one, and the one of the simulation.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::timeout;
use uuid::Uuid;

use super::mark::FileMark;
use crate::runner::{OneThread, Uptime};

/// How long a disk may take for a mark.
const MARK_TIMEOUT: Duration = Duration::from_secs(1);

/// Shows, as long as it is kept, that a process of this machine is alive.
pub(in crate::worker) trait Mark: Debug + Send + Sync {}

impl Mark for FileMark {}

/// What a worker takes from its machine. Nothing in `worker/` gets time or random numbers
/// elsewhere, except pauses, which are tokio's.
#[async_trait]
pub(in crate::worker) trait Machine: Send + Sync {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// The kernel's time since boot; `None` if the kernel does not say.
    fn uptime(&self) -> Option<Uptime>;

    /// A unique identity.
    fn random_id(&self) -> Uuid;

    /// The same, and later ones sort after earlier ones.
    fn ordered_id(&self) -> Uuid;

    /// The mark of a segment's owner at a place; `None` while another live process has it.
    ///
    /// # Errors
    /// If that cannot be determined in time.
    async fn mark(
        &self,
        temp_dir: &Path,
        namespace: &str,
        segment: u32,
    ) -> io::Result<Option<Box<dyn Mark>>>;
}

/// The machine that this process runs on.
#[derive(Debug, Default)]
pub(in crate::worker) struct ThisMachine {
    /// Held by the one thread that may wait for the disk of the marks.
    marking: OneThread,
}

#[async_trait]
impl Machine for ThisMachine {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn uptime(&self) -> Option<Uptime> {
        Uptime::now()
    }

    fn random_id(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn ordered_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    async fn mark(
        &self,
        temp_dir: &Path,
        namespace: &str,
        segment: u32,
    ) -> io::Result<Option<Box<dyn Mark>>> {
        let (temp_dir, namespace) = (temp_dir.to_owned(), namespace.to_owned());
        let taken = self.marking.run(move || FileMark::try_take(&temp_dir, &namespace, segment));
        let mark = timeout(MARK_TIMEOUT, taken).await??;
        Ok(mark.map(|mark| Box::new(mark) as Box<dyn Mark>))
    }
}
