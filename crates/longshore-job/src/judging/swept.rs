//! From the rows of a sweep to its verdict and the sentence that goes with it. Pure.

use super::Judgement;
use crate::Verdict;
use crate::sweep::SweepSummary;

/// Everything that the verdict of a sweep depends on.
#[derive(Debug, Clone)]
pub struct Swept<'a> {
    /// How its container ended.
    pub verdict: Verdict,
    /// The sentence about that.
    pub message: &'a str,
    /// Its rows.
    pub summary: &'a SweepSummary,
    /// Number and message of the first config that did not succeed.
    pub first_failure: Option<(u64, &'a str)>,
    /// How many may fail.
    pub max_failures: Option<u64>,
}

/// Judges a sweep whose container has ended.
#[must_use]
pub fn judge(swept: &Swept<'_>) -> Judgement {
    let SweepSummary { total, done, failed, .. } = *swept.summary;
    let done_of_total = format!("{done} of {total} configs are done");
    if swept.verdict != Verdict::Succeeded {
        let message = format!("{}; {done_of_total}", swept.message);
        return Judgement { verdict: swept.verdict, message };
    }
    let first = swept.first_failure;
    let first = first.map(|(index, said)| format!("; config {index}: {said}")).unwrap_or_default();
    if swept.max_failures.is_some_and(|most| failed >= most) {
        let message =
            format!("{failed} configs did not succeed (max_failures); {done_of_total}{first}");
        return Judgement { verdict: Verdict::Failed, message };
    }
    if done < total {
        let message = format!("ended early: only {done_of_total}{first}");
        return Judgement { verdict: Verdict::Failed, message };
    }
    let succeeded = done - failed;
    if succeeded == 0 {
        let message = format!("none of {total} configs succeeded{first}");
        return Judgement { verdict: Verdict::Failed, message };
    }
    let message = format!("{succeeded} of {total} configs succeeded{first}");
    Judgement { verdict: Verdict::Succeeded, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_good_row_makes_a_sweep_succeed_unless_too_many_failed() {
        let of = |verdict, done, failed, max_failures| {
            let summary = SweepSummary { total: 10, done, failed, ..SweepSummary::default() };
            let first_failure = (failed > 0).then_some((3, "failed with exit code 1"));
            let said =
                Swept { verdict, message: "x", summary: &summary, first_failure, max_failures };
            let Judgement { verdict, message } = judge(&said);
            (verdict, message)
        };
        for (verdict, done, failed, most, expected, said) in [
            (Verdict::Succeeded, 10, 0, None, Verdict::Succeeded, "10 of 10 configs succeeded"),
            (
                Verdict::Succeeded,
                10,
                9,
                None,
                Verdict::Succeeded,
                "1 of 10 configs succeeded; config 3: failed",
            ),
            (
                Verdict::Succeeded,
                10,
                10,
                None,
                Verdict::Failed,
                "none of 10 configs succeeded; config 3:",
            ),
            (
                Verdict::Succeeded,
                5,
                2,
                Some(2),
                Verdict::Failed,
                "2 configs did not succeed (max_failures); 5 of 10",
            ),
            (Verdict::Succeeded, 10, 2, Some(3), Verdict::Succeeded, "8 of 10"),
            (Verdict::Succeeded, 9, 0, None, Verdict::Failed, "ended early: only 9 of 10"),
            (Verdict::Stopped, 4, 0, None, Verdict::Stopped, "x; 4 of 10 configs are done"),
            (Verdict::OutOfMemory, 4, 0, None, Verdict::OutOfMemory, "x; 4 of 10"),
        ] {
            let (verdict, message) = of(verdict, done, failed, most);
            assert_eq!(verdict, expected, "{message}");
            assert!(message.starts_with(said), "{message}");
        }
    }
}
