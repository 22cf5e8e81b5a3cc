//! Whether the artifacts of each succeeded backtest are all there.

use super::Line;
use crate::evidence::{Evidence, Ticket};
use crate::plan::Extra;
use crate::programs::{LEFT, blames_the_disk};
use longshore_testing::events::Seen;

pub(super) fn reckon(tickets: &[Ticket], evidence: &Evidence) -> Vec<Line> {
    let (mut missing, mut complete, mut disk, mut read) = (Vec::new(), 0, 0, 0);
    for ticket in tickets {
        let is_success =
            |seen: &&Seen| ticket.is_meant(seen) && seen.data()["verdict"] == "succeeded";
        let Some(seen) = evidence.results.iter().find(is_success) else { continue };
        match ticket.job.extra {
            Extra::Inputs => read += 1,
            Extra::Artifacts => match fault(ticket, seen, evidence) {
                None => complete += 1,
                // It is told in the result.
                Some(_) if blames_the_disk(seen.data()) => disk += 1,
                Some(fault) => missing.push(format!("{}: {fault}", ticket.id)),
            },
            Extra::Nothing | Extra::State => (),
        }
    }
    vec![
        Line::none("backtests whose artifacts are not all there", missing),
        Line::told("backtests whose artifacts are all there", complete.to_string()),
        Line::told("backtests whose artifacts a full disk cost", disk.to_string()),
        Line::told("backtests that read their input", read.to_string()),
    ]
}

/// What is wrong with the artifacts of a run, if anything is.
fn fault(ticket: &Ticket, seen: &Seen, evidence: &Evidence) -> Option<String> {
    let run = seen.data()["run_id"].as_str().unwrap_or_default();
    let listed = &seen.data()["objects"]["artifacts"];
    let listed = listed.as_array().map(Vec::as_slice).unwrap_or_default();
    for path in LEFT {
        let key = format!("{}/{run}/artifacts/{path}", ticket.id);
        if !listed.iter().any(|one| one["path"] == path && one["key"] == key.as_str()) {
            return Some(format!("the result does not list {path}: {}", seen.data()["metadata"]));
        }
        if evidence.artifacts.get(&key) != Some(&ticket.token) {
            return Some(format!("{key} is {:?}", evidence.artifacts.get(&key)));
        }
    }
    None
}
