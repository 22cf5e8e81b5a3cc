//! The tables, and the same as JSON.

use std::fmt;

use longshore_testing::figures::spread;
use longshore_testing::measured;
use serde_json::{Value, json};

/// What a figure is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    JobsPerSecond,
    RowsPerSecond,
    Millis,
    Mebibytes,
    PercentOfACore,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::JobsPerSecond => "jobs/s",
            Self::RowsPerSecond => "rows/s",
            Self::Millis => "ms",
            Self::Mebibytes => "MiB",
            Self::PercentOfACore => "% of a core",
        })
    }
}

/// The figures of one contender in one part.
struct Series {
    part: String,
    name: &'static str,
    unit: Unit,
    figures: Vec<f64>,
}

impl Series {
    /// Percentiles, by nearest rank.
    fn percentile(&self, percent: usize) -> f64 {
        let mut figures = self.figures.clone();
        figures.sort_by(f64::total_cmp);
        figures[(figures.len() * percent).div_ceil(100).max(1) - 1]
    }
}

/// A ratio that the project aims at.
struct Aim {
    what: &'static str,
    of: (&'static str, &'static str),
    to: (&'static str, &'static str),
    /// Which percentile is compared; the median of all rounds by default.
    percentile: usize,
    /// The least or the most that it should be.
    bound: Bound,
}

enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

const CELERY: &str = "Celery + docker-py";
const COLD: &str = "Longshore, cold";
const WARM: &str = "Longshore, warm";
const USUAL: &str = "throughput, 4 at a time";
const LATENCY: &str = "message to result";

const AIMS: [Aim; 12] = [
    Aim {
        what: "cold, jobs/s, to Celery's",
        of: (USUAL, COLD),
        to: (USUAL, CELERY),
        percentile: 50,
        bound: Bound::AtLeast(1.0),
    },
    Aim {
        what: "cold, jobs/s, to the engine's API",
        of: (USUAL, COLD),
        to: (USUAL, "engine's API, bare"),
        percentile: 50,
        bound: Bound::AtLeast(0.93),
    },
    Aim {
        what: "warm, jobs/s, to cold",
        of: (USUAL, WARM),
        to: (USUAL, COLD),
        percentile: 50,
        bound: Bound::AtLeast(0.95),
    },
    Aim {
        what: "warm, message to result, p50, to Celery's",
        of: (LATENCY, WARM),
        to: (LATENCY, CELERY),
        percentile: 50,
        bound: Bound::AtMost(0.15),
    },
    Aim {
        what: "warm, message to result, p99, to Celery's",
        of: (LATENCY, WARM),
        to: (LATENCY, CELERY),
        percentile: 99,
        bound: Bound::AtMost(0.5),
    },
    Aim {
        what: "cold, processor time a job, to Celery's",
        of: ("processor time a job", COLD),
        to: ("processor time a job", CELERY),
        percentile: 50,
        bound: Bound::AtMost(0.3),
    },
    Aim {
        what: "cold, memory, to Celery's",
        of: ("memory of the worker", COLD),
        to: ("memory of the worker", CELERY),
        percentile: 50,
        bound: Bound::AtMost(0.15),
    },
    Aim {
        what: "sweep, rows/s, to Celery's jobs/s",
        of: ("sweep of 1,000", "Longshore"),
        to: (USUAL, CELERY),
        percentile: 50,
        bound: Bound::AtLeast(100.0),
    },
    Aim {
        what: "sweep, rows/s, to bare forks",
        of: ("sweep of 1,000", "Longshore"),
        to: ("sweep of 1,000", "bare fork and wait"),
        percentile: 50,
        bound: Bound::AtLeast(0.4),
    },
    Aim {
        what: "sweep of Node.js, an isolate each, rows/s, to Celery's jobs/s",
        of: ("sweep of 1,000, Node.js", "isolate"),
        to: (USUAL, CELERY),
        percentile: 50,
        bound: Bound::AtLeast(4.0),
    },
    Aim {
        what: "sweep of Node.js, shared isolates, rows/s, to Celery's jobs/s",
        of: ("sweep of 1,000, Node.js", "shared"),
        to: (USUAL, CELERY),
        percentile: 50,
        bound: Bound::AtLeast(50.0),
    },
    Aim {
        what: "sweep with pandas, to Celery's jobs/s",
        of: ("sweep of 2,000, pandas", "Longshore"),
        to: ("pandas, 4 at a time", CELERY),
        percentile: 50,
        bound: Bound::AtLeast(150.0),
    },
];

