//! Keeps the state of a running bot: from its file to the store.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::kept::Kept;
use super::opening::{NotTaken, owner_of, take};
use super::record::Refused;
use crate::job::state::{KeptState, STATE_FILE, SeenState, largest_file_bytes, read_state};
use crate::job::{JsonText, State};
use crate::metrics::StateOutcome;
use crate::runner::directory::{FoundFile, JobDirectory};
use crate::runner::managed::Managed;
use crate::runner::observer::RunObserver;
use crate::runner::site::Site;
use crate::storage::{JournalError, StoreError};

/// How long a text that does not say that it is complete must stay as it is.
const REST: Duration = Duration::from_secs(1);

/// How often it is looked at for that, before it is left for the next time.
const MAX_LOOKS: usize = 5;

/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(2);

/// How often others may cross a write.
const MAX_CROSSINGS: usize = 10;

/// What is told when another run or worker has the state.
const SUPERSEDED: &str = "the state is kept no more: another run or worker has the state of this job now, or it was removed";

/// Why a state is not in the store.
struct NotKept {
    reason: String,
    /// Whether it may work later.
    may_pass: bool,
}

impl NotKept {
    fn finally(reason: String) -> Self {
        Self { reason, may_pass: false }
    }
}

impl From<JournalError> for NotKept {
    fn from(error: JournalError) -> Self {
        // A full disk, as with a local run, does not pass while it is waited for.
        let may_pass = matches!(
            error,
            JournalError::Store(StoreError::Unavailable { .. } | StoreError::Tls { .. })
        );
        Self { reason: error.to_string(), may_pass }
    }
}

impl From<NotTaken> for NotKept {
    fn from(why: NotTaken) -> Self {
        let reason = match why {
            NotTaken::Journal(error) => return error.into(),
            NotTaken::NotShown => "the worker cannot show that the run is its own",
            NotTaken::Contended => "it is written by others, too",
        };
        Self { reason: reason.to_owned(), may_pass: true }
    }
}

/// The state of a bot that runs here.
pub(in crate::runner) struct Keeping<'a> {
    site: &'a Site,
    managed: &'a Managed,
    observer: &'a dyn RunObserver,
    bounds: KeptState,
    directory: JobDirectory,
    /// Whether the last try failed.
    is_failing: bool,
}

impl<'a> Keeping<'a> {
    /// The state of this attempt; `None` if it keeps none.
    pub(in crate::runner) fn of(
        site: &'a Site,
        managed: &'a Managed,
        observer: &'a dyn RunObserver,
    ) -> Option<Self> {
        let bounds = managed.run.job.state?;
        let directory = site.directory_of(&managed.run);
        Some(Self { site, managed, observer, bounds, directory, is_failing: false })
    }

    /// Stores what has changed, on the log's interval. It never ends, and may be dropped at any time.
    pub(in crate::runner) async fn follow(&mut self) -> Infallible {
        loop {
            let interval = self.managed.run.job.log_interval;
            let kept = self.keep(false).await;
            let pause = if kept.is_ok() { interval } else { interval.min(RETRY) };
            self.note(kept.as_ref().err());
            sleep(pause).await;
        }
    }

    /// Stores the last state of an ended container, and waits for the store as long as it is away: the
    /// result waits for the store anyway. Returns a sentence if the last state is not in the store.
    pub(in crate::runner) async fn finish(mut self) -> Option<String> {
        loop {
            let kept = self.keep(true).await;
            self.note(kept.as_ref().err());
            match kept {
                Err(error) if error.may_pass => sleep(RETRY).await,
                Err(error) => return Some(format!("the last state is not kept: {}", error.reason)),
                Ok(()) => break,
            }
        }
        let kept = self.managed.state.lock().await;
        let kept = kept.as_ref()?;
        if kept.is_superseded { Some(SUPERSEDED.to_owned()) } else { kept.problem.clone() }
    }

    fn note(&mut self, failed: Option<&NotKept>) {
        let id = &self.managed.run.job.id;
        if let Some(NotKept { reason, .. }) = failed {
            self.site.metrics.state(StateOutcome::Failed);
            if !self.is_failing {
                tracing::warn!(job.id = %id, reason, "could not keep the state of a job; trying again");
            }
        } else if self.is_failing {
            tracing::info!(job.id = %id, "keeps the state of a job again");
        }
        self.is_failing = failed.is_some();
    }

