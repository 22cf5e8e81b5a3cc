//! Whether each of a worker's inboxes is consumed.

use std::time::Duration;

use tokio::time::Instant;

use super::check::Check;
use crate::broker::{Broker, Inbox, Reception};

/// How long an inbox may have no consumer. After a lost connection, a new consumer takes less time.
const MOMENT: Duration = Duration::from_secs(5);

/// Looks at the inboxes of a worker whose segment is `home`.
pub(super) fn check(broker: &Broker, home: Option<u32>) -> Check {
    let expected =
        Inbox::SHARED.into_iter().chain([Inbox::Undelivered]).chain(home.map(Inbox::Mailbox));
    let receptions = broker.receptions();
    let named: Vec<_> = expected
        .map(|inbox| {
            let said = receptions.iter().find(|(of, _)| *of == inbox);
            (broker.topology().inbox(inbox), said.map(|(_, reception)| reception.clone()))
        })
        .collect();
    judge(&named, Instant::now())
}

fn judge(inboxes: &[(String, Option<Reception>)], now: Instant) -> Check {
    let for_long = |since: Instant| now.saturating_duration_since(since) > MOMENT;
    let seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
    let mut missing = Vec::new();
    let mut paused = Vec::new();
    for (queue, reception) in inboxes {
        match reception {
            Some(Reception::Paused) => paused.push(queue.as_str()),
            Some(Reception::Broken { since, reason }) if for_long(*since) => {
                missing
                    .push(format!("{queue} is not consumed for {} s: {reason}", seconds(*since)));
            }
            Some(Reception::Asking { since }) if for_long(*since) => {
                let waits = seconds(*since);
                missing.push(format!("{queue} is not consumed: no answer for {waits} s"));
            }
            // A consumer that is being set up again counts as present for a moment.
            Some(Reception::Consuming | Reception::Broken { .. } | Reception::Asking { .. }) => {}
            None => missing.push(format!("{queue} has no consumer: not yet, or not any more")),
        }
    }
    let detail = match (missing.is_empty(), paused.is_empty()) {
        (false, _) => missing.join("; "),
        (true, true) => "all are consumed".to_owned(),
        (true, false) => format!(
            "all are consumed, but nothing is asked for now from {}: no slot is free, or the store, \
             the engine or the segment is waited for",
            paused.join(", ")
        ),
    };
    Check { name: "inboxes", ok: missing.is_empty(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(reception: Option<Reception>) -> Check {
        judge(&[("ns.stop".to_owned(), reception)], Instant::now())
    }

    fn ago(seconds: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn an_inbox_that_is_broken_or_unanswered_for_more_than_a_moment_is_missing() {
        let broken = |seconds| Reception::Broken { since: ago(seconds), reason: "cut".to_owned() };
        assert!(one(Some(broken(2))).ok);
        let check = one(Some(broken(7)));
        assert!(!check.ok);
        assert_eq!(check.detail, "ns.stop is not consumed for 7 s: cut");
        assert!(one(Some(Reception::Asking { since: ago(2) })).ok);
        let check = one(Some(Reception::Asking { since: ago(8) }));
        assert_eq!(check.detail, "ns.stop is not consumed: no answer for 8 s");
        assert!(!one(None).ok, "nobody consumes it");
    }

    #[test]
    fn a_full_inbox_is_well_and_is_reported() {
        let check = one(Some(Reception::Paused));
        assert!(check.ok && check.detail.contains("ns.stop"), "{}", check.detail);
        assert_eq!(one(Some(Reception::Consuming)).detail, "all are consumed");
    }
}
