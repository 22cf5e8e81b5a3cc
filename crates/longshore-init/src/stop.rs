//! What follows SIGTERM. Pure.
//!
//! A launcher whose program has no handler of its own bears the name [`DEAF`](crate::processes::DEAF) until it has
//! heard the signal. In a loop that never comes back to its interpreter it never hears it, where without us the
//! signal would end it. It may also wait for a child process, as in `os.system` or `execSync`: so the children
//! are told to end first.

use std::time::{Duration, Instant};

/// How long after each other the looks are.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// After how many looks the children are told, and the program is killed.
const LOOKS_TO_CHILDREN: u32 = 4;
const LOOKS_TO_KILL: u32 = 15;

/// What a look leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing; the next look is due later.
    Wait,
    /// Its children are told to end; the next look is due later.
    TellChildren,
    /// It never heard the signal: it is killed. No more looks.
    Kill,
    /// It heard the signal, or has a handler of its own. No more looks.
    Heard,
}

/// A SIGTERM that was passed on, until it is known whether the program hears it.
#[derive(Debug)]
pub struct Stop {
    looks: u32,
    due: Instant,
}

impl Stop {
    /// The signal was passed on now. The first look is due at once.
    #[must_use]
    pub fn sent(now: Instant) -> Self {
        Self { looks: 0, due: now }
    }

    /// When the next look is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// A look that is due.
    pub fn look(&mut self, now: Instant, is_deaf: bool) -> Step {
        let step = match self.looks {
            LOOKS_TO_KILL => Step::Kill,
            _ if !is_deaf => Step::Heard,
            LOOKS_TO_CHILDREN => Step::TellChildren,
            _ => Step::Wait,
        };
        self.looks += 1;
        self.due = now + LOOK_EVERY;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of a program, with the milliseconds at which they are taken.
    fn steps(hears_after: Option<Duration>) -> Vec<(u128, Step)> {
        let sent = Instant::now();
        let mut stop = Stop::sent(sent);
        let mut steps = Vec::new();
        loop {
            let now = stop.due();
            let is_deaf = hears_after.is_none_or(|after| now < sent + after);
            let next = stop.look(now, is_deaf);
            if next != Step::Wait {
                steps.push(((now - sent).as_millis(), next));
            }
            if matches!(next, Step::Kill | Step::Heard) {
                return steps;
            }
        }
    }

    #[test]
    fn a_program_that_hears_is_left_alone() {
        assert_eq!(steps(Some(Duration::ZERO)), [(0, Step::Heard)]);
        assert_eq!(steps(Some(Duration::from_millis(500))), [(600, Step::Heard)]);
    }

    #[test]
    fn a_deaf_program_is_killed_after_its_children_were_told() {
        assert_eq!(steps(None), [(800, Step::TellChildren), (3000, Step::Kill)]);
        let heard_with_its_child = [(800, Step::TellChildren), (1000, Step::Heard)];
        assert_eq!(steps(Some(Duration::from_millis(900))), heard_with_its_child);
    }
}
