//! `longshore jobs`.

mod row;

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use self::row::row;
use super::output::{Format, columns, print, print_json, warn};
use super::telemetry::Voice;
use super::terminal::one_line;
use super::time::since;
use super::{Context, Outcome};
use crate::facts::{self, JobsQuery, MAX_LISTED};
use crate::storage::{Journal, S3Store};

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
    let candidates = facts::candidates(listed, arguments.since);
    let found = facts::find_jobs(&journal, &arguments.query(), &candidates).await?;
    for why in &found.unreadable {
        warn(&one_line(why));
    }
    let jobs = found.jobs;
    match arguments.output {
        Format::Text => {
            let now = Timestamp::now();
            let head = ["JOB", "STATE", "ATTEMPT", "BEGUN", "TOOK", "WORKER"];
            print(&columns(head, jobs.iter().map(|job| row(job, now)).collect()))?;
        }
        Format::Json => print_json(&jobs)?,
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

impl JobsArguments {
    fn query(&self) -> JobsQuery {
        JobsQuery {
            failed: self.failed,
            running: self.running,
            segment: self.segment,
            limit: self.limit,
            scan: self.scan,
        }
    }
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
