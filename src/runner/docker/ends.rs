//! Knows which containers have ended. The task that waits for a container's end tells the readers
//! of its output, so they need not ask the engine as well.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

/// The containers for whose end a reader waits; no others are kept.
#[derive(Debug, Default)]
pub(super) struct Ends {
    heard: Mutex<HashMap<String, watch::Sender<bool>>>,
}

impl Ends {
    /// Listens for the end of a container from now on.
    pub(super) fn listen(self: &Arc<Self>, container: &str) -> End {
        let has_come = self.heard.lock().entry(container.to_owned()).or_default().subscribe();
        End { ends: Arc::clone(self), container: container.to_owned(), has_come }
    }

    /// Notes that a container has ended.
    pub(super) fn tell(&self, container: &str) {
        if let Some(end) = self.heard.lock().get(container) {
            end.send_replace(true);
        }
    }
}

/// The end of one container, if it is known.
#[derive(Debug)]
pub(super) struct End {
    ends: Arc<Ends>,
    container: String,
    has_come: watch::Receiver<bool>,
}

impl End {
    /// Waits for the end, at most for `patience`. Returns whether it has come. If no task waits for
    /// the container, only the engine knows.
    pub(super) async fn comes_within(&mut self, patience: Duration) -> bool {
        let told = timeout(patience, self.has_come.wait_for(|has_come| *has_come)).await;
        matches!(told, Ok(Ok(_)))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut heard = self.ends.heard.lock();
        // This one still counts.
        if heard.get(&self.container).is_some_and(|end| end.receiver_count() <= 1) {
            heard.remove(&self.container);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn an_end_is_heard_by_all_who_listen_to_that_container_and_by_no_others() {
        let ends = Arc::new(Ends::default());
        let (mut one, mut two) = (ends.listen("a"), ends.listen("a"));
        let mut other = ends.listen("b");
        ends.tell("a");
        assert!(one.comes_within(LONG).await && two.comes_within(LONG).await);
        assert!(one.comes_within(Duration::ZERO).await, "it stays told");
        assert!(!other.comes_within(LONG).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_before_anybody_listened_is_not_kept() {
        let ends = Arc::new(Ends::default());
        ends.tell("a");
        assert!(!ends.listen("a").comes_within(LONG).await);
    }

    #[test]
    fn nothing_is_kept_of_a_container_once_nobody_listens() {
        let ends = Arc::new(Ends::default());
        let (one, two) = (ends.listen("a"), ends.listen("a"));
        drop(one);
        assert_eq!(ends.heard.lock().len(), 1);
        drop(two);
        assert!(ends.heard.lock().is_empty());
    }
}