    /// Stores the state if it has changed. `is_over`: nobody writes it any more.
    async fn keep(&mut self, is_over: bool) -> Result<(), NotKept> {
        let mut guard = self.managed.state.lock().await;
        let kept = match &mut *guard {
            Some(kept) => kept,
            // An adopted container.
            none => none.insert(take(self.site, &self.managed.run, self.observer).await?),
        };
        if kept.is_superseded {
            return Ok(());
        }
        let SeenState { value, problem, .. } = self.look(kept, is_over).await?;
        self.tell_problem(kept, problem, is_over);
        match value {
            Some(value) if kept.record.value.as_ref() != Some(&value) => {
                self.store(kept, value, is_over).await
            }
            _ => Ok(()),
        }
    }

    /// What is in the file, once it rests. Nothing if it does not.
    async fn look(&self, kept: &Kept, is_over: bool) -> Result<SeenState, NotKept> {
        let mut seen = self.read().await?;
        let is_known = seen.problem.is_none() && seen.value == kept.record.value;
        if is_over || is_known || seen.is_sealed {
            return Ok(seen);
        }
        for _ in 0..MAX_LOOKS {
            sleep(REST).await;
            let again = self.read().await?;
            if again.is_sealed || again == seen {
                return Ok(again);
            }
            seen = again;
        }
        Ok(SeenState::default())
    }

    async fn read(&self) -> Result<SeenState, NotKept> {
        let max_kb = self.bounds.max_kb;
        let refused = |problem| SeenState { problem: Some(problem), ..SeenState::default() };
        match self.directory.read(STATE_FILE, largest_file_bytes(max_kb)).await {
            Ok(FoundFile::Regular(content)) => {
                let reading = tokio::task::spawn_blocking(move || read_state(&content, max_kb));
                reading.await.map_err(|error| NotKept::finally(error.to_string()))
            }
            Ok(FoundFile::Nothing) => Ok(refused("is in no file any more".to_owned())),
            Ok(FoundFile::Unusable(problem)) => Ok(refused(format!("is in a file that {problem}"))),
            Err(error) => Err(NotKept::finally(error.to_string())),
        }
    }

    async fn store(&self, kept: &mut Kept, value: JsonText, is_over: bool) -> Result<(), NotKept> {
        let (id, states) = (&self.managed.run.job.id, &self.site.states);
        let owner = owner_of(&self.managed.run, self.observer);
        for _ in 0..MAX_CROSSINGS {
            let record = owner.writes(kept.record.seq, Some(value.clone()), Timestamp::now());
            let written = states.write_state(id, &record, Some(&kept.version)).await?;
            if let Some(version) = written {
                (kept.record, kept.version) = (record, version);
            } else {
                let found = states.state(id).await?;
                match (Refused::judge(found.as_ref().map(|it| &it.0), &record, &owner), found) {
                    (Refused::Done, Some(found)) => (kept.record, kept.version) = found,
                    (Refused::Again, Some(found)) => {
                        (kept.record, kept.version) = found;
                        continue;
                    }
                    _ => {
                        kept.is_superseded = true;
                        self.site.metrics.state(StateOutcome::Superseded);
                        self.tell(SUPERSEDED, is_over);
                        return Ok(());
                    }
                }
            }
            self.site.metrics.state(StateOutcome::Saved);
            return Ok(());
        }
        Err(NotTaken::Contended.into())
    }

    /// Tells once that a state cannot be kept.
    fn tell_problem(&self, kept: &mut Kept, problem: Option<String>, is_over: bool) {
        kept.problem =
            problem.map(|problem| format!("the state {problem}; the last good one is kept"));
        if let Some(problem) = &kept.problem
            && !kept.has_told
        {
            kept.has_told = true;
            self.site.metrics.state(StateOutcome::Refused);
            self.tell(problem, is_over);
        }
    }

    fn tell(&self, sentence: &str, is_over: bool) {
        let Managed { run, .. } = self.managed;
        tracing::warn!(job.id = %run.job.id, run.id = %run.job.run_id, detail = sentence, "a job's state is not kept");
        if !is_over {
            let container = self.managed.container();
            self.observer.note(State::Running, container, sentence.to_owned());
        }
    }
}
