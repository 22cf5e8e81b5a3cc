//! Starts against results and dead letters.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Line;
use crate::evidence::{Evidence, Ticket};
use crate::plan::Work;
use crate::programs::{blames_the_disk, fault_of_result};
use longshore_testing::events::Seen;

pub(super) fn reckon(tickets: &[Ticket], evidence: &Evidence) -> Vec<Line> {
    let mut lost = Vec::new();
    let mut twice = Vec::new();
    let mut contradicting = Vec::new();
    let mut wrong = Vec::new();
    let mut disk = 0;
    for ticket in tickets {
        let results: Vec<_> =
            evidence.results.iter().filter(|seen| ticket.is_meant(seen)).collect();
        let Some(first) = results.first() else {
            lost.push(ticket.id.clone());
            continue;
        };
        let ids: BTreeSet<_> = results.iter().map(|seen| seen.id()).collect();
        if ids.len() > 1 {
            twice.push(format!("{}: {ids:?}", ticket.id));
        }
        for id in ids {
            let mut same = results.iter().filter(|seen| seen.id() == id).map(|seen| &seen.event);
            let Some(said) = same.next() else { continue };
            let fields: BTreeSet<_> = same.flat_map(|again| differences("", said, again)).collect();
            if !fields.is_empty() {
                let verdict = &first.data()["verdict"];
                contradicting.push(format!("{}, {verdict}: differs in {fields:?}", ticket.id));
            }
        }
        let data = first.data();
        if let Some(fault) = fault_of_result(ticket.job, &ticket.id, &ticket.token, data) {
            // A backtest that could not write is its own failure, and tells why.
            if data["verdict"] == "failed" && blames_the_disk(data) {
                disk += 1;
            } else {
                wrong.push(format!("{}: {fault}", ticket.id));
            }
        }
    }
    let is_foreign = |seen: &&Seen| !tickets.iter().any(|ticket| ticket.is_meant(seen));
    let foreign = evidence.results.iter().filter(is_foreign).map(|seen| seen.id().to_owned());
    let distinct: BTreeSet<_> = evidence.results.iter().map(Seen::id).collect();
    let followers = tickets.iter().filter(|ticket| ticket.job.follows.is_some()).count();
    let mut lines = vec![
        Line::told("starts", tickets.len().to_string()),
        Line::told("of them of a job that had run before", followers.to_string()),
        Line::none("lost: without a result", lost),
        Line::none("settled twice", twice),
        Line::none("repeats of a result that contradict it", contradicting),
        Line::none("wrong results", wrong),
        Line::none("results of nobody's run", foreign.collect()),
        Line::told(
            "results that came more than once",
            (evidence.results.len() - distinct.len()).to_string(),
        ),
        Line::told("backtests that a full disk failed", disk.to_string()),
    ];
    lines.extend(dead_letters(tickets, evidence));
    lines
}

/// The fields in which one event differs from another.
fn differences(path: &str, one: &Value, other: &Value) -> Vec<String> {
    let (Some(fields), Some(others)) = (one.as_object(), other.as_object()) else {
        return if one == other { Vec::new() } else { vec![path.to_owned()] };
    };
    let names: BTreeSet<_> = fields.keys().chain(others.keys()).collect();
    let below = |name: &String| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        differences(&path, &one[name.as_str()], &other[name.as_str()])
    };
    names.into_iter().flat_map(below).collect()
}

fn dead_letters(tickets: &[Ticket], evidence: &Evidence) -> [Line; 2] {
    let refused = tickets.iter().filter(|ticket| ticket.job.work == Work::IsRefused);
    let refused: BTreeSet<_> = refused.map(|ticket| ticket.message_id.as_str()).collect();
    let found: BTreeSet<_> = evidence.dead.iter().map(|(id, _)| id.as_str()).collect();
    let missing = refused.difference(&found).map(ToString::to_string).collect();
    let unexpected = evidence.dead.iter().filter(|(id, _)| !refused.contains(id.as_str()));
    let unexpected = unexpected.map(|(id, reason)| format!("{id}: {reason}")).collect();
    [
        Line::none("refused messages without a dead letter", missing),
        Line::none("other dead letters", unexpected),
    ]
}
