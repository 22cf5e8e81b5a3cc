//! Whether a bot ever ran twice at a time, by its own log and by the kernel.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Line;
use crate::evidence::{Evidence, Stamp};
use crate::watch::Life;

/// The stamps of one process.
#[derive(Debug, Default)]
struct Process {
    first_ms: i64,
    last_ms: i64,
    numbers: BTreeSet<u64>,
    lines: u64,
}

pub(super) fn reckon(evidence: &Evidence) -> Vec<Line> {
    let mut overlaps = Vec::new();
    let mut silent = Vec::new();
    let (mut longest_ms, mut restarts, mut missing, mut repeated, mut lines) = (0, 0, 0, 0, 0);
    for (bot, stamps) in &evidence.stamps {
        let processes = processes(stamps);
        if processes.is_empty() {
            silent.push(bot.clone());
        }
        restarts += processes.len().saturating_sub(1);
        for process in processes.values() {
            let distinct = process.numbers.len() as u64;
            missing += process.numbers.last().copied().unwrap_or_default() - distinct;
            repeated += process.lines - distinct;
            lines += process.lines;
        }
        let overlap_ms = overlap_ms(processes.into_values().collect());
        if overlap_ms > 0 {
            overlaps.push(format!("{bot}: {overlap_ms} ms"));
        }
        longest_ms = longest_ms.max(overlap_ms);
    }
    let seen_bots: BTreeSet<_> = evidence.lives.all().map(|life| &life.bot).collect();
    let unseen = evidence.stamps.keys().filter(|bot| !seen_bots.contains(bot)).cloned().collect();
    let seconds = |ms: i64| format!("{}.{:03} s", ms / 1000, ms % 1000);
    let seen = evidence.lives.longest_overlap();
    vec![
        Line {
            what: "longest overlap of a bot, by its log".to_owned(),
            expected: Some(seconds(0)),
            found: seconds(longest_ms),
            cases: overlaps,
        },
        Line {
            what: "longest overlap of a bot, by its processes".to_owned(),
            expected: Some("0.0 s".to_owned()),
            found: format!("{:.1} s", seen.as_secs_f32()),
            cases: evidence.lives.overlapping(),
        },
        Line::none("stops that did not hold", outlasting(evidence)),
        Line::none("bots without a line", silent),
        Line::none("bots whose processes nobody saw", unseen),
        Line::told("restarts of bots", restarts.to_string()),
        Line::told("lines of bots", lines.to_string()),
        Line::told("lines missing before a process's last", missing.to_string()),
        Line::told("lines stored more than once", repeated.to_string()),
    ]
}

/// How long after its result a bot's process may still be seen: those who look do so now and then.
const LAST_LOOK: SignedDuration = SignedDuration::from_secs(1);

/// Bots that were told as stopped and went on, or began anew, by their own log and by the kernel.
fn outlasting(evidence: &Evidence) -> Vec<String> {
    let stopped = evidence.results.iter().filter(|seen| seen.data()["verdict"] == "stopped");
    let told = stopped.filter_map(|seen| {
        Some((seen.subject()?, seen.event["time"].as_str()?.parse::<Timestamp>().ok()?))
    });
    let mut cases = BTreeSet::new();
    for (bot, told_at) in told {
        let stamps = evidence.stamps.get(bot).into_iter().flatten();
        let says = stamps.filter(|stamp| stamp.at_ms > told_at.as_millisecond()).count();
        let is_seen = |life: &&Life| life.bot == bot && life.last > told_at + LAST_LOOK;
        let seen = evidence.lives.all().filter(is_seen).count();
        if says + seen > 0 {
            cases.insert(format!("{bot}: {says} lines and {seen} containers after {told_at}"));
        }
    }
    cases.into_iter().collect()
}

fn processes(stamps: &[Stamp]) -> BTreeMap<&str, Process> {
    let mut processes: BTreeMap<&str, Process> = BTreeMap::new();
    for stamp in stamps {
        let process = processes.entry(&stamp.nonce).or_insert_with(|| Process {
            first_ms: stamp.at_ms,
            last_ms: stamp.at_ms,
            ..Process::default()
        });
        process.first_ms = process.first_ms.min(stamp.at_ms);
        process.last_ms = process.last_ms.max(stamp.at_ms);
        process.numbers.insert(stamp.number);
        process.lines += 1;
    }
    processes
}

/// The longest time that one process of a bot said to be alive before an earlier one's last word.
fn overlap_ms(mut processes: Vec<Process>) -> i64 {
    processes.sort_by_key(|process| process.first_ms);
    let mut longest = 0;
    let mut last_word = i64::MIN;
    for process in processes {
        if last_word > process.first_ms {
            longest = longest.max(last_word.min(process.last_ms) - process.first_ms);
        }
        last_word = last_word.max(process.last_ms);
    }
    longest
}