/// Everything that was measured.
pub(crate) struct Report {
    rounds: usize,
    load_before: String,
    series: Vec<Series>,
}

impl Report {
    pub(crate) fn new(rounds: usize) -> Self {
        Self { rounds, load_before: load(), series: Vec::new() }
    }

    /// Adds a figure of a contender.
    pub(crate) fn add(&mut self, part: &str, name: &'static str, unit: Unit, figure: f64) {
        let found = self.series.iter_mut().find(|one| one.part == part && one.name == name);
        if let Some(series) = found {
            series.figures.push(figure);
        } else {
            let part = part.to_owned();
            self.series.push(Series { part, name, unit, figures: vec![figure] });
        }
    }

    fn of(&self, (part, name): (&str, &str)) -> Option<&Series> {
        self.series.iter().find(|one| one.part == part && one.name == name)
    }

    pub(crate) fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        println!(
            "{} rounds in turns; {cores} cores; load {} before and {} after",
            self.rounds,
            self.load_before,
            load()
        );
        // Some parts are measured in turns with others.
        let first = |part: &str| self.series.iter().position(|one| one.part == part);
        let mut sorted: Vec<_> = self.series.iter().collect();
        sorted.sort_by_key(|one| first(&one.part));
        let mut part = "";
        for series in sorted {
            if series.part != part {
                part = &series.part;
                println!("\n{part:<34}{:>10}{:>10}{:>10}", "median", "least", "most");
            }
            let [least, median, most] = spread(series.figures.iter().copied());
            let places = if most < 10.0 { 2 } else { usize::from(most < 100.0) };
            println!(
                "  {:<32}{median:>10.places$}{least:>10.places$}{most:>10.places$}  {}",
                series.name, series.unit
            );
            if part == LATENCY {
                let [p95, p99] = [95, 99].map(|percent| series.percentile(percent));
                println!("  {:<32}p95 {p95:.0}, p99 {p99:.0} ms", "");
            }
        }
        println!("\n{:<46}{:>8}  aim", "ratio", "");
        for aim in &AIMS {
            if let Some((ratio, aimed)) = self.ratio(aim) {
                println!("  {:<44}{ratio:>8.2}  {aimed}", aim.what);
            }
        }
    }

    /// A ratio, and how it compares with what it should be.
    fn ratio(&self, aim: &Aim) -> Option<(f64, String)> {
        let [of, to] = [aim.of, aim.to].map(|which| {
            self.of(which).map(|series| match aim.percentile {
                50 => spread(series.figures.iter().copied())[1],
                percent => series.percentile(percent),
            })
        });
        let ratio = of? / to?;
        let (bound, word, holds) = match aim.bound {
            Bound::AtLeast(bound) => (bound, "at least", ratio >= bound),
            Bound::AtMost(bound) => (bound, "at most", ratio <= bound),
        };
        Some((ratio, format!("{word} {bound}{}", if holds { "" } else { ": missed" })))
    }

    /// Keeps the figures where `benches/compare/draw.py` finds them.
    pub(crate) fn keep(&self) {
        let series = self.series.iter().map(|one| {
            let [least, median, most] = spread(one.figures.iter().copied());
            json!({
                "part": one.part, "name": one.name, "unit": one.unit.to_string(), "median": median,
                "least": least, "most": most, "p95": one.percentile(95), "p99": one.percentile(99),
                "figures": one.figures,
            })
        });
        let ratios = AIMS.iter().filter_map(|aim| {
            let (ratio, aimed) = self.ratio(aim)?;
            Some(json!({ "what": aim.what, "ratio": ratio, "aim": aimed }))
        });
        let all = json!({
            "rounds": self.rounds,
            "load_before": self.load_before,
            "load_after": load(),
            "series": series.collect::<Vec<Value>>(),
            "ratios": ratios.collect::<Vec<Value>>(),
        });
        let path = measured().join("compare.json");
        std::fs::create_dir_all(measured()).unwrap();
        std::fs::write(&path, format!("{all:#}\n")).unwrap();
        println!("\nThe figures are in {}", path.display());
    }
}

/// The load averages of the machine.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
