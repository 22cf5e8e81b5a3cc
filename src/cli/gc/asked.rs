//! What was asked for, and the settings that it needs.

use clap::ValueEnum;

use crate::cli::telemetry::Voice;
use crate::cli::{Context, Failure};
use crate::settings::{BrokerSettings, RunnerSettings, StoreSettings};

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "kebab-case")]
pub(super) enum What {
    Records,
    Logs,
    Results,
    DeadLetters,
    Runs,
    Images,
}

impl What {
    pub(super) const USUAL: [Self; 5] =
        [Self::Records, Self::Logs, Self::Results, Self::DeadLetters, Self::Runs];
}

/// The settings of what was asked for. Others may be missing or wrong.
pub(super) struct Read {
    pub(super) namespace: String,
    pub(super) store: Option<StoreSettings>,
    pub(super) broker: Option<BrokerSettings>,
    pub(super) runner: Option<RunnerSettings>,
    pub(super) days: Days,
}

/// How long each is kept.
#[derive(Default)]
pub(super) struct Days {
    pub(super) records: Option<u32>,
    pub(super) logs: Option<u32>,
    pub(super) results: Option<u32>,
    pub(super) artifacts: Option<u32>,
}

/// Reads the settings of what was asked for.
pub(super) fn settings(asked: &[What], context: &Context) -> Result<Read, Failure> {
    let wants = |what: &[What]| what.iter().any(|one| asked.contains(one));
    context.settings(Voice::Tool, |reader| {
        let is_stored = wants(&[What::Records, What::Logs, What::Results]);
        let worker = is_stored.then(|| reader.worker());
        Read {
            namespace: reader.namespace(),
            store: is_stored.then(|| reader.store()),
            broker: wants(&[What::DeadLetters]).then(|| reader.broker()),
            runner: wants(&[What::Runs, What::Images]).then(|| reader.runner()),
            days: Days {
                records: worker.as_ref().and_then(|worker| worker.record_retention_days),
                logs: wants(&[What::Logs]).then(|| reader.logs().retention_days).flatten(),
                results: worker.as_ref().and_then(|worker| worker.result_retention_days),
                artifacts: worker.as_ref().and_then(|worker| worker.artifact_retention_days),
            },
        }
    })
}
