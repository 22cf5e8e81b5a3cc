//! How long a bot was without a worker, or did not run, after its worker had been killed: from what
//! workers log and from when its processes were seen.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::crew::Shift;
use super::plan::{Fault, Weather};
use super::reckoning::Line;
use super::watch::{Life, Lives};

/// What a worker logs when it takes up a job of a segment that it got.
const TAKES_UP: &str = "took up a job";

/// What it logs with each state of a job.
const REPORTS: &str = "a run changed its state";

/// How long a fault has its effects after it is repaired.
const AFTERMATH: Duration = Duration::from_secs(5);

/// A fault, as it happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trouble {
    pub(crate) begin: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) fault: Fault,
}

impl Trouble {
    /// Whether it was there at some time of a recovery; the kill itself does not count.
    fn is_within(&self, killed: &Shift, killed_at: Timestamp, recovered_at: Timestamp) -> bool {
        let is_itself = matches!(self.fault, Fault::Worker { worker, .. } if worker == killed.place)
            && self.begin <= killed_at
            && self.end >= killed_at;
        !is_itself && self.begin <= recovered_at && self.end + AFTERMATH >= killed_at
    }
}

/// One moment at which a worker says that it has a job.
#[derive(Debug, Clone)]
struct Hold {
    at: Timestamp,
    shift: usize,
    takes_up: bool,
}

/// What a bot went through when its worker was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Recovery {
    /// Its container ran on, and a worker that was there already took it up.
    AttachedBySurvivor,
    /// Its container ran on, and its worker's successor took it up.
    AttachedBySuccessor,
    /// It was started again on the same engine.
    StartedAgain,
    /// It was started again on another engine.
    StartedElsewhere,
}

impl Recovery {
    fn what(self) -> &'static str {
        match self {
            Self::AttachedBySurvivor => "kill to attached by a survivor",
            Self::AttachedBySuccessor => "kill to attached by the next worker",
            Self::StartedAgain => "kill to running again, same engine",
            Self::StartedElsewhere => "kill to running again, other engine",
        }
    }
}

/// A line for each way of recovering that there was, apart where other faults were in its way.
pub(crate) fn figures(
    bots: &[&str],
    shifts: &[Shift],
    lives: &Lives,
    troubles: &[Trouble],
) -> Vec<Line> {
    let mut holds: BTreeMap<String, Vec<Hold>> = BTreeMap::new();
    for (number, shift) in shifts.iter().enumerate() {
        let log = std::fs::read_to_string(&shift.log).unwrap_or_default();
        for (job, hold) in log.lines().filter_map(|line| hold_in(line, number)) {
            if bots.contains(&job.as_str()) {
                holds.entry(job).or_default().push(hold);
            }
        }
    }
    let mut all: BTreeMap<(Recovery, bool), Vec<f64>> = BTreeMap::new();
    for (bot, holds) in &mut holds {
        holds.sort_by_key(|hold| hold.at);
        let lives: Vec<_> = lives.all().filter(|life| life.bot == *bot).collect();
        for (number, shift) in shifts.iter().enumerate() {
            let Some(killed_at) = shift.killed_at else { continue };
            let before = holds.iter().rev().find(|hold| hold.at < killed_at);
            if before.is_some_and(|hold| hold.shift == number)
                && let Some((recovery, at)) = recovery(killed_at, shift, holds, shifts, &lives)
            {
                let is_disturbed =
                    troubles.iter().any(|trouble| trouble.is_within(shift, killed_at, at));
                let seconds = at.duration_since(killed_at).as_secs_f64();
                all.entry((recovery, is_disturbed)).or_default().push(seconds);
            }
        }
    }
    all.into_iter().map(|((how, is_disturbed), seconds)| line(how, is_disturbed, seconds)).collect()
}

/// How long before a restart another fault may have been its cause.
const CAUSE: Duration = Duration::from_secs(40);

