//! What is known of a job, and what that means: what became of it, or why it does not run.

pub(super) mod measured;
pub(super) mod report;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::FactsError;
use super::fleet::{self, Fleet, Obstacle};
use super::series::LastProgress;
use super::states::StateReport;
use crate::broker::Broker;
use crate::job::series::SeriesSummary;
use crate::job::{EventData, ExecutionResult, JobId, Verdict, parse_executable};
use crate::storage::{
    EndRecord, JobRecord, Journal, JournalError, OwnerRecord, RecordState, Tombstone,
};
use crate::worker::{Standing, ends, standing};

/// How many earlier runs of a job are listed at most, to find the latest of them.
const MAX_LISTED: usize = 10_000;

/// How many earlier runs are told.
const MAX_TOLD: usize = 10;

/// How many records are read at a time.
const CONCURRENCY: usize = 4;

/// How much later than its lease a bot has ended, in seconds, for a worker elsewhere.
const LEASE_MARGIN_SECONDS: u64 = 6;

/// Everything that is known of a job.
pub struct Story {
    /// The job.
    pub id: JobId,
    /// Its latest run.
    pub record: Option<JobRecord>,
    /// The owner of its segment, or the last one.
    pub owner: Option<OwnerRecord>,
    /// Whether its segment's index has it.
    pub is_indexed: bool,
    /// The stops that were noted.
    pub stops: Vec<Tombstone>,
    /// The ends of earlier runs, the latest first.
    pub earlier: Vec<EndRecord>,
    /// How many earlier runs are not among them.
    pub left_out: usize,
    /// The state of a bot, if one was kept.
    pub kept: Option<StateReport>,
    /// What the program of the latest run measured in its latest attempt.
    pub series: Vec<SeriesSummary>,
    /// How far the program of a run that goes on said that it is.
    pub progress: Option<LastProgress>,
    /// `None` if the broker was not asked.
    pub queues: Option<Queues>,
    /// What is wrong with records that could not be read.
    pub unreadable: Vec<String>,
}

/// What the broker says.
pub struct Queues {
    /// The queues that all workers share.
    pub fleet: Fleet,
    /// Whether a worker holds the job's segment; asked only if the run goes on.
    pub is_held: Option<bool>,
}

impl Story {
    /// A story of which nothing is known yet.
    #[must_use]
    pub fn of(id: JobId) -> Self {
        Self {
            id,
            record: None,
            owner: None,
            is_indexed: false,
            stops: Vec::new(),
            earlier: Vec::new(),
            left_out: 0,
            kept: None,
            series: Vec::new(),
            progress: None,
            queues: None,
            unreadable: Vec::new(),
        }
    }

    /// The segment of a run that goes on.
    #[must_use]
    pub fn segment_that_matters(&self) -> Option<u32> {
        let record = self.record.as_ref()?;
        (record.state == RecordState::Active).then_some(record.segment)
    }

