//! From the message's field to a sweep that can run. Every mistake that can be seen in the message is
//! found here.

use std::time::Duration;

use serde_json::Value;

use super::Axes;
use super::configs::{Configs, Values};
use super::key::{KeyPath, touches};
use super::range::Range;
use super::request::{BestRequest, Goal, GridAxis, Isolation, SampleRequest, SweepRequest};
use super::sample;
use crate::bounds::SweepBounds;
use crate::violation::{MAX_VIOLATIONS, Violation, violation};
use crate::{Executable, Runtime};

/// A validated sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Where its configs come from.
    pub source: Source,
    /// How many run at a time; `None`: as many as the container has processors.
    pub parallel: Option<u32>,
    /// After which time a config is ended.
    pub timeout: Option<Duration>,
    /// Which rows are the best.
    pub best: Option<Best>,
    /// After how many failures the sweep ends.
    pub max_failures: Option<u64>,
    /// How configs are kept apart.
    pub isolation: Isolation,
    /// What no config may change: the places of secrets.
    pub secret_places: Vec<KeyPath>,
    /// How large it may be.
    pub bounds: SweepBounds,
}

/// Where the configs of a sweep come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// From the message.
    Message(Configs),
    /// From an object in the code bucket.
    Object {
        /// Its key.
        key: String,
        /// The SHA-256 that it must have.
        sha256: Option<String>,
    },
}

/// Which rows are the best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Best {
    /// Where the value is in a result.
    pub by: KeyPath,
    /// Whether the largest or the smallest is best.
    pub goal: Goal,
    /// How many are told.
    pub keep: usize,
}

impl Sweep {
    /// Checks the sweep of a start message, if it has one.
    pub(crate) fn check(
        executable: &Executable,
        runtime: Option<&Runtime>,
        bounds: &SweepBounds,
        timeout: Option<Duration>,
        found: &mut Vec<Violation>,
    ) -> Option<Self> {
        let request = executable.sweep.as_ref()?;
        let before = found.len();
        let mut checking = Checking { executable, request, runtime, bounds, found };
        let sweep = checking.check(timeout);
        (found.len() == before).then_some(sweep).flatten()
    }

    /// What is wrong with configs from elsewhere, as a sentence.
    ///
    /// # Errors
    /// That.
    pub fn admit(&self, configs: &Configs) -> Result<(), String> {
        if let Some(problem) = size_problem(configs, &self.bounds) {
            return Err(problem);
        }
        let Configs::List(patches) = configs else { return Ok(()) };
        for (number, patch) in patches.iter().enumerate() {
            if touches_secret(patch.as_str(), &self.secret_places) {
                return Err(format!("config {number} changes a secret of the message"));
            }
        }
        Ok(())
    }
}

struct Checking<'a> {
    executable: &'a Executable,
    request: &'a SweepRequest,
    /// `None` where there is none of the message's name.
    runtime: Option<&'a Runtime>,
    bounds: &'a SweepBounds,
    found: &'a mut Vec<Violation>,
}

