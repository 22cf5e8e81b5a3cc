//! Retries transient failures.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::fault::Fault;

/// The pause after the first failure; the next ones double.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause, before jitter adds up to as much again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What an attempt must know about earlier attempts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past {
    /// The store may have carried out one of them, although it failed for us.
    pub(super) in_doubt: bool,
}

/// The pauses between `max_attempts` attempts. They have jitter, so workers that failed together do
/// not come back together.
pub(super) fn pauses(max_attempts: usize) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(max_attempts.saturating_sub(1))
        .with_jitter()
        .build()
}

/// Calls `attempt` until it succeeds, fails permanently, or there is no further pause. A failure
/// has the number of attempts.
pub(super) async fn retrying<T, F, A>(
    mut pauses: impl Iterator<Item = Duration>,
    mut attempt: F,
) -> Result<T, (Fault, usize)>
where
    F: FnMut(Past) -> A,
    A: Future<Output = Result<T, Fault>>,
{
    let mut past = Past { in_doubt: false };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let fault = match attempt(past).await {
            Ok(value) => return Ok(value),
            Err(fault) => fault,
        };
        past.in_doubt |= fault.leaves_doubt();
        let pause = if fault.may_pass() { pauses.next() } else { None };
        match pause {
            Some(pause) => {
                tracing::debug!(?fault, attempts, ?pause, "store request failed, trying again");
                tokio::time::sleep(pause).await;
            }
            None => return Err((fault, attempts)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    fn unavailable() -> Fault {
        Fault::NoAnswer("reset".to_owned())
    }

    fn no_pauses(number: usize) -> impl Iterator<Item = Duration> {
        std::iter::repeat_n(Duration::ZERO, number)
    }

    #[test]
    fn the_pauses_are_one_fewer_than_the_attempts_and_bounded() {
        for (max_attempts, expected) in [(0, 0), (1, 0), (4, 3), (12, 11)] {
            let found: Vec<_> = pauses(max_attempts).collect();
            assert_eq!(found.len(), expected);
            assert!(found.iter().all(|pause| (FIRST_PAUSE..=LONGEST_PAUSE * 2).contains(pause)));
        }
    }

    /// backon repeats one fixed sequence if it is built without `std`.
    #[test]
    fn two_workers_do_not_pause_alike() {
        assert_ne!(pauses(9).collect::<Vec<_>>(), pauses(9).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn gives_up_when_there_is_no_further_pause() {
        let mut calls = 0;
        let outcome = retrying(no_pauses(3), |_| {
            calls += 1;
            ready(Err::<(), _>(unavailable()))
        })
        .await;
        assert!(matches!(outcome, Err((Fault::NoAnswer(_), 4))));
        assert_eq!(calls, 4);
    }

    #[tokio::test]
    async fn does_not_repeat_what_cannot_pass() {
        let mut calls = 0;
        let outcome = retrying(no_pauses(4), |_| {
            calls += 1;
            ready(Err::<(), _>(Fault::TooLarge(1)))
        })
        .await;
        assert!(matches!(outcome, Err((Fault::TooLarge(1), 1))));
        assert_eq!(calls, 1);
    }

    #[tokio::test]
    async fn an_attempt_learns_that_an_earlier_one_is_in_doubt() {
        let mut seen = Vec::new();
        let outcome = retrying(no_pauses(4), |past| {
            seen.push(past.in_doubt);
            ready(match seen.len() {
                1 => {
                    Err(Fault::Answer { status: 429, code: String::new(), message: String::new() })
                }
                2 => Err(unavailable()),
                _ => Ok(()),
            })
        })
        .await;
        assert!(outcome.is_ok());
        assert_eq!(seen, [false, false, true]);
    }
}
