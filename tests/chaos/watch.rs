//! Which bot runs where, straight from the kernel: what the logs say is checked against it, and it
//! is known also while an engine does not answer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use longshore_testing::second_engine::SecondEngine;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

/// A bot's container, from the first look at it to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) bot: String,
    pub(crate) engine: usize,
    pub(crate) container: String,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lives {
    /// By bot and container.
    lives: BTreeMap<(String, String), Life>,
    /// How often a bot was seen in two containers at once.
    overlaps: BTreeMap<String, u32>,
}

impl Lives {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Life> {
        self.lives.values()
    }

    /// The longest time that one bot ran twice, by this measure.
    pub(crate) fn longest_overlap(&self) -> Duration {
        INTERVAL * self.overlaps.values().copied().max().unwrap_or_default()
    }

    /// The bots that ran twice, with every place where they ran.
    pub(crate) fn overlapping(&self) -> Vec<String> {
        let places = |bot: &String| {
            let lives = self.lives.values().filter(|life| life.bot == *bot);
            let one = |life: &Life| {
                let container: String = life.container.chars().take(12).collect();
                format!("{container} on engine {} {}..{}", life.engine, life.first, life.last)
            };
            lives.map(one).collect::<Vec<_>>().join(", ")
        };
        self.overlaps.keys().map(|bot| format!("{bot}: {}", places(bot))).collect()
    }

    /// Notes one look: which containers of which bots there are.
    fn note(&mut self, now: Timestamp, seen: &BTreeSet<(String, usize, String)>) {
        for (bot, engine, container) in seen {
            let key = (bot.clone(), container.clone());
            let life = self.lives.entry(key).or_insert_with(|| Life {
                bot: bot.clone(),
                engine: *engine,
                container: container.clone(),
                first: now,
                last: now,
            });
            life.last = now;
        }
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        for (bot, _, _) in seen {
            *count.entry(bot).or_default() += 1;
        }
        for (bot, _) in count.into_iter().filter(|(_, count)| *count > 1) {
            *self.overlaps.entry(bot.to_owned()).or_default() += 1;
        }
    }
}

/// Looks until `done`.
pub(crate) async fn watch(
    engines: Vec<Arc<SecondEngine>>,
    lives: Arc<Mutex<Lives>>,
    done: CancellationToken,
) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut known = HashMap::new();
    while done.run_until_cancelled(ticks.tick()).await.is_some() {
        let mut seen = BTreeSet::new();
        for (number, engine) in engines.iter().enumerate() {
            for (container, process) in engine.processes() {
                if let Some(bot) = bot_in(&mut known, &container, process)
                    && lives_on(process)
                {
                    seen.insert((bot, number, container));
                }
            }
        }
        lives.lock().unwrap().note(Timestamp::now(), &seen);
    }
}

/// The bot that a container runs, by the environment of its first process that can be read.
fn bot_in(
    known: &mut HashMap<String, Option<String>>,
    container: &str,
    process: i32,
) -> Option<String> {
    if let Some(bot) = known.get(container) {
        return bot.clone();
    }
    let environment = std::fs::read(format!("/proc/{process}/environ")).ok()?;
    let variables: Vec<_> = environment.split(|byte| *byte == 0).collect();
    let value = |name: &[u8]| variables.iter().find_map(|one| one.strip_prefix(name));
    // Before it has become the container's, a process has an environment of the engine's.
    let kind = value(b"ENTRYPOINT_TYPE=")?;
    let id = String::from_utf8_lossy(value(b"ID=")?).into_owned();
    let bot = (kind == b"bot").then_some(id);
    known.insert(container.to_owned(), bot.clone());
    bot
}

/// Whether a process is more than the entry of one that has ended.
fn lives_on(process: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    let state = stat.ok().and_then(|stat| {
        let (_, after) = stat.rsplit_once(')')?;
        after.split_whitespace().next().map(str::to_owned)
    });
    state.is_some_and(|state| state != "Z" && state != "X")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bot_in_two_containers_at_once_is_an_overlap_and_one_after_the_other_is_not() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let one = ("bot".to_owned(), 0, "a".to_owned());
        let other = ("bot".to_owned(), 1, "b".to_owned());
        let mut lives = Lives::default();
        lives.note(at(1), &BTreeSet::from([one.clone()]));
        lives.note(at(2), &BTreeSet::from([other.clone()]));
        assert_eq!(lives.longest_overlap(), Duration::ZERO);
        lives.note(at(3), &BTreeSet::from([one, other]));
        assert_eq!(lives.longest_overlap(), INTERVAL);
        let spans: Vec<_> = lives.all().map(|life| (life.first, life.last)).collect();
        assert_eq!(spans, [(at(1), at(3)), (at(2), at(3))]);
    }
}
