//! The messages in the queues: those that nobody takes, and dead letters that soon have no room.

use std::sync::Arc;

use super::finding::{Finding, PATIENCE};
use crate::broker::{Backlog, Broker, Inbox};
use crate::settings::{BrokerSettings, StoreSettings};
use crate::storage::{Journal, S3Store};

/// How full the queue of dead letters may be before that is a warning, in per cent.
const DEAD_LETTERS_WARN_PERCENT: u64 = 90;

/// Whether messages wait that nobody takes. The broker's own check reports errors of the broker.
pub(super) async fn inboxes(
    settings: &BrokerSettings,
    store: Option<&StoreSettings>,
) -> Vec<Finding> {
    let looking = async {
        let mut inboxes = Inbox::SHARED.to_vec();
        inboxes.push(Inbox::Undelivered);
        if let Some(store) = store.and_then(|store| S3Store::new(store).ok()) {
            let journal = Journal::new(Arc::new(store), settings.namespace.clone());
            let segments = journal.owned_segments().await.unwrap_or_default();
            inboxes.extend(segments.iter().map(|owned| Inbox::Mailbox(owned.segment)));
        }
        Broker::backlogs(settings, &inboxes).await
    };
    match tokio::time::timeout(PATIENCE, Box::pin(looking)).await {
        Ok(Ok(backlogs)) => judge_backlogs(&backlogs),
        _ => Vec::new(),
    }
}

fn judge_backlogs(backlogs: &[Backlog]) -> Vec<Finding> {
    let stuck: Vec<_> = backlogs
        .iter()
        .filter(|backlog| backlog.messages > 0 && backlog.consumers == 0)
        .map(|backlog| {
            let Backlog { inbox, queue, messages, .. } = backlog;
            let said = format!("nobody consumes {queue}, where messages wait: {messages}");
            let remedy = match inbox {
                Inbox::Mailbox(_) => "longshore segments says who owns it; is that worker ready?",
                Inbox::Stop | Inbox::Undelivered => "start a worker; /readyz of one that runs says why it takes none",
                Inbox::StartTerminating | Inbox::StartLongRunning => {
                    "start a worker, or more of them: one without a free slot takes none; /readyz of \
                     one that runs says why it takes none"
                }
            };
            Finding::warn("inboxes", said, remedy)
        })
        .collect();
    if !stuck.is_empty() {
        return stuck;
    }
    let said = if backlogs.is_empty() {
        "are not there yet: the first worker makes them".to_owned()
    } else {
        let shown = backlogs.iter().map(|backlog| {
            let Backlog { queue, messages, consumers, .. } = backlog;
            format!("{queue} {messages} waiting, {consumers} consuming")
        });
        shown.collect::<Vec<_>>().join("; ")
    };
    vec![Finding::ok("inboxes", said)]
}

/// Whether the queue of dead letters has room. The broker's own check reports errors of the broker.
pub(super) async fn dead_letters(settings: &BrokerSettings) -> Option<Finding> {
    let counting = Box::pin(Broker::count_dead_letters(settings));
    match tokio::time::timeout(PATIENCE, counting).await {
        Ok(Ok(Some(count))) => {
            let queue = format!("{}.dead", settings.namespace);
            Some(judge_dead_letters(count, &queue, settings.dead_letters.messages))
        }
        _ => None,
    }
}

/// A broker says how many messages wait in a queue, but not how large they are.
fn judge_dead_letters(count: u32, queue: &str, most: u64) -> Finding {
    let is_nearly_full = u64::from(count) * 100 >= most * DEAD_LETTERS_WARN_PERCENT;
    let said = format!("{queue} keeps {count} of at most {most} messages (DEAD_LETTERS_MAX)");
    if !is_nearly_full {
        return Finding::ok("dead", said);
    }
    let said = format!("{said}: once it is full, the oldest one goes for each new one");
    let remedy = "longshore dead list shows them: fix what sends them, and then replay them \
                  (longshore dead replay) or remove them (longshore dead purge)";
    Finding::warn("dead", said, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn messages_that_wait_without_a_consumer_are_a_warning() {
        let backlog = |messages, consumers| Backlog {
            inbox: Inbox::Stop,
            queue: "ns.stop".to_owned(),
            messages,
            consumers,
        };
        let graded = |backlogs: &[Backlog]| judge_backlogs(backlogs)[0].grade;
        assert_eq!(graded(&[]), Grade::Ok);
        assert_eq!(graded(&[backlog(0, 0)]), Grade::Ok, "all slots are taken");
        assert_eq!(graded(&[backlog(3, 1)]), Grade::Ok);
        let found = judge_backlogs(&[backlog(0, 1), backlog(3, 0)]);
        assert_eq!((found.len(), found[0].grade), (1, Grade::Warn));
        assert_eq!(found[0].said, "nobody consumes ns.stop, where messages wait: 3");
    }

    #[test]
    fn dead_letters_that_soon_have_no_room_are_a_warning_that_says_what_is_dropped() {
        let graded = |count| judge_dead_letters(count, "ns.dead", 10);
        assert_eq!((graded(0).grade, graded(8).grade), (Grade::Ok, Grade::Ok));
        for count in [9, 10, 11] {
            let found = graded(count);
            assert_eq!(found.grade, Grade::Warn);
            let said = format!("ns.dead keeps {count} of at most 10 messages (DEAD_LETTERS_MAX)");
            assert_eq!(
                found.said,
                format!("{said}: once it is full, the oldest one goes for each new one")
            );
            assert!(found.remedy.unwrap().contains("longshore dead list"));
        }
    }
}
