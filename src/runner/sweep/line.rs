//! From a line of the launcher to the row of a config. Pure.
//!
//! The program runs as the same user as the launcher, and may write lines of its own. So any line must
//! be taken: one that says nothing useful makes no row.

use bytes::Bytes;
use serde::Deserialize;

use crate::job::judging::result_text::read_result;
use crate::job::judging::{self, EndCause, Ending, ResultFile};
use crate::job::sweep::SweepRow;
use crate::job::{JsonText, Run, Verdict};
use crate::logs::Mask;

/// How a config ended, as the launcher tells it.
#[derive(Debug, Deserialize)]
struct Told {
    index: u64,
    exit_code: i64,
    seconds: f64,
    timed_out: bool,
    oom: bool,
    /// How large the heap could get, in MiB, where it was full.
    #[serde(default)]
    heap_mb: Option<u64>,
    result_bytes: u64,
    output: String,
}

/// What the launcher told about one config, and its result as it was written.
pub(super) struct Line {
    told: Told,
    result: Bytes,
}

impl Line {
    /// Reads a line without its end.
    pub(super) fn read(line: &Bytes) -> Option<Self> {
        let tab = memchr(line)?;
        let told: Told = serde_json::from_slice(&line[..tab]).ok()?;
        Some(Self { told, result: line.slice(tab + 1..) })
    }

    /// The config's number.
    pub(super) fn index(&self) -> u64 {
        self.told.index
    }

    /// The row, and its text without secrets. `patch`: what differs in the config.
    pub(super) fn row(
        self,
        run: &Run,
        worker: &str,
        patch: &str,
        mask: &Mask,
    ) -> Option<(SweepRow, Bytes)> {
        let sweep = run.job.sweep.as_ref()?;
        let most = sweep.bounds.max_result_bytes;
        let value = JsonText::read(&self.result);
        let result = match &value {
            _ if self.told.result_bytes > most => ResultFile::Unusable(format!(
                "its result has {} bytes, more than the {most} allowed (SWEEP_RESULT_MAX_KB)",
                self.told.result_bytes
            )),
            _ if self.result.is_empty() => ResultFile::Absent,
            Ok(_) => match read_result(&self.result, mask) {
                Ok(read) => ResultFile::Valid(read.said),
                Err(problem) => ResultFile::Unusable(format!("its result {problem}")),
            },
            Err(problem) => ResultFile::Unusable(format!("its result {problem}")),
        };
        let cause = match sweep.timeout {
            Some(timeout) if self.told.timed_out => EndCause::TimedOut(timeout.as_secs()),
            _ => EndCause::Itself,
        };
        let mut judgement = judging::judge(&Ending {
            cause,
            exit_code: Some(self.told.exit_code),
            oom_killed: self.told.oom,
            heap_was_full: self.told.heap_mb.is_some(),
            memory_mb: run.job.limits.memory_mb,
            engine_error: None,
            result,
        });
        if let (Verdict::OutOfMemory, Some(heap)) = (judgement.verdict, self.told.heap_mb) {
            let memory = run.job.limits.memory_mb;
            judgement.message = format!(
                "ran out of its {heap} MiB of JavaScript's heap: the configs that run at a time (sweep.parallel) share the {memory} MiB of limits.memory_mb"
            );
        }
        // What a failed config left of a result is its message.
        let result = value.ok().filter(|_| judgement.verdict == Verdict::Succeeded);
        let seconds = self.told.seconds;
        let row = SweepRow {
            index: self.told.index,
            config: patch.parse().ok()?,
            verdict: judgement.verdict,
            message: judgement.message,
            result,
            output: end_of(mask.text(self.told.output), sweep.bounds.output_bytes),
            duration_seconds: if seconds.is_finite() { seconds.max(0.0) } else { 0.0 },
            worker: worker.to_owned(),
            attempt: run.attempt,
        };
        let text = Bytes::from(serde_json::to_vec(&row).ok()?);
        if mask.is_empty() {
            return Some((row, text));
        }
        let text = read_result(&text, mask).ok()?.bytes;
        // A secret that spells a field's name leaves nothing that can be read as a row.
        Some((serde_json::from_slice(&text).ok()?, text))
    }
}

fn memchr(line: &[u8]) -> Option<usize> {
    line.iter().position(|byte| *byte == b'\t')
}

/// The end of a text, from the beginning of a character.
fn end_of(mut text: String, most: u64) -> String {
    let from = text.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX));
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.split_off(from)
}
