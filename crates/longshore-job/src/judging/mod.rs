//! From how a container ended to the verdict and the sentence that goes with it. Pure.

pub mod exit_note;
pub mod result_text;
mod status;
pub mod swept;

use exit_note::ExitNote;
pub use status::{ContainerState, ContainerStatus};

use crate::{Limits, Verdict};

/// What made a container end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndCause {
    /// The code ended by itself, or something outside Longshore ended it.
    Itself,
    /// It ran longer than its time-out, in seconds.
    TimedOut(u64),
    /// Somebody asked for it, perhaps saying why.
    StopRequested(Option<String>),
    /// It ended itself, because it had not heard from its worker for too long.
    LeaseExpired,
    /// Its engine or its host ended it.
    EngineLost,
    /// Somebody who is not its worker ended its container, or its host was short of memory.
    EndedFromOutside,
}

/// What became of the run's result.json.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultFile {
    /// None is expected of a long-running job.
    NotExpected,
    /// None is expected, and this is the sentence of the error that ended it.
    NotExpectedBut(String),
    /// The code wrote none.
    Absent,
    /// There is one, but it cannot be used: why.
    Unusable(String),
    /// It is valid JSON.
    Valid(Said),
}

/// The texts of a result object that a verdict needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its field `status`.
    pub status: Option<String>,
    /// Its field `message`.
    pub message: Option<String>,
}

/// Everything that a verdict depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// What made it end.
    pub cause: EndCause,
    /// The exit code, if the engine knew it.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed something in it for lack of memory.
    pub oom_killed: bool,
    /// Whether an interpreter ended itself because its own heap was full.
    pub heap_was_full: bool,
    /// The memory it was allowed, in MiB.
    pub memory_mb: u64,
    /// The engine's own error.
    pub engine_error: Option<String>,
    /// Its result.
    pub result: ResultFile,
}

/// A verdict and its sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// How the run ended.
    pub verdict: Verdict,
    /// One sentence about it.
    pub message: String,
}

impl Judgement {
    fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { verdict, message: message.into() }
    }
}

/// The exit codes of containers that their engine or their host ended.
const ENDED_FROM_OUTSIDE: [i64; 3] = [137, 143, 255];

/// Whether the engine ended a container that nobody asked to stop: the engine went away while the
/// worker waited, or ended the container while no worker watched (`unseen`). Exit code 0 is the
/// code's own end, if the code is of a kind that ends by itself.
#[must_use]
pub fn is_lost_with_engine(status: &ContainerStatus, long_running: bool, unseen: bool) -> bool {
    if status.oom_killed {
        return false;
    }
    let from_outside = status.exit_code.is_none_or(|code| ENDED_FROM_OUTSIDE.contains(&code));
    if status.engine_was_away {
        return from_outside || (long_running && status.exit_code == Some(0));
    }
    unseen && from_outside
}

/// Whether somebody other than the code and its worker ended a container that nobody asked to end, by what its
/// helper noted. The code shares its user with the helper and can forge that: a bot that does is only started
/// again, after growing pauses, and a terminating run spends its attempts.
#[must_use]
pub fn is_ended_from_outside(
    note: &ExitNote,
    status: &ContainerStatus,
    limits: &Limits,
    long_running: bool,
) -> bool {
    let was_killed = status.exit_code.is_none_or(|code| ENDED_FROM_OUTSIDE.contains(&code));
    let without_a_word = note.begun && !note.ended;
    (note.is_of_host_memory(limits) && was_killed)
        || (note.terminated && (was_killed || long_running))
        // A terminating run may have killed its helper, and would do so again.
        || (without_a_word && was_killed && long_running && !status.oom_killed)
}

/// Whether it ended as if the engine's init had found no program to start. Then the image is at
/// fault, unless that program says that it began.
#[must_use]
pub fn is_not_started(status: &ContainerStatus) -> bool {
    matches!(status.exit_code, Some(126 | 127))
}

/// The exit codes of a process that ended itself by SIGILL, SIGTRAP or SIGABRT, as V8 does.
const ABORTED: std::ops::RangeInclusive<i64> = 132..=134;

/// Whether the end of an output says that the heap of JavaScript was full. Code can print this,
/// too, but it only turns its failure into another kind of failure.
#[must_use]
pub fn says_heap_was_full(output: &str) -> bool {
    output.contains("FATAL ERROR: ")
        && ["JavaScript heap out of memory", "process out of memory"]
            .iter()
            .any(|said| output.contains(said))
}

