//! The environment of a container: what kind of job it runs, and what its program finds in it.

use std::collections::BTreeMap;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The variable of a container that is started before there is a job for it. Its launcher finds in it the open
/// file from which it reads the job's environment.
pub const WARM: &str = "LONGSHORE_WARM";

/// Environment variables by name.
#[derive(Debug, Clone)]
pub struct Environment(BTreeMap<OsString, OsString>);

/// What a job is started as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ENTRYPOINT_TYPE` is `bot`.
    Bot,
    /// `ENTRYPOINT_TYPE` is `backtest`.
    Backtest,
}

impl Kind {
    /// As a sentence begins with it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bot => "Bot",
            Self::Backtest => "Backtest",
        }
    }

    /// The names of its id and its configuration in the environment.
    fn variables(self) -> (&'static str, &'static str) {
        match self {
            Self::Bot => ("BOT_ID", "BOT_CONFIG"),
            Self::Backtest => ("BACKTEST_ID", "BACKTEST_CONFIG"),
        }
    }
}

impl Environment {
    /// These variables.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(variables.into_iter().collect())
    }

    fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// Whether the container was started before there was a job for it.
    #[must_use]
    pub fn is_warm(&self) -> bool {
        self.get(WARM).is_some()
    }

    /// The variables of a launcher that waits for its job at this open file.
    ///
    /// # Errors
    ///
    /// [`NulError`], as in [`of_program`](Self::of_program).
    pub fn of_waiting(&self, file: i32) -> Result<Vec<CString>, NulError> {
        let mut all = self.0.clone();
        all.insert(WARM.into(), file.to_string().into());
        lines(all)
    }

    /// The environment of the job that has come, with the variables that are in `text`, each ended by a NUL byte.
    #[must_use]
    pub fn with_job(&self, text: &[u8]) -> Self {
        let mut all = self.0.clone();
        all.remove(OsStr::new(WARM));
        for line in text.split(|byte| *byte == 0) {
            if let Some(end) = line.iter().position(|byte| *byte == b'=') {
                let (name, value) = (&line[..end], &line[end + 1..]);
                all.insert(OsStr::from_bytes(name).into(), OsStr::from_bytes(value).into());
            }
        }
        Self(all)
    }

    /// What kind of job it is.
    ///
    /// # Errors
    ///
    /// A sentence, where `ENTRYPOINT_TYPE` is neither of the two.
    pub fn kind(&self) -> Result<Kind, String> {
        let given = self.get("ENTRYPOINT_TYPE").unwrap_or_default();
        match given.as_bytes() {
            b"bot" => Ok(Kind::Bot),
            b"backtest" => Ok(Kind::Backtest),
            _ => Err(format!(
                "ENTRYPOINT_TYPE is '{}', neither 'bot' nor 'backtest'",
                given.display()
            )),
        }
    }

    /// Whether a result is expected of the job.
    #[must_use]
    pub fn wants_result(&self) -> bool {
        self.get("IS_LONG_RUNNING") != Some(OsStr::new("true"))
    }

    /// The variables of the program, as `NAME=value`: all of these, and the id and the configuration under the
    /// names of the job's kind.
    ///
    /// # Errors
    ///
    /// [`NulError`], where a name or a value holds a NUL byte: none that a process was started with does.
    pub fn of_program(&self, kind: Kind) -> Result<Vec<CString>, NulError> {
        let (id, config) = kind.variables();
        let mut all = self.0.clone();
        all.insert(id.into(), self.get("ID").unwrap_or_default().to_owned());
        if let Some(text) = self.get("CONFIG") {
            all.insert(config.into(), text.to_owned());
        }
        lines(all)
    }
}

fn lines(all: BTreeMap<OsString, OsString>) -> Result<Vec<CString>, NulError> {
    let line = |(name, value): (OsString, OsString)| {
        let mut line = name.into_vec();
        line.push(b'=');
        line.extend(value.as_bytes());
        CString::new(line)
    };
    all.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::new(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn lines(environment: &Environment, kind: Kind) -> Vec<String> {
        let lines = environment.of_program(kind).unwrap();
        lines.into_iter().map(|line| line.into_string().unwrap()).collect()
    }

    #[test]
    fn each_kind_finds_its_id_and_its_configuration_under_its_own_names() {
        let given = environment(&[("ID", "7"), ("CONFIG", "{\"a\": \"b=c\"}")]);
        let common = ["CONFIG={\"a\": \"b=c\"}", "ID=7"];
        let bot = ["BOT_CONFIG={\"a\": \"b=c\"}", "BOT_ID=7"];
        assert_eq!(lines(&given, Kind::Bot), [bot, common].concat());
        let backtest = ["BACKTEST_CONFIG={\"a\": \"b=c\"}", "BACKTEST_ID=7"];
        assert_eq!(lines(&given, Kind::Backtest), [backtest, common].concat());
    }

    #[test]
    fn a_configuration_that_is_not_in_the_environment_is_not_made_up() {
        assert_eq!(lines(&environment(&[("ID", "7")]), Kind::Bot), ["BOT_ID=7", "ID=7"]);
        assert_eq!(lines(&environment(&[]), Kind::Bot), ["BOT_ID="]);
    }

    #[test]
    fn the_environment_of_a_job_that_comes_later_is_as_if_it_had_been_there() {
        let waiting = environment(&[("PATH", "/bin"), ("HOME", "/tmp"), (WARM, "1")]);
        assert!(waiting.is_warm());
        let at_start: Vec<_> = waiting.of_waiting(3).unwrap();
        assert!(at_start.contains(&c"LONGSHORE_WARM=3".to_owned()));
        let given = waiting.with_job(b"ID=7\0HOME=/x\0TEXT=a=b\nc\0ENTRYPOINT_TYPE=bot\0");
        let all = lines(&given, Kind::Bot);
        let expected =
            ["BOT_ID=7", "ENTRYPOINT_TYPE=bot", "HOME=/x", "ID=7", "PATH=/bin", "TEXT=a=b\nc"];
        assert_eq!(all, expected);
        assert_eq!((given.kind(), given.is_warm()), (Ok(Kind::Bot), false));
    }

    #[test]
    fn bytes_that_are_no_text_are_passed_on() {
        let value = OsString::from_vec(vec![0xff, b'x']);
        let given = Environment::new([("ODD".into(), value)]);
        let lines = given.of_program(Kind::Bot).unwrap();
        assert!(lines.iter().any(|line| line.as_bytes() == b"ODD=\xffx"));
    }

    #[test]
    fn an_unknown_kind_is_refused_with_what_it_is() {
        for given in ["", "Bot", "$(id)", "bot "] {
            let refused = environment(&[("ENTRYPOINT_TYPE", given)]).kind().unwrap_err();
            assert!(refused.contains(&format!("'{given}', neither 'bot'")), "{refused}");
        }
        assert!(environment(&[]).kind().is_err());
        assert_eq!(environment(&[("ENTRYPOINT_TYPE", "bot")]).kind(), Ok(Kind::Bot));
        assert_eq!(environment(&[("ENTRYPOINT_TYPE", "backtest")]).kind(), Ok(Kind::Backtest));
    }

    #[test]
    fn only_a_job_that_runs_until_it_is_stopped_owes_no_result() {
        assert!(environment(&[]).wants_result());
        assert!(environment(&[("IS_LONG_RUNNING", "false")]).wants_result());
        assert!(!environment(&[("IS_LONG_RUNNING", "true")]).wants_result());
    }
}
