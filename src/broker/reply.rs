//! Which queues a result may be sent to. Pure.
//!
//! A publisher names the queue, but the worker writes to it, with the worker's rights. So a name is
//! accepted only if it can harm nobody: a queue that the broker named, which nobody can guess, or
//! one that the operator has reserved for answers.

use crate::job::quoted;

/// Prefixes of queue names that the broker made: exclusive queues of one connection, and
/// pseudo-queues for direct replies.
const NAMED_BY_BROKER: [&str; 2] = ["amq.gen-", "amq.rabbitmq.reply-to."];

/// Which queues a result may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyRules {
    /// The prefix of our own queues.
    own: String,
    prefixes: Vec<String>,
}

impl ReplyRules {
    /// The rules of a namespace, with prefixes that the operator allows as well.
    #[must_use]
    pub fn new(namespace: &str, prefixes: &[String]) -> Self {
        Self { own: format!("{namespace}."), prefixes: prefixes.to_vec() }
    }

    /// Whether a result may be sent to a queue.
    #[must_use]
    pub fn allows(&self, queue: &str) -> bool {
        let begins = |prefix: &str| queue.len() > prefix.len() && queue.starts_with(prefix);
        // Never our own queues, whatever prefixes are allowed.
        !queue.starts_with(&self.own)
            && (NAMED_BY_BROKER.into_iter().any(begins)
                || self.prefixes.iter().any(|prefix| queue.starts_with(prefix.as_str())))
    }

    /// Why a result may not be sent to a queue, as the end of a sentence; `None` if it may.
    #[must_use]
    pub fn problem(&self, queue: &str) -> Option<String> {
        if self.allows(queue) {
            return None;
        }
        let shown = quoted(queue);
        Some(if queue.starts_with(&self.own) {
            format!("{shown} is a queue of Longshore's own; use a queue that the broker has named")
        } else {
            format!(
                "{shown} is not a queue that results may be sent to; use an exclusive queue that \
                 the broker has named (amq.gen-…), or have its prefix added to \
                 REPLY_TO_PREFIXES of the workers"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(prefixes: &[&str]) -> ReplyRules {
        let prefixes: Vec<String> = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
        ReplyRules::new("ns", &prefixes)
    }

    #[test]
    fn results_go_to_queues_that_the_broker_named_and_to_no_others() {
        let rules = rules(&[]);
        for queue in ["amq.gen-JzTY20BRgKO-HjmUJj0wLg", "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAx"] {
            assert!(rules.allows(queue), "{queue}");
            assert_eq!(rules.problem(queue), None);
        }
        for queue in [
            "",
            "orders",
            "amq.gen-",
            "amq.rabbitmq.reply-to",
            "amq.rabbitmq.reply-to.",
            "amq.topic",
            "AMQ.gen-x",
            " amq.gen-x",
            "ns.dead",
            "ns.retry.2s",
            "ns.segment.0.lock",
        ] {
            assert!(!rules.allows(queue), "{queue}");
            assert!(rules.problem(queue).is_some(), "{queue}");
        }
    }

    #[test]
    fn an_operator_adds_prefixes_but_never_for_our_own_queues() {
        let rules = rules(&["replies.", "n"]);
        assert!(rules.allows("replies.team-a") && rules.allows("replies.") && rules.allows("nx"));
        assert!(!rules.allows("reply.team-a"));
        for queue in ["ns.dead", "ns.retry.2s", "ns."] {
            assert!(!rules.allows(queue), "{queue}");
        }
    }

    #[test]
    fn the_sentence_says_what_to_use_and_which_setting_changes_it() {
        let problem = rules(&[]).problem("orders").unwrap();
        for part in ["\"orders\"", "amq.gen-", "REPLY_TO_PREFIXES"] {
            assert!(problem.contains(part), "{problem}");
        }
        let problem = rules(&[]).problem("ns.dead").unwrap();
        assert!(problem.contains("Longshore's own"), "{problem}");
    }
}