    /// What became of the job, or why it does not run, as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Some(record) = &self.record else { return self.unknown() };
        match record.state {
            RecordState::Finished => match result_of(record) {
                Some(result) if result.message == verdict_of(result) => result.message.clone(),
                Some(result) => format!("{}: {}", verdict_of(result), result.message),
                None => "it has ended, and the journal does not say how".to_owned(),
            },
            RecordState::Waiting => {
                let attempt = record.attempt;
                let obstacle = self.obstacle(is_long_running(record));
                format!(
                    "the infrastructure failed; attempt {attempt} waits in a retry queue of the \
                     broker{}",
                    obstacle.map_or_else(String::new, |obstacle| format!(", and {obstacle}"))
                )
            }
            RecordState::Active => self.active(record),
        }
    }

    fn unknown(&self) -> String {
        let known = "no worker has taken a start of this job";
        let Some(queues) = &self.queues else { return known.to_owned() };
        let fleet = queues.fleet.sentence();
        match (queues.fleet.waiting(), queues.fleet.workers()) {
            (1.., _) => format!("{known}; if it was sent, it waits in its queue: {fleet}"),
            (0, None) => format!("{known}: {fleet}"),
            (0, Some(_)) => format!(
                "{known}, and no start waits: none was sent, or it was refused (longshore dead \
                 list), or it waits for a retry ({fleet})"
            ),
        }
    }

    fn active(&self, record: &JobRecord) -> String {
        let owner = self.owner.as_ref();
        let stands = standing(record, owner.map(|owner| owner.epoch), self.is_indexed);
        if stands == Standing::Orphaned {
            return "nobody has it: the worker that took it lost its segment at that moment; its \
                    start comes again, or start it again"
                .to_owned();
        }
        let segment = record.segment;
        let worker = owner.map_or("unknown", |owner| &owner.worker);
        let stop = self.stops.iter().find(|stop| !stop.is_spent && ends(stop, record));
        let ending = stop.map_or("", |_| ", and a stop that ends it is noted");
        match &self.queues {
            None => format!("the worker {worker} has it, as the journal says{ending}"),
            Some(queues) if queues.is_held == Some(true) => {
                format!("the worker {worker} runs it or prepares it{ending}")
            }
            Some(queues) => {
                let next = match queues.fleet.workers() {
                    None | Some(0) => Obstacle::WorkersAway.to_string(),
                    Some(_) => {
                        let lease = owner.map_or(0, |owner| owner.lease_seconds);
                        format!(
                            "one on the same host and engine takes it over at once, another one \
                             about {} s after that",
                            lease + LEASE_MARGIN_SECONDS
                        )
                    }
                };
                format!(
                    "its worker {worker} is gone, and segment {segment} is free: {next}{ending}"
                )
            }
        }
    }

    fn obstacle(&self, long_running: bool) -> Option<Obstacle> {
        self.queues.as_ref().and_then(|queues| queues.fleet.obstacle(long_running))
    }
}

