//! Which fault when, on what, for how long.

use std::time::Duration;

use super::Scale;
use crate::random::Random;

/// How something ends that is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Asked to, by SIGTERM.
    Stopped,
    /// Killed.
    Killed,
}

/// A worker's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Broker,
    Store,
}

/// What is wrong with a worker's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    /// They are closed, and none can be made.
    Cut,
    /// They stay open and carry nothing, new ones neither.
    Stalled,
    /// Those that there are carry nothing; new ones are well.
    PresentFrozen,
}

/// What is wrong with a server, as one worker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sickness {
    /// It may be read, and refuses what changes anything.
    Refuses,
    /// It takes its time.
    Slow,
}

/// The kinds of fault, by the names that a plan is asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A worker is killed, and another started soon.
    Kill,
    /// A worker is killed, and stays away until a survivor must have taken over.
    Lose,
    /// A worker is ended by SIGTERM, and started again.
    Deploy,
    /// RabbitMQ is restarted, well or badly.
    Broker,
    /// The store is away.
    Store,
    /// A container engine is restarted, well or badly.
    Engine,
    /// A worker's connections to the broker or the store break, or carry nothing.
    Network,
    /// The disk of jobs' directories and spools is full.
    Disk,
    /// RabbitMQ is short of memory, and reads from no publisher.
    Alarm,
    /// A worker's present connections carry nothing.
    Frozen,
    /// The store refuses a worker's writes, or is slow for it.
    SickStore,
    /// The engine refuses a worker's new containers, or starts them slowly.
    SickEngine,
    /// A worker's process stands still.
    Standstill,
    /// A job's container is ended by somebody else.
    Outside,
    /// A host is short of memory, and its kernel ends processes of whichever container.
    Memory,
}

impl Kind {
    pub(crate) const ALL: [(&str, Self); 15] = [
        ("kill", Self::Kill),
        ("lose", Self::Lose),
        ("deploy", Self::Deploy),
        ("broker", Self::Broker),
        ("store", Self::Store),
        ("engine", Self::Engine),
        ("network", Self::Network),
        ("disk", Self::Disk),
        ("alarm", Self::Alarm),
        ("frozen", Self::Frozen),
        ("sick-store", Self::SickStore),
        ("sick-engine", Self::SickEngine),
        ("standstill", Self::Standstill),
        ("outside", Self::Outside),
        ("memory", Self::Memory),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(one, kind)| (one == name).then_some(kind))
    }

    /// How often it is drawn, beside the others.
    fn weight(self) -> usize {
        match self {
            Self::Kill => 4,
            Self::Network => 3,
            Self::Disk => 1,
            _ => 2,
        }
    }
}

/// One fault: what is broken, and after how long it is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Worker { worker: usize, way: Way, away: Duration },
    Broker { way: Way, away: Duration },
    Store { away: Duration },
    Engine { engine: usize, way: Way, away: Duration },
    Network { worker: usize, line: Line, weather: Weather, away: Duration },
    Alarm { away: Duration },
    SickStore { worker: usize, sickness: Sickness, away: Duration },
    SickEngine { worker: usize, sickness: Sickness, away: Duration },
    Standstill { worker: usize, away: Duration },
    Outside { engine: usize, way: Way },
    Disk { engine: usize, away: Duration },
    Memory { engine: usize, away: Duration },
}

/// What one fault keeps busy, so that no other touches it meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Worker(usize),
    Broker,
    Store,
    Engine(usize),
    Disk(usize),
}

impl Fault {
    pub(crate) fn away(self) -> Duration {
        match self {
            Self::Worker { away, .. }
            | Self::Broker { away, .. }
            | Self::Store { away }
            | Self::Engine { away, .. }
            | Self::Network { away, .. }
            | Self::Alarm { away }
            | Self::SickStore { away, .. }
            | Self::SickEngine { away, .. }
            | Self::Standstill { away, .. }
            | Self::Disk { away, .. }
            | Self::Memory { away, .. } => away,
            Self::Outside { .. } => Duration::ZERO,
        }
    }

    fn target(self) -> Target {
        match self {
            Self::Worker { worker, .. }
            | Self::Network { worker, .. }
            | Self::SickStore { worker, .. }
            | Self::SickEngine { worker, .. }
            | Self::Standstill { worker, .. } => Target::Worker(worker),
            Self::Broker { .. } | Self::Alarm { .. } => Target::Broker,
            Self::Store { .. } => Target::Store,
            Self::Engine { engine, .. }
            | Self::Outside { engine, .. }
            | Self::Memory { engine, .. } => Target::Engine(engine),
            Self::Disk { engine, .. } => Target::Disk(engine),
        }
    }
}

/// What something needs after it was repaired, before it is broken again.
const REST: Duration = Duration::from_secs(3);

