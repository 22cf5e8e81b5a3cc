//! A history, before it happens: drawn from its seed alone.

use std::time::Duration;

use fastrand::Rng;

use super::engine::{EngineWeather, Program};
use super::store::StoreWeather;
use super::worker::Capacity;

/// For how long things happen and faults begin.
pub(super) const LENGTH: Duration = Duration::from_secs(300);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A worker is killed, and started again later.
    Kill(usize),
    /// A worker's process stands still.
    Freeze(usize),
    /// A worker is drained, and another version is started in its place.
    Upgrade(usize),
    /// A worker's connections break.
    Cut(usize),
    /// Nothing gets through the present connections of a worker.
    Stall(usize),
    /// A site reaches the broker no more.
    Unreachable(usize),
    /// The broker is short of memory.
    Alarm,
    /// Something is wrong between a site and the store.
    Store(usize, StoreWeather),
    /// Something is wrong with the engine of a site.
    Engine(usize, EngineWeather),
    /// The machine of a site is gone with all on it, and another one takes its place.
    HostLost(usize),
}

/// Which faults a history may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Kill,
    Freeze,
    Upgrade,
    Cut,
    Stall,
    Unreachable,
    Alarm,
    StoreSlow,
    StoreRefuses,
    StoreHangs,
    StoreReadOnly,
    StoreLosesAnswers,
    EngineSlow,
    EngineFails,
    EngineAway,
    HostLost,
}

impl Kind {
    /// All of them, by name.
    pub(super) const ALL: [(&'static str, Self); 16] = [
        ("kill", Self::Kill),
        ("freeze", Self::Freeze),
        ("upgrade", Self::Upgrade),
        ("cut", Self::Cut),
        ("stall", Self::Stall),
        ("unreachable", Self::Unreachable),
        ("alarm", Self::Alarm),
        ("store-slow", Self::StoreSlow),
        ("store-refuses", Self::StoreRefuses),
        ("store-hangs", Self::StoreHangs),
        ("store-read-only", Self::StoreReadOnly),
        ("store-loses-answers", Self::StoreLosesAnswers),
        ("engine-slow", Self::EngineSlow),
        ("engine-fails", Self::EngineFails),
        ("engine-away", Self::EngineAway),
        ("host-lost", Self::HostLost),
    ];
}

/// What happens.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    /// A start is published: of a run of a job.
    Start(StartPlan),
    /// A start is published again, under its id.
    Again(String),
    /// A stop is published: of a job, or of one of its runs.
    Stop(String, Option<String>),
    /// A fault begins, and is over after this time.
    Fault(Fault, Duration),
}

/// A start to be published.
#[derive(Debug, Clone)]
pub(super) struct StartPlan {
    pub(super) job: String,
    pub(super) run: String,
    pub(super) is_long_running: bool,
    pub(super) is_broken: bool,
    pub(super) program: Program,
}

/// A history.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) sites: usize,
    /// At which site each worker is, and what it takes.
    pub(super) workers: Vec<(usize, Capacity)>,
    /// In the order of time.
    pub(super) happenings: Vec<(Duration, Happening)>,
}

/// What of a history is not left to chance.
#[derive(Debug, Clone)]
pub(super) struct Mix {
    pub(super) kinds: Vec<Kind>,
    /// How many stops there are among a hundred jobs.
    pub(super) stops: u32,
    /// Whether stops may name a run, and a job may have a second run.
    pub(super) has_second_runs: bool,
    pub(super) faults: std::ops::RangeInclusive<usize>,
    /// Whether each worker has room for all jobs.
    pub(super) has_room: bool,
}

fn seconds(rng: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range.start * 1_000..range.end * 1_000))
}

fn program(rng: &mut Rng, is_long_running: bool) -> Program {
    let reaction = Duration::from_millis(rng.u64(20..1_500));
    let ends_by_itself = !is_long_running || rng.u8(0..100) < 15;
    let ends_after =
        ends_by_itself.then(|| seconds(rng, if is_long_running { 15..100 } else { 1..40 }));
    let exit_code = i64::from(rng.u8(0..100) < 20);
    Program { ends_after, exit_code, reaction }
}

