//! Follows a log: first stored lines, then new ones, without missing or repeating a line.
//!
//! The follower first subscribes, then says that it listens. The worker that runs the job sends all
//! earlier lines to the store, and answers with the number of the piece of output from which on it
//! sends lines live. So the follower shows the store up to there, and then the live lines. A lost
//! live line shows as a gap in the numbers, and is read from the store, too.

mod tracked;

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

pub use self::tracked::{LineSink, Tracked};
use super::FactsError;
use crate::broker::{Broker, Heard};
use crate::job::{EventData, JobId, Listening, LogLines, RunId};
use crate::logs::{LISTENING_HOLDS, LogQuery, StoredLine, Stream, read, stored_up_to};
use crate::storage::{Journal, ObjectStore, RecordState};

/// How long the worker that runs the job may take to answer.
const GREETING_PATIENCE: Duration = Duration::from_secs(3);

/// The pause between two checks whether the run has ended, while nobody answers.
const LOOK_FOR_THE_END: Duration = Duration::from_secs(10);

/// The pause between two attempts to say that we listen, while the broker is away.
const LISTEN_RETRY: Duration = Duration::from_millis(500);

/// How long lines may take to reach the store.
const STORING_PATIENCE: Duration = Duration::from_mins(1);

/// The pause between two checks whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

/// What is followed, and where it is read.
#[derive(Clone, Copy)]
pub struct Following<'a> {
    /// The job.
    pub id: &'a JobId,
    /// The store of its log.
    pub store: &'a Arc<dyn ObjectStore>,
    /// The broker of its workers.
    pub broker: &'a Broker,
}

/// Passes on stored lines, and then new ones, until the run ends. A lost connection costs only time:
/// missed lines are in the store.
///
/// # Errors
/// When the store cannot be read, the broker refuses, or the lines cannot be passed on.
pub async fn follow<S: LineSink>(
    what: Following<'_>,
    query: &mut LogQuery,
    shown: &mut Tracked<S>,
) -> Result<(), FactsError> {
    let Following { id, store, broker } = what;
    let journal = Journal::new(Arc::clone(store), broker.topology().namespace().to_owned());
    // Subscribe before speaking, so that the answer is heard.
    let mut heard = broker.follow_log(id, CancellationToken::new()).await?;
    let again = Notify::new();
    if listen(broker, id, true).await.is_err() {
        // The connection was lost just now: said again as soon as there is one.
        again.notify_one();
    }
    let runs = HashMap::new();
    let store = &**store;
    let mut follower = Follower { id, store, query, shown, is_stored_shown: false, runs };
    let following = async {
        // Wait until a worker answers, or lines come.
        let mut unanswered = Some(Instant::now() + GREETING_PATIENCE);
        let mut is_told = false;
        loop {
            let next = match unanswered {
                None => heard.next().await,
                Some(moment) => {
                    let Ok(next) = timeout_at(moment, heard.next()).await else {
                        unanswered = Some(Instant::now() + LOOK_FOR_THE_END);
                        if !broker.is_connected() {
                            continue;
                        }
                        follower.catch_up().await?;
                        if has_ended(&journal, &follower).await {
                            // Lines that were stored at the very end.
                            follower.catch_up().await?;
                            return Ok(());
                        }
                        if !std::mem::replace(&mut is_told, true) {
                            follower
                                .shown
                                .say(&format!("no worker runs {id} now; waiting for it to run"));
                        }
                        continue;
                    };
                    next
                }
            };
            match next {
                None => return Ok(()),
                Some(Heard::Gap) => {
                    again.notify_one();
                    unanswered = Some(Instant::now() + GREETING_PATIENCE);
                }
                Some(Heard::Lines(lines)) => {
                    unanswered = None;
                    follower.take(lines).await?;
                }
                Some(Heard::Result(event)) => {
                    let EventData::Result(result) = &event.data else { continue };
                    if !result.is_refusal() && follower.is_about(result.run_id.as_ref()) {
                        // All of its log was stored before the result was published.
                        follower.catch_up().await?;
                        return Ok(());
                    }
                }
            }
        }
    };
    tokio::select! {
        ended = following => ended,
        never = keep_listening(broker, id, &again) => match never {},
    }
}

async fn listen(broker: &Broker, id: &JobId, begins: bool) -> Result<(), FactsError> {
    let listening = Listening { id: id.clone(), begins };
    Ok(broker.publish_listening(&listening).await?)
}

