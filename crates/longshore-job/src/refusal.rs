//! Refuses messages whose body is fine, and names messages by their content.

use sha2::{Digest, Sha256};

use super::validate::Job;
use super::violation::{MessageError, violation};

impl MessageError {
    /// What is wrong with a property of a message whose body is fine.
    #[must_use]
    pub fn of_property(name: &str, problem: &str, job: &Job) -> Self {
        Self::of_job(&format!("property {name}"), problem, job)
    }

    /// A start names a run that another message has started.
    #[must_use]
    pub fn of_taken_run(job: &Job) -> Self {
        let problem = format!(
            "the run {} was started by a message with another body, and is not started again; \
             give a new run a message_id of its own, and no run_id or a new one",
            job.run_id
        );
        Self::of_job("run_id", &problem, job)
    }

    fn of_job(path: &str, problem: &str, job: &Job) -> Self {
        Self {
            violations: vec![violation(path, problem)],
            id: Some(job.id.clone()),
            entrypoint: Some(job.entrypoint),
            run_id: Some(job.run_id.clone()),
        }
    }
}

/// How many bytes of a digest an event's id shows: so many that nobody finds a second message with
/// the same ones.
const SHOWN_BYTES: usize = 16;

/// The SHA-256 of a message's body, in hexadecimal.
#[must_use]
pub fn body_sha256(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// The id of the event about a start that led to no run. It depends only on the message: the same
/// message makes the same event again, and no other message makes it, whatever run it names. No
/// event of a run has an id of this form.
#[must_use]
pub fn refusal_id(message_id: Option<&str>, body: &[u8]) -> String {
    let id = message_id.unwrap_or_default();
    let digest = Sha256::new()
        .chain_update([u8::from(message_id.is_some())])
        .chain_update(u64::try_from(id.len()).unwrap_or(u64::MAX).to_be_bytes())
        .chain_update(id)
        .chain_update(body)
        .finalize();
    format!("refused/{}", hex::encode(&digest[..SHOWN_BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named_by_the_whole_message_and_by_nothing_else() {
        let id = refusal_id(Some("m"), b"body");
        assert_eq!(id, refusal_id(Some("m"), b"body"));
        for (message_id, body) in
            [(None, "body"), (Some(""), "mbody"), (Some("mb"), "ody"), (Some("m"), "bodies")]
        {
            assert_ne!(id, refusal_id(message_id, body.as_bytes()), "{message_id:?} {body}");
        }
    }

    #[test]
    fn a_refusal_is_never_named_as_the_end_of_a_run() {
        let id = refusal_id(Some("run-1"), b"{\"run_id\": \"run-1\"}");
        let stem = id.strip_prefix("refused/").unwrap();
        assert!(stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert!(!id.ends_with("/result") && !id.ends_with("/finished"), "{id}");
    }
}