impl Plan {
    /// Draws a history.
    pub(super) fn draw(seed: u64, mix: &Mix) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x9e37_79b9_7f4a_7c15);
        let rng = &mut rng;
        let workers = rng.usize(2..=4);
        let sites = rng.usize(1..=workers.min(3));
        let bots = rng.usize(3..=7);
        let workers: Vec<_> = (0..workers)
            .map(|number| {
                let mut capacity = Capacity {
                    terminating: rng.usize(1..=4),
                    long_running: rng.usize(1..=4) + bots / workers + 1,
                };
                if mix.has_room {
                    capacity = Capacity { terminating: 50, long_running: 50 };
                }
                (number % sites, capacity)
            })
            .collect();
        let mut plan = Self { sites, workers, happenings: Vec::new() };
        for number in 0..bots {
            plan.add_job(rng, mix, &format!("bot-{number}"), true);
        }
        for number in 0..rng.usize(15..=22) {
            plan.add_job(rng, mix, &format!("test-{number}"), false);
        }
        if rng.bool() {
            let start = StartPlan {
                job: "broken".to_owned(),
                run: "broken-r1".to_owned(),
                is_long_running: false,
                is_broken: true,
                program: program(rng, false),
            };
            plan.happenings.push((seconds(rng, 0..250), Happening::Start(start)));
        }
        plan.add_faults(rng, mix);
        plan.happenings.sort_by_key(|(at, _)| *at);
        plan
    }

    fn add_job(&mut self, rng: &mut Rng, mix: &Mix, job: &str, is_long_running: bool) {
        let latest = if is_long_running { 120 } else { 240 };
        let mut at = seconds(rng, 0..latest);
        let runs = if mix.has_second_runs && rng.u8(0..100) < 30 { 2 } else { 1 };
        for number in 1..=runs {
            let run = format!("{job}-r{number}");
            let program = program(rng, is_long_running);
            let start = StartPlan {
                job: job.to_owned(),
                run: run.clone(),
                is_long_running,
                is_broken: false,
                program,
            };
            self.happenings.push((at, Happening::Start(start)));
            if rng.u8(0..100) < 20 {
                let again = at + seconds(rng, 0..60);
                self.happenings.push((again, Happening::Again(run.clone())));
            }
            if rng.u32(0..100) < mix.stops {
                let is_named = mix.has_second_runs && rng.bool();
                // Often while the start is still on its way.
                let stop = at + if rng.bool() { seconds(rng, 0..2) } else { seconds(rng, 0..90) };
                let what = Happening::Stop(job.to_owned(), is_named.then_some(run));
                self.happenings.push((stop.min(LENGTH), what));
            }
            at = (at + seconds(rng, 1..80)).min(LENGTH);
        }
    }

    fn add_faults(&mut self, rng: &mut Rng, mix: &Mix) {
        for _ in 0..rng.usize(mix.faults.clone()) {
            if mix.kinds.is_empty() {
                return;
            }
            let (worker, site) = (rng.usize(0..self.workers.len()), rng.usize(0..self.sites));
            let kind = mix.kinds[rng.usize(0..mix.kinds.len())];
            let (fault, lasts) = match kind {
                Kind::Kill => (Fault::Kill(worker), 1..60),
                Kind::Freeze => (Fault::Freeze(worker), 1..40),
                Kind::Upgrade => (Fault::Upgrade(worker), 1..10),
                Kind::Cut => (Fault::Cut(worker), 0..1),
                Kind::Stall => (Fault::Stall(worker), 0..1),
                Kind::Unreachable => (Fault::Unreachable(site), 1..40),
                Kind::Alarm => (Fault::Alarm, 1..40),
                Kind::StoreSlow => {
                    (Fault::Store(site, StoreWeather::Slow(rng.u64(100..1_500))), 5..60)
                }
                Kind::StoreRefuses => (Fault::Store(site, StoreWeather::Refuses), 1..40),
                Kind::StoreHangs => (Fault::Store(site, StoreWeather::Hangs), 1..40),
                Kind::StoreReadOnly => (Fault::Store(site, StoreWeather::ReadOnly), 5..60),
                Kind::StoreLosesAnswers => (Fault::Store(site, StoreWeather::LosesAnswers), 5..60),
                Kind::EngineSlow => {
                    (Fault::Engine(site, EngineWeather::SlowStarts(rng.u64(1_000..8_000))), 5..60)
                }
                Kind::EngineFails => (Fault::Engine(site, EngineWeather::FailsStarts), 5..60),
                Kind::EngineAway => (Fault::Engine(site, EngineWeather::Away), 1..30),
                Kind::HostLost => (Fault::HostLost(site), 1..60),
            };
            let at = seconds(rng, 10..270);
            let lasts = seconds(rng, lasts);
            self.happenings.push((at, Happening::Fault(fault, lasts)));
        }
    }
}