/// Repeats that a client listens. After a lost connection it does so like a new listener.
async fn keep_listening(broker: &Broker, id: &JobId, again: &Notify) -> Infallible {
    loop {
        let begins = timeout(LISTENING_HOLDS / 3, again.notified()).await.is_ok();
        // While the broker is away, nobody can hear it.
        while listen(broker, id, begins).await.is_err() {
            sleep(LISTEN_RETRY).await;
        }
    }
}

/// Whether the followed run has ended, if we may read the journal.
async fn has_ended(journal: &Journal, follower: &Follower<'_, impl LineSink>) -> bool {
    match journal.read(follower.id).await {
        Ok(Some((record, _))) => {
            let is_followed = follower.is_about(Some(&record.run_id));
            // A later run's record means that the earlier runs have ended.
            !is_followed || record.state == RecordState::Finished
        }
        Ok(None) => false,
        Err(error) => {
            tracing::debug!(job.id = %follower.id, %error, "could not look whether the run has ended");
            false
        }
    }
}

/// How far the lines of one attempt were read.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    /// The number of the first piece that was not read.
    next: u64,
    /// Up to here, lines from the store may already have been shown.
    perhaps: u64,
}

struct Follower<'a, S> {
    id: &'a JobId,
    store: &'a dyn ObjectStore,
    query: &'a mut LogQuery,
    shown: &'a mut Tracked<S>,
    is_stored_shown: bool,
    runs: HashMap<(RunId, u32), Taken>,
}

impl<S: LineSink> Follower<'_, S> {
    /// Whether an event is about a followed run.
    fn is_about(&self, run: Option<&RunId>) -> bool {
        let mut known = self.runs.keys();
        self.runs.is_empty() || known.any(|(one, _)| Some(one) == run)
    }

    async fn take(&mut self, lines: LogLines) -> Result<(), FactsError> {
        let key = (lines.run_id.clone(), lines.attempt);
        let mut taken = self.runs.get(&key).copied().unwrap_or_default();
        if !self.is_stored_shown || lines.from > taken.next {
            self.wait_until_stored(&lines).await?;
            taken.next = self.stored(&lines).await?;
            self.catch_up().await?;
            taken.perhaps = self.stored(&lines).await?;
        }
        let asked_for = |stream: Stream| stream.as_str() == lines.stream.as_str();
        if self.query.stream.is_none_or(asked_for) {
            for line in lines.lines.iter().filter(|line| line.piece >= taken.next) {
                let raw = format!("{} {} {}", line.time, lines.stream, line.text);
                let may_be_shown = line.piece < taken.perhaps;
                self.shown.live(&StoredLine::parse(&raw), may_be_shown)?;
            }
            self.shown.flush()?;
        }
        taken.next = taken.next.max(lines.to);
        self.runs.insert(key, taken);
        Ok(())
    }

    /// Shows stored lines that were not shown yet.
    async fn catch_up(&mut self) -> Result<(), FactsError> {
        if !self.is_stored_shown && self.query.tail == Some(0) {
            self.skip_stored().await?;
        }
        self.shown.stored(self.store, self.id, self.query).await?;
        // From now on, count from what was shown. What came before is not read again.
        self.query.tail = None;
        self.query.since = self.shown.floor().or(self.query.since);
        self.is_stored_shown = true;
        Ok(())
    }

    /// No stored lines are wanted: only notes where they end.
    async fn skip_stored(&mut self) -> Result<(), FactsError> {
        let last = LogQuery { tail: Some(1), ..self.query.clone() };
        let mut sink = |line: StoredLine<'_>| {
            self.shown.skip(&line);
            ControlFlow::Continue(())
        };
        Ok(read(self.store, self.id, &last, &mut sink).await?)
    }

    async fn stored(&self, lines: &LogLines) -> Result<u64, FactsError> {
        Ok(stored_up_to(self.store, self.id, &lines.run_id, lines.attempt).await?)
    }

    /// Waits until all earlier lines are stored.
    async fn wait_until_stored(&mut self, lines: &LogLines) -> Result<(), FactsError> {
        let begun = Instant::now();
        while self.stored(lines).await? < lines.from {
            if begun.elapsed() > STORING_PATIENCE {
                self.shown.say("lines may be missing here: they have not reached the object store");
                return Ok(());
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }
}