/// Each kind once in every deck, the usual ones more often; spread evenly, with some jitter, over
/// what lies between the first bots and the last moments.
pub(super) fn choose(scale: &Scale, random: &mut Random) -> Vec<(Duration, Fault)> {
    let mut deck = Vec::new();
    let mut chosen: Vec<(Duration, Fault)> = Vec::new();
    let (from, all) = (scale.duration / 10, scale.duration * 8 / 10);
    let gap = all / u32::try_from(scale.faults.max(1)).expect("not that many");
    for number in 0..scale.faults {
        let jitter = u64::try_from(gap.as_millis()).expect("a short time");
        let at = from
            + gap * u32::try_from(number).expect("not that many")
            + Duration::from_millis(random.within(0, jitter));
        if deck.is_empty() {
            deck = shuffled(scale, random);
        }
        let Some(kind) = deck.pop() else { break };
        // Another target where this one is still busy; after some tries, later.
        let mut fault = fault(kind, scale, random);
        let mut at = at;
        while let Some(free_at) = busy_until(&chosen, at, fault) {
            fault = self::fault(kind, scale, random);
            if busy_until(&chosen, at, fault).is_some() {
                at = free_at.max(at + Duration::from_millis(100));
            }
        }
        chosen.push((at, fault));
    }
    chosen
}

/// Until when a fault's target is busy with another one, if it is.
fn busy_until(chosen: &[(Duration, Fault)], at: Duration, fault: Fault) -> Option<Duration> {
    let same = chosen.iter().filter(|(_, other)| other.target() == fault.target());
    let ends = same.map(|(begun, other)| *begun + other.away() + REST);
    ends.max().filter(|end| *end > at)
}

fn shuffled(scale: &Scale, random: &mut Random) -> Vec<Kind> {
    let repeated = |kind: &Kind| std::iter::repeat_n(*kind, kind.weight());
    let mut deck: Vec<_> = scale.kinds.iter().flat_map(repeated).collect();
    for last in (1..deck.len()).rev() {
        deck.swap(last, random.below(last + 1));
    }
    // Each kind comes once before any comes twice, so that a short round has them all.
    let mut first: Vec<Kind> = Vec::new();
    let mut rest = Vec::new();
    for kind in deck {
        if first.contains(&kind) { rest.push(kind) } else { first.push(kind) }
    }
    rest.extend(first);
    rest
}

/// A worker without another one on its engine, where there is one: workers are dealt to engines in
/// turn, so that the last engine has the fewest.
fn alone(scale: &Scale) -> usize {
    (scale.engines - 1).min(scale.workers - 1)
}

fn fault(kind: Kind, scale: &Scale, random: &mut Random) -> Fault {
    let worker = random.below(scale.workers);
    let engine = random.below(scale.engines);
    let way = if random.percent(50) { Way::Stopped } else { Way::Killed };
    let line = if random.percent(60) { Line::Broker } else { Line::Store };
    let stalls = random.percent(50);
    let sickness = if random.percent(50) { Sickness::Refuses } else { Sickness::Slow };
    let mut seconds =
        |low: u64, high: u64| Duration::from_millis(random.within(low * 1000, high * 1000));
    match kind {
        Kind::Kill => Fault::Worker { worker, way: Way::Killed, away: seconds(0, 3) },
        Kind::Lose => {
            let worker = if stalls { alone(scale) } else { worker };
            Fault::Worker { worker, way: Way::Killed, away: seconds(28, 36) }
        }
        Kind::Deploy => Fault::Worker { worker, way: Way::Stopped, away: seconds(0, 2) },
        Kind::Broker => Fault::Broker { way, away: seconds(0, 6) },
        Kind::Store => Fault::Store { away: seconds(1, 10) },
        Kind::Engine => Fault::Engine { engine, way, away: seconds(0, 5) },
        Kind::Network => {
            let weather = if stalls { Weather::Stalled } else { Weather::Cut };
            Fault::Network { worker, line, weather, away: seconds(1, 18) }
        }
        Kind::Frozen => {
            let (line, weather) = (Line::Broker, Weather::PresentFrozen);
            Fault::Network { worker, line, weather, away: seconds(15, 25) }
        }
        Kind::Alarm => Fault::Alarm { away: seconds(8, 25) },
        Kind::SickStore => Fault::SickStore { worker, sickness, away: seconds(5, 20) },
        Kind::SickEngine => Fault::SickEngine { worker, sickness, away: seconds(5, 20) },
        Kind::Standstill => Fault::Standstill { worker, away: seconds(1, 30) },
        Kind::Outside => Fault::Outside { engine, way },
        Kind::Disk => Fault::Disk { engine, away: seconds(3, 8) },
        Kind::Memory => Fault::Memory { engine, away: seconds(5, 15) },
    }
}
