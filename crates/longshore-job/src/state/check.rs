//! Whether a start message may ask for its state.

use super::request::KeptState;
use crate::Executable;
use crate::violation::{Violation, violation};

impl KeptState {
    /// The state that a message asks for; `most` is the most that this worker allows, in KiB.
    pub(crate) fn check(
        executable: &Executable,
        most: u64,
        found: &mut Vec<Violation>,
    ) -> Option<Self> {
        let asked = executable.state.as_ref()?;
        if !executable.is_long_running {
            let problem =
                "is for long-running jobs only: a run that ends by itself returns a result";
            found.push(violation("state", problem));
        }
        let max_kb = asked.max_kb.unwrap_or(most);
        if !(1..=most).contains(&max_kb) {
            let problem = format!(
                "is {max_kb}, not between 1 and {most} (STATE_MAX_KB, and less than half of \
                 BOT_FILE_SIZE_LIMIT_MB)"
            );
            found.push(violation("state.max_kb", problem));
        }
        Some(Self { max_kb, reset: asked.reset })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Bounds, Job, parse_executable};

    fn kept(is_long_running: bool, state: Value) -> Result<Option<KeptState>, String> {
        let mut message = json!({
            "id": "a", "runtime": "python3.11", "entrypoint": "bot", "file_path": "a.zip",
            "entrypoint_files": {"bot": "main.py"}, "config": {}, "persist_results": false,
        });
        (message["is_long_running"], message["state"]) = (json!(is_long_running), state);
        let read = parse_executable(message.to_string().as_bytes()).map_err(|e| e.to_string())?;
        let job = Job::validate(read.clone(), &Bounds::default(), None);
        // What was accepted under wider bounds goes on, and nothing else does.
        let admitted = Job::validate(read.clone(), &Bounds::default().admitting(&read), None);
        let is_too_large = job.as_ref().is_err_and(|e| e.to_string().contains("not between 1 and"));
        assert!(admitted.is_ok() == job.is_ok() || is_too_large);
        job.map(|job| job.state).map_err(|error| error.to_string())
    }

    #[test]
    fn a_bot_may_ask_for_a_state_within_the_bounds() {
        let state = |max_kb, reset| Some(KeptState { max_kb, reset });
        assert_eq!(kept(true, json!(null)), Ok(None));
        assert_eq!(kept(true, json!({})), Ok(state(256, false)));
        assert_eq!(kept(true, json!({"max_kb": 1, "reset": true})), Ok(state(1, true)));
        assert_eq!(kept(true, json!({"max_kb": 256})), Ok(state(256, false)));
        let refused = |value| kept(true, value).unwrap_err();
        for max_kb in [0, 257] {
            let said = refused(json!({"max_kb": max_kb}));
            let expected =
                format!("state.max_kb: is {max_kb}, not between 1 and 256 (STATE_MAX_KB");
            assert!(said.starts_with(&expected), "{said}");
        }
        assert!(refused(json!({"max_mb": 1})).contains("max_mb"));
        assert!(refused(json!([1])).starts_with("state: "));
    }

    #[test]
    fn a_run_that_ends_by_itself_may_not() {
        let said = kept(false, json!({})).unwrap_err();
        let expected =
            "state: is for long-running jobs only: a run that ends by itself returns a result";
        assert_eq!(said, expected);
        assert_eq!(kept(false, json!(null)), Ok(None));
    }
}