/// What the journal knows.
///
/// # Errors
/// When the journal cannot be read.
pub async fn read(journal: &Journal, id: &JobId) -> Result<Story, FactsError> {
    let mut story = Story::of(id.clone());
    story.record = journal.read(id).await?.map(|(record, _)| record);
    story.stops = journal.stops(id).await?;
    if let Some(record) = &story.record {
        story.owner = journal.owner(record.segment).await?.map(|(owner, _)| owner);
        story.is_indexed = journal.is_entered(record).await?;
    }
    match journal.state(id).await {
        Ok(kept) => story.kept = kept.and_then(|(record, _)| StateReport::of(&record)),
        Err(error) if error.is_corrupt() => story.unreadable.push(error.to_string()),
        Err(error) => return Err(error.into()),
    }
    let mut runs = journal.earlier_runs(id, MAX_LISTED).await?;
    let current = story.record.as_ref().map(|record| record.run_id.clone());
    runs.retain(|run| Some(&run.id) != current.as_ref());
    runs.sort_by_key(|run| std::cmp::Reverse(run.written_at));
    story.left_out = runs.len().saturating_sub(MAX_TOLD);
    let ends: Vec<Result<Option<EndRecord>, String>> =
        stream::iter(runs.into_iter().take(MAX_TOLD))
            .map(|run| async move {
                match journal.ended(id, &run.id).await {
                    Err(error) if error.is_corrupt() => Ok(Err(error.to_string())),
                    read => read.map(Ok),
                }
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
            .map_err(|error: JournalError| FactsError::from(error))?;
    for end in ends {
        match end {
            Ok(end) => story.earlier.extend(end),
            Err(why) => story.unreadable.push(why),
        }
    }
    Ok(story)
}

/// What the broker knows of a job whose run goes on in `segment`, if one does.
///
/// # Errors
/// When there is no connection, or the broker refuses.
pub async fn ask(broker: &Broker, segment: Option<u32>) -> Result<Queues, FactsError> {
    let fleet = fleet::look(broker).await?;
    let is_held = match segment {
        Some(segment) => Some(broker.is_locked(segment).await?),
        None => None,
    };
    Ok(Queues { fleet, is_held })
}

/// How a run ended, as far as its record says it.
#[must_use]
pub fn result_of(record: &JobRecord) -> Option<&ExecutionResult> {
    match &record.result.as_ref()?.data {
        EventData::Result(result) => Some(result),
        EventData::Status(_) => None,
    }
}

/// The verdict of a run as a word.
#[must_use]
pub fn verdict_of(result: &ExecutionResult) -> &'static str {
    result.verdict.map_or("running", Verdict::as_str)
}

fn is_long_running(record: &JobRecord) -> bool {
    parse_executable(record.message.body.as_bytes()).is_ok_and(|start| start.is_long_running)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::broker::{Backlog, Inbox};

    fn record(state: &str) -> JobRecord {
        serde_json::from_value(json!({
            "id": "bot-1", "run_id": "r1", "segment": 3, "epoch": 4, "state": state, "attempt": 2,
            "claimed_at": "2026-03-02T09:15:03Z", "message": { "body": "{}" },
        }))
        .unwrap()
    }

    fn queues(workers: Option<u32>, waiting: u32, is_held: bool) -> Queues {
        let backlog = |inbox, messages, consumers| Backlog {
            inbox,
            queue: String::new(),
            messages,
            consumers,
        };
        let backlogs = workers.map(|workers| {
            vec![
                backlog(Inbox::Stop, 0, workers),
                backlog(Inbox::StartTerminating, waiting, 0),
                backlog(Inbox::StartLongRunning, 0, workers),
            ]
        });
        Queues { fleet: Fleet::new(backlogs.unwrap_or_default()), is_held: Some(is_held) }
    }

    fn story(state: Option<&str>, queues: Option<Queues>) -> Story {
        let mut story = Story::of("bot-1".parse().unwrap());
        story.record = state.map(record);
        story.owner = serde_json::from_value(json!({
            "segment": 3, "epoch": 4, "worker": "w-1", "claimed_at": "2026-03-02T09:00:00Z",
            "place": { "host": "h", "engine": "e", "temp_dir": "/t" }, "lease_seconds": 15,
        }))
        .unwrap();
        (story.is_indexed, story.queues) = (true, queues);
        story
    }

    fn said(state: Option<&str>, queues: Option<Queues>) -> String {
        story(state, queues).sentence()
    }

    #[test]
    fn a_job_that_nobody_took_waits_or_was_never_sent() {
        let waits = said(None, Some(queues(Some(0), 2, false)));
        assert!(
            waits.ends_with("in its queue: no worker is connected, and 2 starts wait"),
            "{waits}"
        );
        let none = said(None, Some(queues(Some(1), 0, false)));
        assert!(none.contains("none was sent, or it was refused"), "{none}");
        assert!(said(None, Some(queues(None, 0, false))).contains("there are no queues yet"));
        assert_eq!(said(None, None), "no worker has taken a start of this job");
    }

    #[test]
    fn a_run_that_goes_on_has_a_worker_or_waits_for_one() {
        let held = said(Some("active"), Some(queues(Some(1), 0, true)));
        assert_eq!(held, "the worker w-1 runs it or prepares it");
        let free = said(Some("active"), Some(queues(Some(1), 0, false)));
        assert!(
            free.starts_with("its worker w-1 is gone, and segment 3 is free: one on"),
            "{free}"
        );
        assert!(free.contains("about 21 s"), "{free}");
        let alone = said(Some("active"), Some(queues(Some(0), 0, false)));
        assert!(alone.ends_with("is free: no worker is connected"), "{alone}");
        let waiting = said(Some("waiting"), Some(queues(Some(0), 0, false)));
        assert!(waiting.contains("attempt 2 waits in a retry queue"), "{waiting}");
        assert!(waiting.ends_with(", and no worker is connected"), "{waiting}");
    }

    #[test]
    fn a_claim_under_an_ended_ownership_is_nobodys() {
        let mut story = story(Some("active"), Some(queues(Some(1), 0, true)));
        story.is_indexed = false;
        assert!(story.sentence().starts_with("the worker w-1"), "{}", story.sentence());
        if let Some(owner) = &mut story.owner {
            owner.epoch = 5;
        }
        assert!(story.sentence().starts_with("nobody has it"), "{}", story.sentence());
    }

    #[test]
    fn a_stop_that_is_meant_for_the_run_is_told_until_it_is_carried_out() {
        let mut story = story(Some("active"), Some(queues(Some(1), 0, true)));
        let stop = |at: &str, is_spent| Tombstone {
            id: "bot-1".parse().unwrap(),
            run_id: None,
            reason: None,
            at: at.parse().unwrap(),
            is_spent,
        };
        for (at, is_spent, is_told) in [
            ("2026-03-02T09:16:00Z", false, true),
            ("2026-03-02T09:16:00Z", true, false),
            ("2026-03-02T09:14:00Z", false, false),
        ] {
            story.stops = vec![stop(at, is_spent)];
            assert_eq!(story.sentence().ends_with("is noted"), is_told, "{at} {is_spent}");
        }
    }
}
