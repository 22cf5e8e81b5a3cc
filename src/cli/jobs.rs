//! `longshore jobs`.

mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use self::summary::Summary;
use super::output::{Format, columns, print, print_json, warn};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::time::since;
use super::{Context, Failure, Outcome};
use crate::job::JobId;
use crate::storage::{Journal, JournalError, Noted, RecordState, S3Store};

/// List the jobs of the journal, the newest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  longshore jobs
  longshore jobs --failed --since 1d
  longshore jobs --running --segment 3
  longshore jobs --limit 500 --output json | jq '.[] | select(.attempt > 1)'

Each job has one line, about its latest run. STATE is the verdict of a run that
has ended, or:
  active   a worker has the job: it prepares it, or it runs
  waiting  the infrastructure failed, and the job waits for its next attempt
A start that still waits in its queue is not listed: see longshore queue. A
message that was refused before it led to a run is not listed either: see
longshore dead list.")]
pub struct JobsArguments {
    /// Only runs that failed: neither succeeded, stopped nor cancelled
    #[arg(long, conflicts_with = "running")]
    failed: bool,
    /// Only jobs that a worker has
    #[arg(long)]
    running: bool,
    /// Only jobs of this segment
    #[arg(long, value_name = "N")]
    segment: Option<u32>,
    /// Only jobs that began, ended or changed since then: a time, or how long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// List so many jobs at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Read so many records at most to find them
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    scan: usize,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// How many records are listed at most. A store lists by key and not by time, so the newest are
/// only known when all are listed: with more, that would take minutes.
const MAX_LISTED: usize = 500_000;

/// How many records are read at a time: a store in the same building answers in some milliseconds,
/// one far away in some tenths of a second.
const CONCURRENCY: usize = 16;

pub(super) async fn run(arguments: &JobsArguments, context: &Context) -> Outcome {
    let (settings, namespace) =
        context.settings(Voice::Tool, |reader| (reader.store(), reader.namespace()))?;
    let journal = Journal::new(Arc::new(S3Store::new(&settings)?), namespace);
    let listed = if arguments.running {
        journal.unsettled(arguments.segment, MAX_LISTED).await?
    } else {
        journal.jobs(MAX_LISTED).await?
    };
    let is_cut = listed.len() >= MAX_LISTED;
    let candidates = newest_first(listed, arguments.since);
    let found = find(&journal, arguments, &candidates).await?;
    let mut jobs = found.jobs;
    name_workers(&journal, &mut jobs).await?;
    jobs.sort_by_key(|job| std::cmp::Reverse(job.begun_at));
    match arguments.output {
        Format::Text => {
            let now = Timestamp::now();
            let head = ["JOB", "STATE", "ATTEMPT", "BEGUN", "TOOK", "WORKER"];
            print(&columns(head, jobs.iter().map(|job| job.row(now)).collect()))?;
        }
        Format::Json => print_json(&jobs.iter().map(Summary::object).collect::<Vec<_>>())?,
    }
    if let Some(more) = left_out(arguments, jobs.len(), found.read, candidates.len()) {
        warn(&more);
    }
    if is_cut {
        warn(&format!(
            "there are more than {MAX_LISTED} records: only the first of them, by id, were looked \
             at; --running and longshore show know all"
        ));
    }
    Ok(0)
}

/// Those that were written since a time, the newest first. A record that was not written since then
/// is of a run that neither began nor ended since then. So it need not be read.
fn newest_first(mut listed: Vec<Noted<JobId>>, since: Option<Timestamp>) -> Vec<JobId> {
    // A listing knows whole seconds.
    let is_new = |at: Timestamp| since.is_none_or(|since| at.as_second() >= since.as_second());
    listed.retain(|job| job.written_at.is_none_or(is_new));
    listed.sort_by(|a, b| b.written_at.cmp(&a.written_at).then_with(|| a.id.cmp(&b.id)));
    // A job that moves to another segment may be in two indexes.
    let mut seen = std::collections::HashSet::new();
    listed.into_iter().map(|job| job.id).filter(|id| seen.insert(id.clone())).collect()
}

/// What was found, and how many records were read for it.
struct Found {
    jobs: Vec<Summary>,
    read: usize,
}

async fn find(
    journal: &Journal,
    arguments: &JobsArguments,
    candidates: &[JobId],
) -> Result<Found, Failure> {
    let mut found = Found { jobs: Vec::new(), read: 0 };
    let candidates = candidates.iter().take(arguments.scan);
    // Each record is reduced at once: a whole one may have many megabytes.
    let mut read = stream::iter(candidates)
        .map(|id| async move {
            let read = journal.read(id).await;
            read.map(|read| read.map(|(record, _)| Summary::of(&record)))
        })
        .buffered(CONCURRENCY);
    while found.jobs.len() < arguments.limit {
        let Some(summary) = read.next().await else { break };
        found.read += 1;
        match summary {
            Ok(Some(job)) if is_asked_for(arguments, &job) => found.jobs.push(job),
            // It was removed a moment ago.
            Ok(_) => {}
            Err(error) if error.is_corrupt() => warn(&one_line(&error.to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn is_asked_for(arguments: &JobsArguments, job: &Summary) -> bool {
    (!arguments.failed || job.has_failed())
        && (!arguments.running || job.state == RecordState::Active)
        && arguments.segment.is_none_or(|segment| segment == job.segment)
}

/// A run that goes on has the worker that owns its segment.
async fn name_workers(journal: &Journal, jobs: &mut [Summary]) -> Result<(), Failure> {
    let asked = |job: &&Summary| job.state == RecordState::Active;
    let segments: std::collections::BTreeSet<_> =
        jobs.iter().filter(asked).map(|job| job.segment).collect();
    let owners: BTreeMap<u32, String> = stream::iter(segments)
        .map(|number| async move {
            let owner = journal.owner(number).await?;
            Ok::<_, JournalError>(owner.map(|(owner, _)| (number, owner.worker)))
        })
        .buffered(CONCURRENCY)
        .try_filter_map(|owner| async move { Ok(owner) })
        .try_collect()
        .await?;
    for job in jobs.iter_mut().filter(|job| job.state == RecordState::Active) {
        job.worker = owners.get(&job.segment).cloned();
    }
    Ok(())
}

/// What was left out, and which flag shows it. `all` is how many could have been read.
fn left_out(arguments: &JobsArguments, shown: usize, read: usize, all: usize) -> Option<String> {
    if read >= all {
        return None;
    }
    Some(if shown >= arguments.limit {
        let rest = all - read;
        format!("--limit {shown} is reached, and {rest} older records were not read")
    } else {
        format!("only the newest {read} of {all} records were read; --scan {all} reads all")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        jobs: JobsArguments,
    }

    fn arguments(line: &[&str]) -> JobsArguments {
        Line::try_parse_from([&["jobs"], line].concat()).unwrap().jobs
    }

    fn at(second: &str) -> Timestamp {
        format!("2026-03-02T09:15:{second}Z").parse().unwrap()
    }

    #[test]
    fn what_was_not_written_since_is_not_read_and_each_job_is_read_once() {
        let noted = |id: &str, second: &str| Noted {
            id: id.parse().unwrap(),
            written_at: Some(at(second)),
        };
        let listed = [noted("a", "01"), noted("b", "03"), noted("c", "02"), noted("b", "01")];
        let order = |since| {
            let ids = newest_first(listed.to_vec(), since);
            ids.iter().map(ToString::to_string).collect::<Vec<_>>().concat()
        };
        assert_eq!(order(None), "bca");
        // The listing has lost the part of a second.
        assert_eq!(order(Some(at("02.9"))), "bc");
        assert_eq!(order(Some(at("04"))), "");
    }

    #[test]
    fn what_is_left_out_is_said_with_the_flag_that_shows_it() {
        let said = |line: &[&str], shown, read, all| {
            left_out(&arguments(line), shown, read, all).unwrap_or_default()
        };
        assert_eq!(said(&[], 3, 3, 3), "");
        assert!(said(&["--limit", "3"], 3, 3, 10).contains("--limit 3 is reached, and 7 older"));
        assert!(said(&["--scan", "5"], 1, 5, 10).ends_with("--scan 10 reads all"));
    }

    #[test]
    fn running_and_failed_exclude_each_other() {
        assert!(Line::try_parse_from(["jobs", "--failed", "--running"]).is_err());
    }
}
