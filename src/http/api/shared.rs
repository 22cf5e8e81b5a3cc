//! An answer that is shared for a moment by all who ask the same.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::ApiError;

/// How many answers are kept. More keys than that are asked each for itself.
const MAX_KEPT: usize = 256;

type Slot<V> = Arc<tokio::sync::Mutex<Option<(Instant, V)>>>;

/// Answers by what was asked.
pub(super) struct Shared<K, V> {
    holds: Duration,
    slots: Mutex<HashMap<K, (Instant, Slot<V>)>>,
}

impl<K: Eq + Hash + Clone, V: Clone> Shared<K, V> {
    /// Each answer holds so long.
    pub(super) fn holding(holds: Duration) -> Self {
        Self { holds, slots: Mutex::default() }
    }

    /// The last answer if it still holds, or a new one. While one asks, the others wait for its
    /// answer. An error is not kept.
    pub(super) async fn get(
        &self,
        key: &K,
        ask: impl Future<Output = Result<V, ApiError>>,
    ) -> Result<V, ApiError> {
        let slot = self.slot(key);
        let mut kept = slot.lock().await;
        if let Some((at, value)) = &*kept
            && at.elapsed() < self.holds
        {
            return Ok(value.clone());
        }
        let value = ask.await?;
        *kept = Some((Instant::now(), value.clone()));
        Ok(value)
    }

    /// Forgets an answer, because something has changed.
    pub(super) fn forget(&self, key: &K) {
        self.slots.lock().remove(key);
    }

    /// Forgets all answers.
    pub(super) fn forget_all(&self) {
        self.slots.lock().clear();
    }

    fn slot(&self, key: &K) -> Slot<V> {
        let mut slots = self.slots.lock();
        if slots.len() >= MAX_KEPT && !slots.contains_key(key) {
            let holds = self.holds;
            slots.retain(|_, (used, _)| used.elapsed() < holds);
            if slots.len() >= MAX_KEPT {
                return Slot::default();
            }
        }
        let (used, slot) =
            slots.entry(key.clone()).or_insert_with(|| (Instant::now(), Slot::default()));
        *used = Instant::now();
        Arc::clone(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_cost_one_question_and_an_answer_holds_for_its_time() {
        let shared = Shared::holding(Duration::from_secs(2));
        let asked = AtomicU32::new(0);
        let ask = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, ApiError>(7)
        };
        let all = futures_util::future::join_all((0..50).map(|_| shared.get(&"k", ask()))).await;
        assert!(all.into_iter().all(|got| got.is_ok_and(|value| value == 7)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(shared.get(&"k", ask()).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        shared.forget(&"k");
        assert!(shared.get(&"k", ask()).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_kept_answers_is_bounded() {
        let shared = Shared::holding(Duration::from_secs(2));
        for key in 0..2 * MAX_KEPT {
            assert!(shared.get(&key, async { Ok(key) }).await.is_ok());
        }
        assert_eq!(shared.slots.lock().len(), MAX_KEPT);
    }
}