impl Checking<'_> {
    fn tell(&mut self, field: &str, problem: impl AsRef<str>) {
        if self.found.len() < MAX_VIOLATIONS {
            let path = if field.is_empty() { "sweep".to_owned() } else { format!("sweep.{field}") };
            self.found.push(violation(&path, problem));
        }
    }

    fn check(&mut self, run_timeout: Option<Duration>) -> Option<Sweep> {
        let request = self.request;
        if self.executable.is_long_running {
            self.tell("", "is for runs that end by themselves: is_long_running must be false");
        }
        self.check_numbers(run_timeout);
        let isolation = self.isolation();
        let secret_places = self.secret_places();
        let source = self.source(&secret_places);
        Some(Sweep {
            source: source?,
            parallel: request.parallel,
            timeout: request.timeout_seconds.map(Duration::from_secs),
            best: request.best.as_ref().and_then(|best| self.best(best)),
            max_failures: request.max_failures,
            isolation: isolation?,
            secret_places,
            bounds: *self.bounds,
        })
    }

    /// `None` where the runtime has no sweeps, or there is no such runtime: that is told elsewhere.
    fn isolation(&mut self) -> Option<Isolation> {
        let runtime = self.runtime?;
        let fitting = Isolation::of(runtime.launcher);
        let asked = self.request.isolation.or_else(|| fitting.first().copied())?;
        // A job of a runtime that this worker does not have, and so nothing of, may go on.
        let is_known = !runtime.image.is_empty();
        if is_known && !fitting.is_empty() && !fitting.contains(&asked) {
            let names: Vec<_> = fitting.iter().map(|it| format!("{:?}", it.as_str())).collect();
            let (asked, names) = (asked.as_str(), names.join(" or "));
            let problem = format!("{asked:?} is not for the runtime {runtime}, which has {names}");
            self.tell("isolation", problem);
        }
        Some(asked)
    }

    fn check_numbers(&mut self, run_timeout: Option<Duration>) {
        let request = self.request;
        let most = self.bounds.max_parallel;
        if let Some(parallel) = request.parallel.filter(|it| !(1..=most).contains(it)) {
            let problem = format!("is {parallel}, not between 1 and {most} (SWEEP_MAX_PARALLEL)");
            self.tell("parallel", problem);
        }
        let most = run_timeout.map_or(u64::MAX, |timeout| timeout.as_secs());
        if let Some(seconds) = request.timeout_seconds.filter(|it| !(1..=most).contains(it)) {
            let problem = format!("is {seconds}, not between 1 and the {most} of the whole run");
            self.tell("timeout_seconds", problem);
        }
        if let Some(most) = request.max_failures.filter(|it| !(1..=1_000_000).contains(it)) {
            self.tell("max_failures", format!("is {most}, not between 1 and 1000000"));
        }
        if request.configs_sha256.is_some() && request.configs_key.is_none() {
            self.tell("configs_sha256", "is only for configs_key");
        }
        let is_hex = |text: &String| {
            text.len() == 64
                && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if request.configs_sha256.as_ref().is_some_and(|hash| !is_hex(hash)) {
            self.tell("configs_sha256", "is not 64 lower-case hexadecimal digits");
        }
    }

    fn secret_places(&self) -> Vec<KeyPath> {
        let pointers = self.executable.secrets.iter().filter(|name| name.starts_with('/'));
        pointers.filter_map(|pointer| KeyPath::parse(pointer).ok()).collect()
    }

    fn source(&mut self, secret_places: &[KeyPath]) -> Option<Source> {
        let SweepRequest { grid, configs, sample, configs_key, .. } = self.request;
        let given = [grid.is_some(), configs.is_some(), sample.is_some(), configs_key.is_some()];
        if given.iter().filter(|is_given| **is_given).count() != 1 {
            self.tell("", "needs exactly one of grid, configs, sample and configs_key");
            return None;
        }
        if let Some(key) = configs_key {
            if key.is_empty() || key.len() > 1024 || key.chars().any(char::is_control) {
                self.tell(
                    "configs_key",
                    "must be 1 to 1,024 characters, none of them a control character",
                );
            }
            let sha256 = self.request.configs_sha256.clone();
            return Some(Source::Object { key: key.clone(), sha256 });
        }
        let (field, configs) = match (grid, configs, sample) {
            (Some(grid), ..) => ("grid", self.grid(grid, secret_places)),
            (_, Some(patches), _) => {
                for (number, patch) in patches.iter().enumerate() {
                    let field = format!("configs[{number}]");
                    if !patch.as_str().starts_with('{') {
                        self.tell(&field, "is not an object");
                    } else if touches_secret(patch.as_str(), secret_places) {
                        self.tell(
                            &field,
                            "changes a secret of the message, which cannot be masked",
                        );
                    }
                }
                ("configs", Configs::List(patches.clone()))
            }
            (.., Some(sample)) => ("sample", self.sample(sample, secret_places)),
            (None, None, None) => return None,
        };
        if let Some(problem) = size_problem(&configs, self.bounds) {
            self.tell(field, problem);
        }
        Some(Source::Message(configs))
    }

    fn grid(&mut self, grid: &Axes<GridAxis>, secret_places: &[KeyPath]) -> Configs {
        let paths = self.paths("grid", grid, secret_places);
        let mut axes = Vec::new();
        for ((key, axis), path) in grid.0.iter().zip(paths) {
            let values = match axis {
                GridAxis::Values(values) => Ok(Values::List(values.clone())),
                GridAxis::Range { from, to, step } => Range::new(from, to, step).map(Values::Range),
            };
            match values {
                Ok(values) if values.count() == 0 => {
                    self.tell(&format!("grid.{key}"), "has no values");
                }
                Ok(values) => axes.push((path, values)),
                Err(problem) => self.tell(&format!("grid.{key}"), problem),
            }
        }
        Configs::Grid(axes)
    }

    fn sample(&mut self, request: &SampleRequest, secret_places: &[KeyPath]) -> Configs {
        let SampleRequest { n, seed, keys } = request;
        if *seed > MAX_SEED {
            self.tell("sample.seed", format!("is {seed}, more than {MAX_SEED}"));
        }
        let paths = self.paths("sample.keys", keys, secret_places);
        for (key, axis) in &keys.0 {
            if let Some(problem) = sample::problem(axis) {
                self.tell(&format!("sample.keys.{key}"), problem);
            }
        }
        let with_paths = keys.0.iter().zip(paths);
        let keys = with_paths.map(|((key, axis), path)| (key.clone(), path, axis.clone()));
        Configs::Sample { n: *n, seed: *seed, keys: keys.collect() }
    }

    /// Where the keys lead.
    fn paths<T>(&mut self, field: &str, axes: &Axes<T>, secret_places: &[KeyPath]) -> Vec<KeyPath> {
        let config: Value =
            serde_json::from_str(self.executable.config.as_str()).unwrap_or_default();
        if axes.0.is_empty() {
            self.tell(field, "has no keys");
        }
        let mut paths: Vec<KeyPath> = Vec::new();
        for (key, _) in &axes.0 {
            let field = format!("{field}.{key}");
            let path = match KeyPath::parse(key) {
                Ok(path) => path,
                Err(problem) => {
                    self.tell(&field, problem);
                    continue;
                }
            };
            if paths.iter().any(|other| other.overlaps(&path)) {
                self.tell(&field, "is within the place of another key, or the same place");
            } else if secret_places.iter().any(|place| place.overlaps(&path)) {
                self.tell(&field, "changes a secret of the message, which cannot be masked");
            } else if let Some(pointer) = path.blocked_in(&config) {
                let problem = format!("leads through {pointer} of config, which is not an object");
                self.tell(&field, problem);
            }
            paths.push(path);
        }
        paths
    }

    fn best(&mut self, best: &BestRequest) -> Option<Best> {
        if !(1..=100).contains(&best.keep) {
            self.tell("best.keep", format!("is {}, not between 1 and 100", best.keep));
        }
        match KeyPath::parse(&best.by) {
            Ok(by) => {
                let keep = usize::try_from(best.keep).unwrap_or_default();
                Some(Best { by, goal: best.goal, keep })
            }
            Err(problem) => {
                self.tell("best.by", problem);
                None
            }
        }
    }
}

/// The largest seed: the largest whole number that every JSON reader keeps.
const MAX_SEED: u64 = (1 << 53) - 1;

fn touches_secret(patch: &str, places: &[KeyPath]) -> bool {
    if places.is_empty() {
        return false;
    }
    let patch: Value = serde_json::from_str(patch).unwrap_or_default();
    places.iter().any(|place| touches(&patch, place))
}

fn size_problem(configs: &Configs, bounds: &SweepBounds) -> Option<String> {
    let (count, most) = (configs.count(), bounds.max_configs);
    match count {
        Some(0) => return Some("has no configs".to_owned()),
        Some(count) if count <= most => {}
        _ => {
            let count = count.map_or_else(|| "too many".to_owned(), |count| count.to_string());
            return Some(format!("is {count} configs, more than {most} (SWEEP_MAX_CONFIGS)"));
        }
    }
    let (bytes, most) = (configs.most_bytes(), bounds.max_bytes);
    (bytes > most).then(|| {
        let (megabytes, most) = (bytes.div_ceil(1 << 20), most >> 20);
        format!("takes up to {megabytes} MiB, more than {most} (SWEEP_MAX_MB)")
    })
}
