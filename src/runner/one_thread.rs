//! Work that may wait for a disk, in one thread at a time.

use std::io;
use std::sync::Arc;

use tokio::sync::Mutex;

/// One thread for work that may block: while a disk hangs, no more threads wait for it.
#[derive(Debug, Default)]
pub struct OneThread {
    busy: Arc<Mutex<()>>,
}

impl OneThread {
    /// Does the work, once the work before has come back from the disk.
    ///
    /// # Errors
    /// The error of the work, or that its thread ended without an answer.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let busy = Arc::clone(&self.busy).lock_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _busy = busy;
            work()
        });
        done.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_waits_for_the_work_before_also_when_nobody_waits_for_that_any_more() {
        let thread = OneThread::default();
        let (go, wait) = mpsc::channel::<()>();
        let hanging = thread.run(move || wait.recv().map_err(io::Error::other));
        let short = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(short, hanging).await.is_err());
        assert!(tokio::time::timeout(short, thread.run(|| Ok(1))).await.is_err());
        go.send(()).unwrap();
        assert_eq!(thread.run(|| Ok(2)).await.unwrap(), 2);
    }
}
