//! A job's story, for people. Pure.

use jiff::Timestamp;

use crate::cli::output::{columns, fact};
use crate::cli::size::size;
use crate::cli::terminal::one_line;
use crate::cli::time::{ago, second, took};
use crate::facts::{LastProgress, Story, result_of, verdict_of};
use crate::job::{EventData, ExecutionResult};
use crate::storage::{Bucket, EndRecord, JobRecord, ObjectStore, RecordState, Tombstone};

/// The story as text: a sentence, facts, and the earlier runs.
pub(super) fn text(story: &Story, buckets: &dyn ObjectStore, now: Timestamp) -> String {
    let mut text = format!("{}: {}\n", story.id, one_line(&story.sentence()));
    let mut facts = Vec::new();
    if let Some(record) = &story.record {
        facts.extend(facts_of(story, record, now));
        facts.extend(places_of(record, buckets));
    }
    facts.extend(measured(story, now));
    facts.extend(story.stops.iter().map(|stop| ("stop", stop_line(stop))));
    for (name, value) in facts {
        text.push_str(&fact(name, &value));
    }
    if !story.earlier.is_empty() {
        let head = ["EARLIER RUN", "VERDICT", "ATTEMPT", "ENDED", "TOOK"];
        let rows = story.earlier.iter().filter_map(|end| row(end, now)).collect();
        text.push('\n');
        text.push_str(&columns(head, rows));
    }
    if story.left_out > 0 {
        text.push_str(&fact("older", &format!("{} runs", story.left_out)));
    }
    text
}

fn facts_of(story: &Story, record: &JobRecord, now: Timestamp) -> Vec<(&'static str, String)> {
    let result = result_of(record);
    let worker = match (result, &story.owner) {
        (Some(result), _) => Some(&result.worker),
        (None, owner) => owner.as_ref().map(|owner| &owner.worker),
    };
    let time = |at: Timestamp| format!("{} ({})", second(at), ago(at, now));
    let mut facts = vec![
        ("run", record.run_id.to_string()),
        ("attempt", record.attempt.to_string()),
        ("worker", worker.map_or_else(|| "-".to_owned(), Clone::clone)),
        ("segment", record.segment.to_string()),
    ];
    facts.extend(record.message.published_at.map(|at| ("sent", time(at))));
    facts.push(("taken", time(record.claimed_at)));
    let Some(result) = result else { return facts };
    facts.extend(result.started_at.map(|at| ("started", time(at))));
    let lasted = took(result.duration_seconds);
    facts.push(("ended", format!("{}, after {lasted}", time(result.finished_at))));
    facts.extend(result.exit_code.map(|code| ("exit code", code.to_string())));
    if story.is_indexed && record.state == RecordState::Finished {
        facts.push(("event", "the broker has not confirmed the result event yet".to_owned()));
    }
    facts
}

/// What is kept of a bot, how far the program is, and what it measured.
fn measured(story: &Story, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(kept) = &story.kept {
        let at = format!("{} ({})", second(kept.written_at), ago(kept.written_at, now));
        let size = size(kept.bytes as u64);
        facts.push(("state", format!("{size}, written {at} by run {}", kept.run_id)));
    }
    if let Some(LastProgress { percent, text, at }) = &story.progress {
        let text = text.as_ref().map_or_else(String::new, |text| format!(": {}", one_line(text)));
        facts.push(("progress", format!("{percent} %{text} ({})", ago(*at, now))));
    }
    let series = story.series.iter().map(|one| {
        ("series", format!("{}: {} points, last {}", one_line(&one.name), one.points, one.last))
    });
    facts.extend(series);
    facts
}

/// Where result, output and logs are.
fn places_of(record: &JobRecord, buckets: &dyn ObjectStore) -> Vec<(&'static str, String)> {
    let id = &record.id;
    let mut places = Vec::new();
    let place = |bucket, key: &str| format!("{} in {}", key, buckets.bucket_name(bucket));
    if let Some(result) = result_of(record) {
        if result.result.is_some() || result.objects.result_key.is_some() {
            places.push(("result", format!("longshore result {id}")));
        }
        let objects = &result.objects;
        for key in objects.result_key.iter().chain(&objects.output_key) {
            places.push(("object", place(Bucket::Results, key)));
        }
        places.extend(objects.log_keys.iter().map(|key| ("log", place(Bucket::Logs, key))));
    }
    places.push(("logs", format!("longshore logs {id}")));
    places
}

fn stop_line(stop: &Tombstone) -> String {
    let which = stop.run_id.as_ref().map_or("every run".to_owned(), |run| format!("run {run}"));
    let reason = stop.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
    let done = if stop.is_spent { "carried out" } else { "noted" };
    format!("{} of {which}{reason}: {done}", second(stop.at))
}

fn end_of(end: &EndRecord) -> Option<&ExecutionResult> {
    match &end.event.data {
        EventData::Result(result) => Some(result),
        EventData::Status(_) => None,
    }
}

fn row(end: &EndRecord, now: Timestamp) -> Option<[String; 5]> {
    let result = end_of(end)?;
    Some([
        result.run_id.as_ref().map_or_else(String::new, ToString::to_string),
        verdict_of(result).to_owned(),
        result.attempt.to_string(),
        ago(result.finished_at, now),
        took(result.duration_seconds),
    ])
}
