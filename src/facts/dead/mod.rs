//! The dead letters: messages that could not be processed.

mod letter;
mod origin;

use self::origin::{body_of_a_new_run, origin};
use super::FactsError;
use crate::broker::{Broker, DeadLetter, DeadLetters, Topology};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

pub use self::letter::{DeadEntry, DeadReport, Key, body_text};

/// How many letters are looked through for one, and replayed at once: by default, the queue keeps as
/// many (`DEAD_LETTERS_MAX`).
pub const MAX_SEARCHED: usize = 10_000;

/// A letter that is on its way again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Replayed {
    /// Which.
    pub key: Key,
    /// The queue that it is in now.
    pub queue: String,
    /// Its new identity.
    pub message_id: String,
}

/// Begins to look at the letters. Whoever calls this puts them back at the end.
///
/// # Errors
/// When the broker refuses, or there is no queue of dead letters.
pub async fn open(broker: &Broker) -> Result<DeadLetters, FactsError> {
    broker.dead_letters().await?.ok_or_else(|| {
        let queue = broker.topology().dead();
        FactsError::Missing(format!(
            "there is no queue {queue}: a worker declares it when it starts"
        ))
    })
}

/// The oldest letters, at most `limit`.
///
/// # Errors
/// When the broker refuses, or does not answer.
pub async fn list(letters: &mut DeadLetters, limit: usize) -> Result<Vec<DeadEntry>, FactsError> {
    let mut entries = Vec::new();
    while entries.len() < limit {
        let Some(letter) = letters.next().await? else { break };
        entries.push(DeadEntry::of(&letter));
        letters.hold(letter);
    }
    Ok(entries)
}

/// What a pass over old letters did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OldLetters {
    /// Letters that were removed, and the bytes of their bodies.
    pub removed: (usize, u64),
    /// Letters that stay, likewise, as far as they were looked at.
    pub kept: (usize, u64),
}

/// Removes the letters that were published before a time, unless this is only to tell which. One that does not
/// say when it was published stays.
///
/// # Errors
/// When the broker refuses, or does not answer.
pub async fn remove_old(
    letters: &mut DeadLetters,
    before: Timestamp,
    only_tell: bool,
) -> Result<OldLetters, FactsError> {
    let mut old = OldLetters::default();
    for _ in 0..MAX_SEARCHED {
        let Some(letter) = letters.next().await? else { break };
        let is_old = letter.properties.timestamp.is_some_and(|at| at < before);
        let count = if is_old { &mut old.removed } else { &mut old.kept };
        count.0 += 1;
        count.1 += letter.body.len() as u64;
        if is_old && !only_tell {
            letters.remove(&letter).await?;
        } else {
            letters.hold(letter);
        }
    }
    Ok(old)
}

/// The letter with a key.
///
/// # Errors
/// When there is none, or the broker does not answer.
pub async fn find(letters: &mut DeadLetters, key: &Key) -> Result<DeadLetter, FactsError> {
    for _ in 0..MAX_SEARCHED {
        let Some(letter) = letters.next().await? else { break };
        if Key::of(&letter) == *key {
            return Ok(letter);
        }
        letters.hold(letter);
    }
    let among = letters.waiting();
    Err(FactsError::Missing(format!(
        "there is no dead letter {key} among the oldest {MAX_SEARCHED} of {among}; longshore dead \
         list shows their keys"
    )))
}

/// The queue that a replay of a letter goes to, or why it goes nowhere.
///
/// # Errors
/// A sentence that says why.
pub fn goes_to(topology: &Topology, letter: &DeadLetter) -> Result<String, String> {
    origin(topology, letter).map(|inbox| topology.inbox(inbox))
}

/// Publishes one again, and removes it once the broker has it.
///
/// # Errors
/// The letter is still there.
pub async fn replay(
    topology: &Topology,
    letters: &DeadLetters,
    letter: &DeadLetter,
    same_run: bool,
) -> Result<Replayed, FactsError> {
    let key = Key::of(letter);
    let inbox = origin(topology, letter)
        .map_err(|why| FactsError::Refused(format!("{key} cannot be replayed: {why}")))?;
    let body = if same_run { letter.body.clone() } else { body_of_a_new_run(letter, inbox) };
    let message_id = key.message_id();
    letters.replay(letter, inbox, &message_id, &body).await?;
    Ok(Replayed { key, queue: topology.inbox(inbox), message_id })
}

/// Publishes all again that were there in the beginning. What cannot be replayed stays. `tell` hears
/// of each, and may end it by `false`.
///
/// # Errors
/// When the letters cannot be read.
pub async fn replay_all(
    topology: &Topology,
    letters: &mut DeadLetters,
    same_run: bool,
    tell: &mut (dyn FnMut(Result<Replayed, FactsError>) -> bool + Send),
) -> Result<(), FactsError> {
    for _ in 0..MAX_SEARCHED {
        let Some(letter) = letters.next().await? else { break };
        let replayed = replay(topology, letters, &letter, same_run).await;
        if replayed.is_err() {
            letters.hold(letter);
        }
        if !tell(replayed) {
            break;
        }
    }
    Ok(())
}
