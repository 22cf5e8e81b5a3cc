//! How long a worker waits for an answer of the journal on which its segments depend.

use std::time::Duration;

use tokio::time::Instant;

use crate::storage::JournalError;

/// At first, and for so many time-outs: a connection that froze must be given up soon, and the pool
/// may have more than one of them.
const FIRST: Duration = Duration::from_secs(2);
const FIRST_TIMES: u32 = 3;

/// At most: then a store that slow is given the time that its settings allow.
const MOST: Duration = Duration::from_mins(1);

/// How long the next answer may take. It grows with each time-out, so that a slow store is not
/// taken for a frozen one for ever, and is short again after an answer that was quick.
#[derive(Debug, Default)]
pub(super) struct Patience {
    timeouts: u32,
}

impl Patience {
    fn now(&self) -> Duration {
        let doublings = (self.timeouts + 1).saturating_sub(FIRST_TIMES).min(8);
        (FIRST * 2_u32.pow(doublings)).min(MOST)
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// [`JournalError::Slow`] after the time-out. The next request has a new connection.
    pub(super) async fn within<T>(
        &mut self,
        request: impl Future<Output = Result<T, JournalError>>,
    ) -> Result<T, JournalError> {
        let (after, asked) = (self.now(), Instant::now());
        if let Ok(answer) = tokio::time::timeout(after, request).await {
            if asked.elapsed() < FIRST {
                self.timeouts = 0;
            }
            return answer;
        }
        self.timeouts = self.timeouts.saturating_add(1);
        Err(JournalError::Slow { after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_short_at_first_and_grows_up_to_a_bound() {
        let mut patience = Patience::default();
        let mut waited = Vec::new();
        for _ in 0..9 {
            let never = std::future::pending::<Result<(), JournalError>>();
            let Err(JournalError::Slow { after }) = patience.within(never).await else { panic!() };
            waited.push(after.as_secs());
        }
        assert_eq!(waited, [2, 2, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_short_again_once_the_store_is_quick_again_and_not_while_it_is_slow() {
        let mut patience = Patience::default();
        for _ in 0..6 {
            let never = std::future::pending::<Result<(), JournalError>>();
            assert!(patience.within(never).await.is_err());
        }
        let slow = async {
            tokio::time::sleep(FIRST * 2).await;
            Ok(())
        };
        assert!(patience.within(slow).await.is_ok());
        assert_eq!(patience.now(), FIRST * 16);
        assert!(patience.within(async { Ok(()) }).await.is_ok());
        assert_eq!(patience.now(), FIRST);
    }
}
