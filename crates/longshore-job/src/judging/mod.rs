//! From how a container ended to the verdict and the sentence that goes with it. Pure.

pub mod exit_note;
pub mod result_text;
mod status;

pub use status::{ContainerState, ContainerStatus};

use crate::Verdict;

/// What made a container end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndCause {
    /// The code ended by itself, or something outside Longshore ended it.
    Itself,
    /// It ran longer than its time-out, in seconds.
    TimedOut(u64),
    /// Somebody asked for it, perhaps saying why.
    StopRequested(Option<String>),
    /// It ended itself, for it had not heard of its worker for too long.
    LeaseExpired,
    /// Its engine or its host ended it.
    EngineLost,
}

/// What became of the run's result.json.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultFile {
    /// None is expected of a long-running job.
    NotExpected,
    /// The code wrote none.
    Absent,
    /// There is one, but it cannot be used: why.
    Unusable(String),
    /// It is valid JSON.
    Valid(Said),
}

/// What a verdict needs of a result: texts of the object that it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its field `status`.
    pub status: Option<String>,
    /// Its field `message`.
    pub message: Option<String>,
}

/// Everything that a verdict rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// What made it end.
    pub cause: EndCause,
    /// The exit code, where the engine knew it.
    pub exit_code: Option<i64>,
    /// Whether the kernel killed something in it for lack of memory.
    pub oom_killed: bool,
    /// Whether an interpreter ended itself, for its own heap was full.
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

/// The exit codes that containers have which their engine or their host ended.
const ENDED_FROM_OUTSIDE: [i64; 3] = [137, 143, 255];

/// Whether a container that nobody asked to end was ended by its engine: one that went away
/// meanwhile, or that it ended in `unseen`, while no worker was there to watch. An end with exit
/// code 0 is the code's own where the code ends by itself.
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

/// Whether it ended as it does where the engine's init finds no program to start: the image is at
/// fault then, unless that program says that it began.
#[must_use]
pub fn is_not_started(status: &ContainerStatus) -> bool {
    matches!(status.exit_code, Some(126 | 127))
}

/// The exit codes of a process that ended itself by SIGILL, SIGTRAP or SIGABRT, as V8 does.
const ABORTED: std::ops::RangeInclusive<i64> = 132..=134;

/// Whether the end of an output says that the heap of JavaScript was full. Code can say so, too: it
/// makes of its failure another kind of failure.
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
        ResultFile::NotExpected => Judgement::new(Verdict::Succeeded, "ended by itself"),
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
        _ => None,
    };
    let message = match (said, signal_of(code)) {
        (Some(said), _) => format!("failed with exit code {code}: {}", clip(said)),
        (None, Some(signal)) => format!("killed by {signal} (exit code {code})"),
        (None, None) => format!("failed with exit code {code}"),
    };
    Judgement::new(Verdict::Failed, message)
}

/// The signal that a shell's exit code above 128 stands for.
fn signal_of(code: i64) -> Option<&'static str> {
    let number = i32::try_from(code - 128).ok().filter(|number| *number > 0)?;
    nix::sys::signal::Signal::try_from(number).ok().map(nix::sys::signal::Signal::as_str)
}

/// Messages are sentences: what the code says is kept to this many characters.
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
    fn compat_11_ends_are_told_apart() {
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
