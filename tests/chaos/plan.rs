//! What happens when: the jobs, the messages and the faults of a round. Pure: the same scale, the
//! same plan.

mod faults;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(crate) use self::faults::{Fault, Kind, Line, Sickness, Way, Weather};
use super::random::Random;

/// How much happens, in how long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scale {
    pub(crate) seed: u64,
    /// From the first message to the last fault; the end takes its own time.
    pub(crate) duration: Duration,
    pub(crate) workers: usize,
    pub(crate) engines: usize,
    pub(crate) backtests: usize,
    pub(crate) bots: usize,
    pub(crate) faults: usize,
    /// The kinds of fault to choose from.
    pub(crate) kinds: Vec<Kind>,
}

/// The language of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
}

/// What a job does if nobody stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A bot: stamps until it is stopped.
    Stamps,
    /// A backtest that returns what only this run can.
    Returns,
    /// The same, later.
    ReturnsAfter {
        /// Its sleep.
        seconds: u64,
    },
    /// A backtest that ends with an exit code of its own.
    Fails,
    /// A message that no worker can run.
    IsRefused,
}

/// What a job has besides its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extra {
    Nothing,
    /// A bot counts, and keeps the count as its state.
    State,
    /// A backtest returns what it read from an input.
    Inputs,
    /// A backtest leaves files.
    Artifacts,
}

/// Whether a stop is sent, other than at the end of a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Never,
    /// Soon after the start.
    After,
    /// Published before a start that is older than it.
    Before,
}

/// One job, known by its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlannedJob {
    pub(crate) language: Language,
    pub(crate) work: Work,
    pub(crate) stop: Stop,
    pub(crate) extra: Extra,
    /// Whose next run it is, under the same id.
    pub(crate) follows: Option<usize>,
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Publish the start of a job.
    Start(usize),
    /// The same, once the run that it follows has ended; and then the start of that one again.
    Follow(usize),
    /// Publish the same message again, under the same `message_id`.
    Repeat(usize),
    /// Publish a stop of a job.
    Stop(usize),
    /// Break something.
    Break(Fault),
}

/// Everything that is to happen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) scale: Scale,
    pub(crate) jobs: Vec<PlannedJob>,
    /// In order of time, counted from the beginning.
    pub(crate) steps: Vec<(Duration, Step)>,
}

impl Plan {
    pub(crate) fn new(scale: Scale) -> Self {
        let mut random = Random::new(scale.seed);
        let mut jobs = Vec::new();
        let mut steps = Vec::new();
        for number in 0..scale.bots {
            let language = language(&mut random);
            let (work, stop) = (Work::Stamps, Stop::Never);
            let extra = if number % 2 == 0 { Extra::State } else { Extra::Nothing };
            jobs.push(PlannedJob { language, work, stop, extra, follows: None });
            // Early, so that they live through most of the faults.
            let at = moment(&scale, &mut random, 0, 200);
            steps.push((at, Step::Start(number)));
            repeat(&scale, &mut random, at, number, &mut steps);
        }
        for number in scale.bots..scale.bots + scale.backtests {
            let job = PlannedJob { extra: extra(number), ..backtest(&mut random) };
            jobs.push(job);
            let at = moment(&scale, &mut random, 0, 950);
            steps.push((at, Step::Start(number)));
            match job.stop {
                Stop::Never => repeat(&scale, &mut random, at, number, &mut steps),
                Stop::After => {
                    let later = Duration::from_millis(random.within(0, 3000));
                    steps.push((at + later, Step::Stop(number)));
                }
                Stop::Before => {
                    let sooner = Duration::from_millis(random.within(200, 1500));
                    steps.push((at.saturating_sub(sooner), Step::Stop(number)));
                }
            }
        }
        let faults = faults::choose(&scale, &mut random);
        for first in scale.bots..scale.bots + scale.backtests {
            if may_be_followed(jobs[first]) && random.percent(20) {
                let (extra, follows) = (extra(jobs.len()), Some(first));
                let next = PlannedJob { extra, follows, ..backtest_that_returns(&mut random) };
                steps.push((moment(&scale, &mut random, 0, 950), Step::Follow(jobs.len())));
                jobs.push(next);
            }
        }
        steps.extend(faults.into_iter().map(|(at, fault)| (at, Step::Break(fault))));
        steps.sort_by_key(|(at, step)| (*at, matches!(step, Step::Start(_))));
        Self { scale, jobs, steps }
    }
}

fn language(random: &mut Random) -> Language {
    if random.percent(70) { Language::Python } else { Language::Node }
}

/// Of three backtests, one has inputs and one leaves artifacts.
fn extra(number: usize) -> Extra {
    [Extra::Nothing, Extra::Inputs, Extra::Artifacts][number % 3]
}

fn backtest(random: &mut Random) -> PlannedJob {
    let work = match random.within(1, 100) {
        1..=55 => Work::Returns,
        56..=80 => Work::ReturnsAfter { seconds: random.within(2, 12) },
        81..=95 => Work::Fails,
        _ => Work::IsRefused,
    };
    let may_stop = matches!(work, Work::Returns | Work::ReturnsAfter { .. });
    let stop = match random.within(1, 100) {
        1..=6 if may_stop => Stop::After,
        7..=9 if may_stop => Stop::Before,
        _ => Stop::Never,
    };
    let (language, extra) = (language(random), Extra::Nothing);
    PlannedJob { language, work, stop, extra, follows: None }
}

fn backtest_that_returns(random: &mut Random) -> PlannedJob {
    let work = Work::ReturnsAfter { seconds: random.within(0, 5) };
    let (language, stop, extra) = (language(random), Stop::Never, Extra::Nothing);
    PlannedJob { language, work, stop, extra, follows: None }
}

/// One whose stop is still under way would take the next run with it.
fn may_be_followed(job: PlannedJob) -> bool {
    job.stop == Stop::Never && job.work != Work::IsRefused
}

/// A moment between two thousandths of the round.
fn moment(scale: &Scale, random: &mut Random, low: u64, high: u64) -> Duration {
    let thousandth = u64::try_from(scale.duration.as_millis()).expect("a short time") / 1000;
    Duration::from_millis(random.within(low * thousandth, high * thousandth))
}

/// Some starts come twice: at once, which meets the run, or late, which meets its end.
fn repeat(
    scale: &Scale,
    random: &mut Random,
    at: Duration,
    number: usize,
    steps: &mut Vec<(Duration, Step)>,
) {
    if random.percent(12) {
        let soon = Duration::from_millis(random.within(0, 1500));
        steps.push((at + soon, Step::Repeat(number)));
    } else if random.percent(10) {
        steps.push((scale.duration, Step::Repeat(number)));
    }
}
