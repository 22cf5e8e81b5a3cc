//! What is in the store and in the broker.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::asked::{Read, What};
use super::report::Part;
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::facts::{self, FactsError, OldLetters};
use crate::logs;
use crate::runner::{ResultRetention, SweptResults, sweep_results};
use crate::settings::{BrokerSettings, StoreSettings};
use crate::storage::{Journal, ObjectStore, Pass, Retention, S3Store, Swept};

const RECORDS: (&str, &str) = ("records", "RECORD_RETENTION_DAYS");
const LOGS: (&str, &str) = ("logs", "LOG_RETENTION_DAYS");
const RESULTS: (&str, &str) = ("results", "RESULT_RETENTION_DAYS");
const ARTIFACTS: (&str, &str) = ("artifacts", "ARTIFACT_RETENTION_DAYS");
const DEAD_LETTERS: (&str, &str) = ("dead letters", "DEAD_LETTERS_MAX_DAYS");

/// Looks at the buckets.
pub(super) async fn objects(
    asked: &[What],
    settings: &StoreSettings,
    read: &Read,
    is_dry: bool,
) -> Result<Vec<Part>, Failure> {
    let store: Arc<dyn ObjectStore> = Arc::new(S3Store::new(settings)?);
    let journal = Journal::new(Arc::clone(&store), read.namespace.clone());
    let (namespace, now) = (&read.namespace, Timestamp::now());
    let mut parts = Vec::new();
    if asked.contains(&What::Records) {
        let (pass, retention) = pass_of(is_dry, read.days.records);
        let swept = journal.sweep(pass, retention, now).await;
        parts.push(part(RECORDS, read.days.records, swept));
    }
    if asked.contains(&What::Logs) {
        let (pass, retention) = pass_of(is_dry, read.days.logs);
        let swept = logs::sweep(pass, &*store, &journal, namespace, retention, now).await;
        parts.push(part(LOGS, read.days.logs, swept));
    }
    if asked.contains(&What::Results) {
        let [results, artifacts] = [read.days.results, read.days.artifacts];
        let (pass, _) = pass_of(is_dry, results.or(artifacts));
        let retention = ResultRetention {
            results: results.unwrap_or(Retention::FOR_EVER),
            artifacts: artifacts.unwrap_or(Retention::FOR_EVER),
            max_keys: usize::MAX,
        };
        match sweep_results(pass, &*store, &journal, namespace, retention, now).await {
            Ok(Some(SweptResults { results: of_results, artifacts: of_artifacts })) => {
                parts.push(Part::of_pass(RESULTS.0, RESULTS.1, results, of_results));
                parts.push(Part::of_pass(ARTIFACTS.0, ARTIFACTS.1, artifacts, of_artifacts));
            }
            other => parts.push(part(RESULTS, results, other.map(|_| None))),
        }
    }
    Ok(parts)
}

/// A pass over everything. Without days it only counts.
fn pass_of(is_dry: bool, days: Option<u32>) -> (Pass, Retention) {
    let pass = if is_dry || days.is_none() { Pass::DryRun } else { Pass::Now };
    let days = days.unwrap_or(Retention::FOR_EVER);
    (pass, Retention { days, max_keys: usize::MAX })
}

fn part<E: std::fmt::Display>(
    (what, setting): (&'static str, &'static str),
    days: Option<u32>,
    swept: Result<Option<Swept>, E>,
) -> Part {
    match swept {
        Ok(swept) => Part::of_pass(what, setting, days, swept.unwrap_or_default()),
        Err(error) => Part::broken(what, setting, error.to_string()),
    }
}

/// Looks at the dead letters.
pub(super) async fn dead_letters(settings: &BrokerSettings, is_dry: bool) -> Part {
    let ((what, setting), days) = (DEAD_LETTERS, settings.dead_letters_max_days);
    match old_letters(settings, days, is_dry).await {
        Ok(old) => Part {
            what,
            rule: setting,
            days,
            goes: old.removed.0 as u64,
            goes_bytes: Some(old.removed.1),
            stays: old.kept.0 as u64,
            stays_bytes: Some(old.kept.1),
            ..Part::default()
        },
        Err(failure) => {
            Part::broken(what, setting, failure.told().unwrap_or_else(|| "interrupted".to_owned()))
        }
    }
}

async fn old_letters(
    settings: &BrokerSettings,
    days: Option<u32>,
    is_dry: bool,
) -> Result<OldLetters, Failure> {
    let age = days.map(|days| SignedDuration::from_hours(i64::from(days) * 24));
    let before = age.and_then(|age| Timestamp::now().checked_sub(age).ok());
    let client = Client::connect(settings).await?;
    let mut letters = facts::open_letters(&client.broker).await?;
    let before = before.unwrap_or(Timestamp::MIN);
    let old = facts::remove_old_letters(&mut letters, before, is_dry).await;
    // Whatever went wrong, the letters go back in their order.
    let back = letters.put_back().await;
    client.close().await;
    let old = old?;
    back.map_err(FactsError::from)?;
    Ok(old)
}
