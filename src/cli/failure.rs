//! Why a command failed, in words for people.

mod report;

use std::io;

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;

use super::terminal::one_line;
use crate::broker::{BrokerError, PublishError};
use crate::facts::FactsError;
use crate::runner::orchestrator::EngineError;
use crate::settings::SettingsErrors;
use crate::storage::{JournalError, StoreError};
use crate::worker::LocalError;

pub(super) use report::ErrorReport;

/// An exit code, or why there is none.
pub type Outcome = Result<u8, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The settings are wrong.
    Settings(SettingsErrors),
    /// The arguments do not fit together, or a file that they name is wrong.
    Usage(String),
    /// The arguments are none that the program knows, or they ask for help.
    Arguments(clap::Error),
    /// Something failed during the work.
    Failed {
        /// What, with its causes.
        error: anyhow::Error,
        /// What may help.
        remedy: Option<String>,
    },
    /// A signal ended the command before its work began.
    Interrupted,
    /// The reader of our output has gone, as in `longshore watch | head`.
    ReaderGone,
}

impl From<SettingsErrors> for Failure {
    fn from(errors: SettingsErrors) -> Self {
        Self::Settings(errors)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed { error, remedy: None }
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        if let Some(remedy) = error.remedy() {
            return Self::Failed { error: error.into(), remedy: Some(remedy) };
        }
        let remedy = match &error {
            error if error.is_unreachable() => {
                Some("is RabbitMQ running, and is AMQP_URL right? longshore doctor checks it")
            }
            BrokerError::Failed { .. } => Some(NO_TOPOLOGY),
            _ => None,
        };
        Self::Failed { remedy: remedy.map(str::to_owned), error: error.into() }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        let remedy = match &error {
            PublishError::NoExchange { .. } | PublishError::Unroutable { .. } => Some(NO_TOPOLOGY),
            _ => None,
        };
        Self::Failed { remedy: remedy.map(str::to_owned), error: error.into() }
    }
}

/// Where to read about arguments.
const SEE_HELP: &str = "see longshore --help";

/// Where to read about settings.
const SEE_SETTINGS: &str = "docs/settings.md says what there is; longshore worker \
                            --print-settings shows what holds";

/// The usual reason why exchanges or queues are missing.
const NO_TOPOLOGY: &str = "a worker declares exchanges and queues when it starts: has one run \
                           on this broker with this AMQP_NAMESPACE?";

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let usual = match error {
            StoreError::NotFound { .. } => {
                "is the key right? longshore data ls lists the data sets for inputs"
            }
            _ => "is MINIO_ENDPOINT right, and are the keys? longshore doctor checks it",
        };
        let remedy = error.remedy().unwrap_or_else(|| usual.to_owned());
        Self::Failed { error: error.into(), remedy: Some(remedy) }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Store(error) => error.into(),
            other => Self::Failed { error: other.into(), remedy: None },
        }
    }
}

impl From<FactsError> for Failure {
    fn from(error: FactsError) -> Self {
        match error {
            FactsError::Broker(error) => error.into(),
            FactsError::Journal(error) => error.into(),
            FactsError::Store(error) => error.into(),
            FactsError::Publish(error) => error.into(),
            FactsError::Output(error) => error.into(),
            FactsError::Log(error) => anyhow::Error::from(error).into(),
            FactsError::Settle(error) => anyhow::Error::from(error).into(),
            FactsError::Missing(sentence) | FactsError::Refused(sentence) => Self::of(sentence),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let remedy = match &error {
            EngineError::Unreachable { .. } => {
                Some("does Docker run, may this user use it, and is DOCKER_HOST right?")
            }
            _ => None,
        };
        Self::Failed { remedy: remedy.map(str::to_owned), error: error.into() }
    }
}

impl From<LocalError> for Failure {
    fn from(error: LocalError) -> Self {
        match error {
            // A directory of this machine, so the settings do not matter.
            LocalError::Store(error) => Self::Failed { error: error.into(), remedy: None },
            LocalError::Engine(error) => error.into(),
            error @ LocalError::Lock { .. } => Self::Failed { error: error.into(), remedy: None },
            LocalError::TempDir(error) => Self::Failed { error: error.into(), remedy: None },
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::Failed { error: error.into(), remedy: None }
    }
}

impl Failure {
    /// A failure with a message of our own.
    pub(super) fn of(sentence: impl Into<String>) -> Self {
        Self::Failed { error: anyhow::Error::msg(sentence.into()), remedy: None }
    }

    /// The code to exit with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Interrupted => 130,
            Self::Failed { .. } => 1,
            Self::Arguments(error) if was_asked_for(error) => 0,
            Self::Settings(_) | Self::Usage(_) | Self::Arguments(_) => 2,
        }
    }

    /// What is wrong and what may help; `None` if nobody reads any more.
    pub(super) fn told(&self) -> Option<String> {
        let told = match self {
            // The parser writes its own text, see `tell`.
            Self::ReaderGone | Self::Interrupted | Self::Arguments(_) => return None,
            Self::Settings(errors) => {
                format!("{errors}\n{}{SEE_SETTINGS}", label("help", AnsiColor::Cyan))
            }
            Self::Usage(problem) => {
                format!("{problem}\n{}{SEE_HELP}", label("help", AnsiColor::Cyan))
            }
            Self::Failed { error, remedy } => {
                let help = remedy.as_ref().map_or_else(String::new, |remedy| {
                    format!("\n{}{remedy}", label("help", AnsiColor::Cyan))
                });
                format!("{}{help}", with_causes(error))
            }
        };
        Some(format!("{}{told}", label("longshore", AnsiColor::Red)))
    }
}

/// Whether the parser's error is a text that was asked for, such as the help.
fn was_asked_for(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

fn label(text: &str, colour: AnsiColor) -> String {
    let style = Style::new().bold().fg_color(Some(colour.into()));
    format!("{style}{text}:{style:#} ")
}

/// An error and its causes in one line. A cause that the error already names is not repeated.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(|cause| one_line(&cause.to_string())).fold(String::new(), |told, cause| {
        if told.ends_with(&cause) {
            return told;
        }
        if told.is_empty() { cause } else { format!("{told}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let cause = || io::Error::other("no space");
        let apart = anyhow::Error::new(cause()).context("writing a.txt").context("packing");
        assert_eq!(with_causes(&apart), "packing: writing a.txt: no space");
        let named = StoreError::LocalFile { action: "writing a.txt".to_owned(), source: cause() };
        assert_eq!(with_causes(&named.into()), "writing a.txt: no space");
    }
}