/// Judges how a container ended.
#[must_use]
pub fn judge(ending: &Ending) -> Judgement {
    match &ending.cause {
        EndCause::TimedOut(seconds) => {
            let message = format!("ran longer than its {seconds} s and was stopped");
            return Judgement::new(Verdict::TimedOut, message);
        }
        EndCause::StopRequested(reason) => {
            let message = reason.as_ref().map_or_else(
                || "stopped as requested".to_owned(),
                |reason| format!("stopped as requested: {reason}"),
            );
            return Judgement::new(Verdict::Stopped, message);
        }
        EndCause::LeaseExpired => {
            let message = "ended itself, for its worker had not been heard of for too long";
            return Judgement::new(Verdict::Lost, message);
        }
        EndCause::EngineLost => {
            let message = "ended with its container engine or its host";
            return Judgement::new(Verdict::Lost, message);
        }
        EndCause::EndedFromOutside => {
            let message = "was ended from outside: its container was stopped or killed, or its host was short of memory";
            return Judgement::new(Verdict::Lost, message);
        }
        EndCause::Itself => {}
    }
    match ending.exit_code {
        Some(code @ 1..) if ending.oom_killed => {
            let memory = format!("ran out of its {} MiB of memory", ending.memory_mb);
            let message = match code {
                137 => memory,
                _ => format!("{memory} in a process that it had started (exit code {code})"),
            };
            Judgement::new(Verdict::OutOfMemory, message)
        }
        Some(code) if ending.heap_was_full && ABORTED.contains(&code) => {
            let memory = ending.memory_mb;
            let message =
                format!("ran out of its {memory} MiB of memory: JavaScript's heap was full");
            Judgement::new(Verdict::OutOfMemory, message)
        }
        Some(0) => judge_clean_exit(&ending.result),
        Some(code) => judge_failure(code, &ending.result),
        None => {
            let reason = ending.engine_error.as_deref().unwrap_or("the engine knows no exit code");
            Judgement::new(Verdict::Failed, format!("the container ended abnormally: {reason}"))
        }
    }
}

fn judge_clean_exit(result: &ResultFile) -> Judgement {
    match result {
        ResultFile::NotExpected | ResultFile::NotExpectedBut(_) => {
            Judgement::new(Verdict::Succeeded, "ended by itself")
        }
        ResultFile::Valid(said) => {
            let said = said.message.as_deref();
            Judgement::new(Verdict::Succeeded, said.map_or_else(|| "succeeded".to_owned(), clip))
        }
        ResultFile::Absent => {
            Judgement::new(Verdict::Failed, "exited with code 0 but wrote no result.json")
        }
        ResultFile::Unusable(why) => Judgement::new(Verdict::Failed, why.clone()),
    }
}

fn judge_failure(code: i64, result: &ResultFile) -> Judgement {
    let said = match result {
        ResultFile::Valid(said) if said.status.as_deref() == Some("error") => {
            said.message.as_deref()
        }
        ResultFile::NotExpectedBut(said) => Some(said.as_str()),
        _ => None,
    };
    let message = match (said, signal_of(code)) {
        (Some(said), _) => format!("failed with exit code {code}: {}", clip(said)),
        (None, Some(signal)) => format!("killed by {signal} (exit code {code})"),
        (None, None) => format!("failed with exit code {code}"),
    };
    Judgement::new(Verdict::Failed, message)
}

/// The signal that a shell's exit code above 128 means.
fn signal_of(code: i64) -> Option<&'static str> {
    let number = i32::try_from(code - 128).ok().filter(|number| *number > 0)?;
    nix::sys::signal::Signal::try_from(number).ok().map(nix::sys::signal::Signal::as_str)
}

/// Messages are sentences, so the code's own text is cut to this many characters.
const MAX_SAID_CHARS: usize = 1000;

fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_SAID_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(exit_code: i64, result: ResultFile) -> Ending {
        Ending {
            cause: EndCause::Itself,
            exit_code: Some(exit_code),
            oom_killed: false,
            heap_was_full: false,
            memory_mb: 64,
            engine_error: None,
            result,
        }
    }

    fn valid(status: &str, message: &str) -> ResultFile {
        let [status, message] = [status, message].map(|text| Some(text.to_owned()));
        ResultFile::Valid(Said { status, message })
    }

    fn error(message: &str) -> ResultFile {
        valid("error", message)
    }

    /// compat.md 11: an exception, `sys.exit(3)` and SIGTERM all ended as success.
    #[test]
    fn compat_11_ends_are_distinguished() {
        let plain = ResultFile::Valid(Said::default());
        let unusable = ResultFile::Unusable("result.json is not valid JSON".to_owned());
        let terminated = valid("terminated", "by signal");
        let cases = [
            (ending(0, plain), Verdict::Succeeded, "succeeded"),
            (ending(0, ResultFile::NotExpected), Verdict::Succeeded, "ended by itself"),
            (ending(0, ResultFile::Absent), Verdict::Failed, "exited with code 0 but wrote no"),
            (ending(0, unusable), Verdict::Failed, "result.json is not valid"),
            (ending(1, error("ValueError: x")), Verdict::Failed, "failed with exit code 1: Val"),
            (ending(3, ResultFile::Absent), Verdict::Failed, "failed with exit code 3"),
            (
                ending(1, ResultFile::NotExpectedBut("ValueError: x".to_owned())),
                Verdict::Failed,
                "failed with exit code 1: ValueError: x",
            ),
            (
                ending(0, ResultFile::NotExpectedBut("ValueError: x".to_owned())),
                Verdict::Succeeded,
                "ended by itself",
            ),
            (ending(143, terminated), Verdict::Failed, "killed by SIGTERM (exit code 143)"),
            (ending(137, ResultFile::Absent), Verdict::Failed, "killed by SIGKILL (exit code 137)"),
            (ending(255, ResultFile::Absent), Verdict::Failed, "failed with exit code 255"),
        ];
        for (ending, verdict, message) in cases {
            let judged = judge(&ending);
            assert_eq!(judged.verdict, verdict, "{ending:?}");
            assert!(judged.message.starts_with(message), "{}", judged.message);
        }
    }

    #[test]
    fn who_ended_a_container_is_told_by_what_its_helper_noted() {
        let status = |exit_code: i64| ContainerStatus {
            id: "c".to_owned(),
            state: ContainerState::Exited,
            exit_code: Some(exit_code),
            oom_killed: false,
            error: None,
            created_at: None,
            started_at: None,
            finished_at: None,
            healthy: None,
            labels: std::collections::BTreeMap::new(),
            engine_was_away: false,
        };
        let own = "begun\nended\n";
        let stopped = "begun\nterminated\nended\n";
        let host = "begun\nmemory.peak 1000\noom 0\noom_kill 1\nended\n";
        let limits = Limits { memory_mb: 64, cpu_shares: 512, cpus: None, pids: 8 };
        for (note, code, bot, terminating) in [
            // The code's own signals and exits.
            (own, 137, false, false),
            (own, 143, false, false),
            (own, 1, false, false),
            ("begun\noom 3\noom_kill 1\nended\n", 137, false, false),
            // `docker stop`, obeyed or not.
            (stopped, 143, true, true),
            (stopped, 0, true, false),
            ("begun\nterminated\n", 137, true, true),
            // `docker kill`, or the whole group killed.
            ("begun\n", 137, true, false),
            // The host's memory.
            (host, 137, true, true),
            (host, 1, false, false),
        ] {
            let note = exit_note::parse(note);
            let told =
                |long_running| is_ended_from_outside(&note, &status(code), &limits, long_running);
            assert_eq!((told(true), told(false)), (bot, terminating), "{note:?} {code}");
        }
    }

    #[test]
    fn out_of_memory_wants_both_the_mark_and_a_failure() {
        let mut end = ending(137, ResultFile::Absent);
        end.oom_killed = true;
        assert_eq!(judge(&end).verdict, Verdict::OutOfMemory);
        assert_eq!(judge(&end).message, "ran out of its 64 MiB of memory");
        end.exit_code = Some(1);
        assert_eq!(judge(&end).verdict, Verdict::OutOfMemory);
        assert!(judge(&end).message.contains("a process that it had started"));
        end.exit_code = Some(0);
        assert_ne!(judge(&end).verdict, Verdict::OutOfMemory);
    }

    #[test]
    fn a_heap_that_was_full_is_memory_that_ran_out() {
        let said = "<--- Last few GCs --->\n\nFATAL ERROR: Reached heap limit Allocation failed - \
                    JavaScript heap out of memory\n----- Native stack trace -----";
        assert!(says_heap_was_full(said));
        assert!(!says_heap_was_full("JavaScript heap out of memory"));
        let mut end = ending(134, ResultFile::Absent);
        assert_eq!(judge(&end).message, "killed by SIGABRT (exit code 134)");
        end.heap_was_full = true;
        assert_eq!(judge(&end).verdict, Verdict::OutOfMemory);
        assert!(judge(&end).message.starts_with("ran out of its 64 MiB of memory: "));
        for code in [0, 1, 137] {
            end.exit_code = Some(code);
            assert_eq!(judge(&end).verdict, Verdict::Failed, "{code}");
        }
    }

    #[test]
    fn what_we_did_outweighs_how_the_code_took_it() {
        let mut end = ending(143, ResultFile::Absent);
        end.cause = EndCause::TimedOut(5);
        assert_eq!(judge(&end).verdict, Verdict::TimedOut);
        end.cause = EndCause::StopRequested(Some("deploy".to_owned()));
        assert_eq!(judge(&end).verdict, Verdict::Stopped);
        assert_eq!(judge(&end).message, "stopped as requested: deploy");
    }

    #[test]
    fn what_the_code_says_is_clipped_at_a_character() {
        let long = "ä".repeat(MAX_SAID_CHARS + 5);
        assert_eq!(clip(&long).chars().count(), MAX_SAID_CHARS + 1);
    }
}
