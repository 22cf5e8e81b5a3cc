//! Where a dead letter is published again, and as what. Pure.

use bytes::Bytes;

use crate::broker::{DeadLetter, Inbox, Topology};
use crate::job::{Executable, decoded, parse_executable};
use crate::settings::MAX_MESSAGE_BYTES;

/// The queue that a letter came from, or why it cannot go there. A publisher could reach each of
/// these queues, so a letter with a forged header gains nothing.
pub(super) fn origin(topology: &Topology, letter: &DeadLetter) -> Result<Inbox, String> {
    if !letter.has_its_body() {
        return Err("its body is too large to be read".to_owned());
    }
    origin_of(topology, letter.queue.as_deref(), &letter.routing_key, || is_long_running(letter))
}

fn origin_of(
    topology: &Topology,
    queue: Option<&str>,
    routing_key: &str,
    is_long_running: impl FnOnce() -> Option<bool>,
) -> Result<Inbox, String> {
    let is_it = |inbox: &Inbox| queue.is_some_and(|queue| queue == topology.inbox(*inbox));
    if let Some(inbox) = Inbox::SHARED.into_iter().find(is_it) {
        return Ok(inbox);
    }
    // A worker had this stop, and put it into the mailbox of another one.
    if queue.is_some_and(|queue| queue.starts_with(&topology.mailboxes())) {
        return Ok(Inbox::Stop);
    }
    if is_it(&Inbox::Undelivered) {
        let kind = is_long_running().map(Inbox::of_start);
        return kind.ok_or_else(|| "it is no start that a worker could read".to_owned());
    }
    let by_key = Inbox::SHARED.into_iter().find(|inbox| inbox.routing_key() == routing_key);
    by_key.ok_or_else(|| match queue {
        Some(queue) => format!("it came from {queue:?}, which takes no message of a publisher"),
        None => "it does not say from which queue it came".to_owned(),
    })
}

fn is_long_running(letter: &DeadLetter) -> Option<bool> {
    executable(letter).map(|start| start.is_long_running)
}

fn executable(letter: &DeadLetter) -> Option<Executable> {
    let encoding = letter.properties.content_encoding.as_deref();
    let text = decoded(&letter.body, encoding, MAX_MESSAGE_BYTES).ok()?;
    parse_executable(&text).ok()
}

/// The body of a start that is to run again. One that names its run would only be told how that run
/// ended, so it does not name it any more. Any other body is unchanged.
pub(super) fn body_of_a_new_run(letter: &DeadLetter, inbox: Inbox) -> Bytes {
    let unchanged = || letter.body.clone();
    if inbox == Inbox::Stop {
        return unchanged();
    }
    let Some(start) = executable(letter).filter(|start| start.run_id.is_some()) else {
        return unchanged();
    };
    let nameless = Executable { run_id: None, ..start };
    serde_json::to_vec(&nameless).map_or_else(|_| unchanged(), Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_goes_back_where_a_publisher_would_send_it() {
        let topology = Topology::new("ns", &[]);
        let of = |queue, key: &str, kind| origin_of(&topology, queue, key, || kind);
        let terminating = Ok(Inbox::StartTerminating);
        assert_eq!(of(Some("ns.start.terminating"), "forged", None), terminating);
        assert_eq!(of(Some("ns.start.long-running"), "stop", None), Ok(Inbox::StartLongRunning));
        assert_eq!(of(Some("ns.stop"), "", None), Ok(Inbox::Stop));
        assert_eq!(of(Some("ns.segment.7"), "segment.7", None), Ok(Inbox::Stop));
        assert_eq!(of(Some("ns.undelivered"), "", Some(true)), Ok(Inbox::StartLongRunning));
        assert_eq!(of(None, "start.terminating", None), terminating);
        assert_eq!(of(Some("ns.retry.1s"), "start.terminating", None), terminating);
    }

    #[test]
    fn a_letter_from_elsewhere_stays() {
        let topology = Topology::new("ns", &[]);
        let why = |queue, key: &str| origin_of(&topology, queue, key, || None).unwrap_err();
        assert!(why(Some("ns.undelivered"), "").contains("no start"));
        assert!(why(Some("other.stop"), "x").contains("\"other.stop\""));
        assert!(why(None, "x").contains("does not say"));
    }
}
