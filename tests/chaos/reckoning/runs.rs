//! Starts against results and dead letters.

use std::collections::{BTreeMap, BTreeSet};

use super::Line;
use crate::evidence::{Evidence, Ticket};
use crate::plan::Work;
use crate::programs::{blames_the_disk, fault_of_result};
use crate::support::events::Seen;

pub(super) fn reckon(tickets: &[Ticket], evidence: &Evidence) -> Vec<Line> {
    let mut by_job: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in &evidence.results {
        by_job.entry(seen.subject().unwrap_or_default()).or_default().push(seen);
    }
    let of = |ticket: &Ticket| by_job.get(ticket.id.as_str()).map_or(&[][..], Vec::as_slice);
    let known: BTreeSet<_> = tickets.iter().map(|ticket| ticket.id.as_str()).collect();

    let mut lost = Vec::new();
    let mut twice = Vec::new();
    let mut contradicting = Vec::new();
    let mut wrong = Vec::new();
    let mut disk = 0;
    for ticket in tickets {
        let results = of(ticket);
        let Some(first) = results.first() else {
            lost.push(ticket.id.clone());
            continue;
        };
        let ids: BTreeSet<_> = results.iter().map(|seen| seen.id()).collect();
        if ids.len() > 1 {
            twice.push(format!("{}: {ids:?}", ticket.id));
        }
        for id in ids {
            let bodies: BTreeSet<_> = results
                .iter()
                .filter(|seen| seen.id() == id)
                .map(|seen| seen.event.to_string())
                .collect();
            if bodies.len() > 1 {
                contradicting.push(format!("{}: {bodies:?}", ticket.id));
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
    let foreign = by_job.keys().filter(|id| !known.contains(*id)).map(ToString::to_string);
    let distinct: BTreeSet<_> = evidence.results.iter().map(Seen::id).collect();
    let mut lines = vec![
        Line::told("starts", tickets.len().to_string()),
        Line::none("lost: without a result", lost),
        Line::none("settled twice", twice),
        Line::none("repeats of a result that contradict it", contradicting),
        Line::none("wrong results", wrong),
        Line::none("results of nobody's job", foreign.collect()),
        Line::told(
            "results that came more than once",
            (evidence.results.len() - distinct.len()).to_string(),
        ),
        Line::told("backtests that a full disk failed", disk.to_string()),
    ];
    lines.extend(dead_letters(tickets, evidence));
    lines
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
