//! A failure as JSON, for scripts. Pure.

use serde::Serialize;

use super::{Failure, SEE_HELP, SEE_SETTINGS, with_causes};
use crate::cli::terminal::one_line;
use crate::settings::Mistake;

/// What a command prints on standard error when it fails and JSON was asked for.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct ErrorReport {
    error: ErrorFields,
}

#[derive(Debug, Serialize)]
struct ErrorFields {
    message: String,
    exit_code: u8,
    /// What may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// Each setting that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<WrongSetting>,
}

#[derive(Debug, Serialize)]
struct WrongSetting {
    /// The variable, or the key and its file; absent where the mistake is in no single setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<String>,
    message: String,
}

impl ErrorReport {
    /// The report of a failure; `None` if there is nothing to report, as after an interrupt.
    pub(in crate::cli) fn of(failure: &Failure) -> Option<Self> {
        let (message, help, settings) = match failure {
            Failure::ReaderGone | Failure::Interrupted => return None,
            Failure::Settings(errors) => {
                let wrong = errors.mistakes.iter().map(WrongSetting::of);
                let message = errors.to_string().replacen("\n  ", ": ", 1).replace("\n  ", "; ");
                (message, Some(SEE_SETTINGS.to_owned()), wrong.collect())
            }
            Failure::Usage(problem) => (problem.clone(), Some(SEE_HELP.to_owned()), Vec::new()),
            Failure::Arguments(error) => {
                let (message, tip) = without_usage(&error.to_string());
                (message, Some(tip.unwrap_or_else(|| SEE_HELP.to_owned())), Vec::new())
            }
            Failure::Failed { error, remedy } => (with_causes(error), remedy.clone(), Vec::new()),
        };
        let exit_code = failure.exit_code();
        let error = ErrorFields { message: one_line(&message), exit_code, help, settings };
        Some(Self { error })
    }
}

impl WrongSetting {
    fn of(mistake: &Mistake) -> Self {
        let setting = match mistake {
            Mistake::Value { name, .. } | Mistake::Url { name, .. } => Some(name.clone()),
            Mistake::Missing { variable, .. } | Mistake::OtherSpelling { variable, .. } => {
                Some((*variable).to_owned())
            }
            Mistake::UnknownKey { key, .. } => Some(key.clone()),
            Mistake::Together(_) | Mistake::File { .. } => None,
        };
        Self { setting, message: one_line(&mistake.to_string()) }
    }
}

/// What is wrong with arguments, and the parser's tip, without the usage that follows for people.
fn without_usage(told: &str) -> (String, Option<String>) {
    let mut paragraphs = told.split("\n\n").map(|paragraph| {
        paragraph.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>()
    });
    let problem = paragraphs.next().unwrap_or_default().join(" ");
    let tip = paragraphs.find_map(|lines| {
        let tips: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("tip: ")).collect();
        (!tips.is_empty()).then(|| tips.join("; "))
    });
    (problem.strip_prefix("error: ").unwrap_or(&problem).to_owned(), tip)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::settings::SettingsErrors;

    fn report(failure: &Failure) -> Value {
        serde_json::to_value(ErrorReport::of(failure)).unwrap()
    }

    #[test]
    fn each_setting_that_is_wrong_is_named() {
        let value = Mistake::Value {
            name: "MAX_SEGMENTS".to_owned(),
            value: "many".to_owned(),
            allowed: "a number".to_owned(),
        };
        let together = Mistake::Together("these two differ".to_owned());
        let errors = SettingsErrors { mistakes: vec![value, together] };
        let said = r#"MAX_SEGMENTS is "many"; allowed: a number"#;
        assert_eq!(
            report(&Failure::Settings(errors)),
            json!({ "error": {
                "message": format!("2 settings are wrong: {said}; these two differ"),
                "exit_code": 2,
                "help": SEE_SETTINGS,
                "settings": [
                    { "setting": "MAX_SEGMENTS", "message": said },
                    { "message": "these two differ" },
                ],
            }})
        );
    }

    #[test]
    fn an_error_has_its_causes_and_what_may_help() {
        let error = anyhow::anyhow!("no\nroute \u{1b}[31m").context("connecting");
        let failure = Failure::Failed { error, remedy: Some("plug it in".to_owned()) };
        let message = r"connecting: no route \u{1b}[31m";
        let expected =
            json!({ "error": { "message": message, "exit_code": 1, "help": "plug it in" } });
        assert_eq!(report(&failure), expected);
    }

    #[test]
    fn an_interrupt_and_a_reader_that_left_are_no_errors() {
        for failure in [Failure::Interrupted, Failure::ReaderGone] {
            assert!(ErrorReport::of(&failure).is_none(), "{failure:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_arguments_is_one_line_without_usage() {
        let told = "error: required arguments were not provided:\n  <ID>\n  <FILE>\n\n  \
                    tip: a similar one exists: '--id'\n\nUsage: longshore\n";
        let problem = "required arguments were not provided: <ID> <FILE>".to_owned();
        let tip = "a similar one exists: '--id'".to_owned();
        assert_eq!(without_usage(told), (problem, Some(tip)));
        assert_eq!(without_usage("error: no\n\nUsage: x\n"), ("no".to_owned(), None));
    }
}
