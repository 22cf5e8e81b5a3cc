//! Whether a bot that counts ever went on from less than was stored.

use std::collections::BTreeMap;

use super::Line;
use crate::evidence::{Evidence, Stamp};
use crate::states::Kept;

/// How far a process of a bot counted.
#[derive(Debug)]
struct Process {
    first: (i64, u64),
    last: (i64, u64),
}

pub(super) fn reckon(evidence: &Evidence) -> Vec<Line> {
    let (mut behind, mut back, mut not_stored) = (Vec::new(), Vec::new(), Vec::new());
    let (mut restarts, mut looks, mut most_lost) = (0, 0, (0, 0));
    let none = Vec::new();
    for (bot, stamps) in &evidence.stamps {
        let processes = processes(stamps);
        let Some(end) = processes.iter().map(|process| process.last.1).max() else { continue };
        let kept = evidence.kept.get(bot).unwrap_or(&none);
        looks += kept.len();
        for process in &processes {
            let before = kept.iter().filter(|kept| kept.at_ms < process.first.0);
            let stored = before.map(|kept| kept.count).max().unwrap_or_default();
            if process.first.1 <= stored {
                behind.push(format!("{bot}: begins at {}, {stored} was stored", process.first.1));
            }
        }
        for pair in kept.windows(2) {
            if pair[1].epoch < pair[0].epoch || pair[1].count < pair[0].count {
                back.push(format!("{bot}: {:?} after {:?}", pair[1], pair[0]));
            }
        }
        for pair in processes.windows(2) {
            restarts += 1;
            let lost = (pair[0].last.1 + 1).saturating_sub(pair[1].first.1);
            most_lost = most_lost.max((lost, lost_ms(stamps, pair)));
        }
        let stored = kept.last().map(|kept| kept.count).unwrap_or_default();
        if stored < end {
            not_stored.push(format!("{bot}: said {end}, and {stored} is stored"));
        }
    }
    let lost = format!("{}, said in {} ms", most_lost.0, most_lost.1);
    vec![
        Line::none("bots that began with less than was stored", behind),
        Line::none("states that went back in the store", back),
        Line::none("last states that are not stored", not_stored),
        Line::told("looks at stored states", looks.to_string()),
        Line::told("restarts of bots that count", restarts.to_string()),
        Line::told("most counts said and lost at a restart", lost),
        Line::told("how far the store was behind, median", format!("{} ms", lag_ms(evidence))),
    ]
}

/// The processes of a bot in the order of their beginning, with their first and last counts.
fn processes(stamps: &[Stamp]) -> Vec<Process> {
    let mut processes: BTreeMap<&str, Process> = BTreeMap::new();
    for stamp in stamps {
        let Some(count) = stamp.count else { continue };
        let said = (stamp.at_ms, count);
        let process =
            processes.entry(&stamp.nonce).or_insert_with(|| Process { first: said, last: said });
        process.first = process.first.min(said);
        process.last = process.last.max(said);
    }
    let mut processes: Vec<_> = processes.into_values().collect();
    processes.sort_by_key(|process| process.first);
    processes
}

/// The time in which a process said what the next one says again.
fn lost_ms(stamps: &[Stamp], pair: &[Process]) -> i64 {
    let (old, next) = (&pair[0], &pair[1]);
    let is_lost = |stamp: &&Stamp| {
        stamp.at_ms <= old.last.0 && stamp.count.is_some_and(|count| count >= next.first.1)
    };
    let first = stamps.iter().filter(is_lost).map(|stamp| stamp.at_ms).min();
    first.map_or(0, |first| old.last.0 - first)
}

/// How long before a look its count had been said, in the median.
fn lag_ms(evidence: &Evidence) -> i64 {
    let mut lags = Vec::new();
    for (bot, kept) in &evidence.kept {
        let mut said: BTreeMap<u64, i64> = BTreeMap::new();
        for stamp in evidence.stamps.get(bot).into_iter().flatten() {
            if let Some(count) = stamp.count {
                said.insert(count, stamp.at_ms);
            }
        }
        let lag = |kept: &Kept| Some(kept.at_ms - said.get(&kept.count)?);
        lags.extend(kept.iter().filter_map(lag));
    }
    lags.sort_unstable();
    lags.get(lags.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(nonce: &str, at_ms: i64, count: u64) -> Stamp {
        Stamp { nonce: nonce.to_owned(), number: 1, at_ms, count: Some(count) }
    }

    fn kept(at_ms: i64, epoch: u64, count: u64) -> Kept {
        Kept { at_ms, epoch, count }
    }

    fn bad(stamps: &[Stamp], kept: &[Kept]) -> Vec<String> {
        let evidence = Evidence {
            stamps: BTreeMap::from([("bot".to_owned(), stamps.to_vec())]),
            kept: BTreeMap::from([("bot".to_owned(), kept.to_vec())]),
            ..Evidence::default()
        };
        let lines = reckon(&evidence).into_iter().filter(|line| !line.is_good());
        lines.map(|line| line.what).collect()
    }

    #[test]
    fn what_was_said_after_the_last_tick_may_be_lost_and_what_was_stored_may_not() {
        let said = [stamp("x", 1, 1), stamp("x", 2, 2), stamp("x", 3, 3)];
        let restarted = |count| [&said[..], &[stamp("y", 9, count)]].concat();
        let stored = [kept(4, 1, 2), kept(8, 2, 2), kept(10, 2, 9)];
        assert!(bad(&restarted(3), &stored).is_empty());
        assert_eq!(bad(&restarted(2), &stored), ["bots that began with less than was stored"]);
        assert_eq!(bad(&restarted(1), &stored), ["bots that began with less than was stored"]);
    }

    #[test]
    fn a_stale_write_and_a_last_state_that_is_missing_are_found() {
        let said = [stamp("x", 1, 1), stamp("x", 2, 2)];
        assert_eq!(bad(&said, &[kept(3, 1, 1)]), ["last states that are not stored"]);
        let back = ["states that went back in the store"];
        assert_eq!(bad(&said, &[kept(3, 2, 2), kept(4, 1, 3)]), back);
        assert_eq!(bad(&said, &[kept(3, 2, 3), kept(4, 2, 2)]), back);
    }

    #[test]
    fn the_time_that_a_restart_costs_is_told() {
        let stamps =
            [stamp("x", 100, 1), stamp("x", 200, 2), stamp("x", 350, 3), stamp("y", 900, 2)];
        let evidence = Evidence {
            stamps: BTreeMap::from([("bot".to_owned(), stamps.to_vec())]),
            ..Evidence::default()
        };
        let lines = reckon(&evidence);
        let line = lines.iter().find(|line| line.what.starts_with("most counts")).unwrap();
        assert_eq!(line.found, "2, said in 150 ms");
    }
}