/// Bots that were started again although nothing was wrong but an alarm of the broker or connections
/// that froze: both are survived.
pub(crate) fn needless(lives: &Lives, troubles: &[Trouble]) -> Line {
    let is_survived = |trouble: &&Trouble| {
        let frozen = Weather::PresentFrozen;
        matches!(trouble.fault, Fault::Alarm { .. })
            || matches!(trouble.fault, Fault::Network { weather, .. } if weather == frozen)
    };
    let mut by_bot: BTreeMap<&str, Vec<&Life>> = BTreeMap::new();
    for life in lives.all() {
        by_bot.entry(&life.bot).or_default().push(life);
    }
    let mut cases = Vec::new();
    for lives in by_bot.values_mut() {
        lives.sort_by_key(|life| life.first);
        for pair in lives.windows(2) {
            let (ended, begun) = (pair[0].last, pair[1].first);
            let is_near =
                |trouble: &&Trouble| trouble.begin <= begun && trouble.end + CAUSE >= ended;
            let near: Vec<_> = troubles.iter().filter(is_near).collect();
            if !near.is_empty() && near.iter().all(is_survived) {
                cases.push(format!("{} at {ended}", pair[0].bot));
            }
        }
    }
    Line::none("bots restarted by an alarm or frozen connections", cases)
}

fn recovery(
    killed_at: Timestamp,
    killed: &Shift,
    holds: &[Hold],
    shifts: &[Shift],
    lives: &[&Life],
) -> Option<(Recovery, Timestamp)> {
    let taken = holds.iter().find(|hold| hold.takes_up && hold.at > killed_at)?;
    let successor = &shifts[taken.shift];
    let runs_on = lives.iter().any(|life| life.first < killed_at && life.last >= taken.at);
    if runs_on {
        let is_survivor = successor.place != killed.place;
        let how =
            if is_survivor { Recovery::AttachedBySurvivor } else { Recovery::AttachedBySuccessor };
        return Some((how, taken.at));
    }
    let next = lives.iter().filter(|life| life.first > killed_at).min_by_key(|life| life.first)?;
    let is_same = next.engine == killed.engine;
    let how = if is_same { Recovery::StartedAgain } else { Recovery::StartedElsewhere };
    Some((how, next.first))
}

fn line(recovery: Recovery, is_disturbed: bool, mut seconds: Vec<f64>) -> Line {
    seconds.sort_by(f64::total_cmp);
    let (median, most) = (seconds[seconds.len() / 2], seconds[seconds.len() - 1]);
    let found = format!("median {median:.1} s, most {most:.1} s, of {}", seconds.len());
    let among = if is_disturbed { ", among other faults" } else { "" };
    Line::told(&format!("{}{among}", recovery.what()), found)
}

/// The job and the moment, where a line of a worker's log says that it has one.
fn hold_in(line: &str, shift: usize) -> Option<(String, Hold)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str();
    let takes_up = match field("message")? {
        TAKES_UP => true,
        REPORTS => false,
        _ => return None,
    };
    let at = line.get("timestamp")?.as_str()?.parse().ok()?;
    Some((field("job.id")?.to_owned(), Hold { at, shift, takes_up }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_no_trouble_of_its_own_and_another_fault_is() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let killed = Shift {
            place: 1,
            engine: 0,
            log: "log".into(),
            killed_at: Some(at(10)),
            ended_by_itself: false,
        };
        let is_disturbed = |begin, end, fault| {
            Trouble { begin: at(begin), end: at(end), fault }.is_within(&killed, at(10), at(14))
        };
        let away = Duration::from_secs(1);
        let kill = |worker| Fault::Worker { worker, way: crate::plan::Way::Killed, away };
        assert!(!is_disturbed(10, 30, kill(1)));
        assert!(is_disturbed(10, 30, kill(0)));
        assert!(is_disturbed(13, 15, Fault::Store { away }));
        assert!(is_disturbed(4, 6, Fault::Store { away }), "it may have its effects still");
        assert!(!is_disturbed(15, 16, Fault::Store { away }));
        assert!(!is_disturbed(1, 4, Fault::Store { away }));
    }

    #[test]
    fn a_line_of_a_workers_log_says_who_took_up_what_and_when() {
        let line = r#"{"timestamp":"2026-11-26T10:00:00.5Z","level":"INFO","message":"took up a job","job.id":"bot"}"#;
        let (job, hold) = hold_in(line, 3).unwrap();
        assert_eq!((job.as_str(), hold.shift, hold.takes_up), ("bot", 3, true));
        assert_eq!(hold.at.to_string(), "2026-11-26T10:00:00.5Z");
        assert!(hold_in(r#"{"message":"something else","job.id":"bot"}"#, 3).is_none());
    }
}
