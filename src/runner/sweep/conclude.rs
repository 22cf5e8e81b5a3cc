//! The end of a sweep: its verdict, its tables, its best rows.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::gather::Gathered;
use super::kept::Kept;
use super::tables::{self, Tables};
use crate::job::judging::swept::{self, Swept};
use crate::job::sweep::{BestRow, SweepRow, SweepSummary, scalars};
use crate::job::{ExecutionResult, FollowUp, JsonText, Run, Verdict};
use crate::runner::observer::RunObserver;
use crate::runner::site::Site;
use crate::storage::{Bucket, StoreError};

/// The most bytes of all best rows in the result event.
const MAX_BEST_BYTES: usize = 64 << 10;

/// Pause until it is asked again whether the run is still ours.
const ASK: Duration = Duration::from_millis(200);

/// Completes the result of an attempt whose container has ended. If no other attempt can follow, stores
/// the tables.
pub(in crate::runner) async fn conclude(
    site: &Site,
    run: &Run,
    observer: &dyn RunObserver,
    gathered: Result<Gathered, String>,
    result: ExecutionResult,
) -> ExecutionResult {
    let ended = async {
        let gathered = gathered?;
        let (summary, first_failure) = gathered.with(summary_of).await?;
        let verdict = result.verdict.unwrap_or(Verdict::Failed);
        let judgement = swept::judge(&Swept {
            verdict,
            message: &result.message,
            summary: &summary,
            first_failure: first_failure.as_ref().map(|(index, said)| (*index, said.as_str())),
            max_failures: run.job.sweep.as_ref().and_then(|sweep| sweep.max_failures),
        });
        let is_final = judgement.verdict.follow_up() != FollowUp::Replacement;
        let tables =
            if is_final { Some(store_tables(site, run, observer, &gathered).await?) } else { None };
        Ok::<_, String>((judgement, summary, tables))
    };
    match ended.await {
        Ok((judgement, summary, tables)) => {
            let mut result = result.conclude(judgement.verdict, judgement.message);
            result.sweep = Some(summary);
            (result.objects.rows_key, result.objects.csv_key) = tables.unzip();
            result
        }
        // The next attempt finds what the store has.
        Err(_)
            if result
                .verdict
                .is_some_and(|verdict| verdict.follow_up() == FollowUp::Replacement) =>
        {
            result
        }
        Err(problem) => {
            tracing::warn!(job.id = %run.job.id, problem, "could not store the tables of a sweep");
            let message = format!(
                "{}; the tables of the sweep could not be stored: {problem}",
                result.message
            );
            result.conclude(Verdict::Unavailable, message)
        }
    }
}

type FirstFailure = Option<(u64, String)>;

fn summary_of(rows: &mut super::rows::Rows) -> io::Result<(SweepSummary, FirstFailure)> {
    let mut summary = rows.tally.summary();
    let mut bytes = 0;
    for (value, index) in rows.tally.ranked() {
        let Some(row) = best_row(&mut rows.kept, *value, *index)? else { continue };
        bytes += row.config.as_str().len() + row.result.as_str().len();
        if bytes > MAX_BEST_BYTES {
            break;
        }
        summary.best.push(row);
    }
    let first = rows.tally.first_failure().map(|(index, said)| (index, said.to_owned()));
    Ok((summary, first))
}

fn best_row(kept: &mut Kept, value: Option<f64>, index: u64) -> io::Result<Option<BestRow>> {
    let Some(text) = kept.row(index)? else { return Ok(None) };
    let Ok(row) = serde_json::from_slice::<SweepRow>(&text) else { return Ok(None) };
    let result = row.result.as_ref().map_or("{}", JsonText::as_str);
    let (config, result) = (flat(row.config.as_str()), flat(result));
    Ok(config.zip(result).map(|(config, result)| BestRow { index, value, config, result }))
}

/// The scalars of a value as an object.
fn flat(json: &str) -> Option<JsonText> {
    let field = |(name, scalar): &(String, crate::job::sweep::Scalar)| {
        format!("{}:{}", serde_json::Value::from(name.as_str()), scalar.json())
    };
    let fields: Vec<_> = scalars(json).iter().map(field).collect();
    format!("{{{}}}", fields.join(",")).parse().ok()
}

/// Stores both tables, once it is sure that the run is still ours. Returns their keys.
async fn store_tables(
    site: &Site,
    run: &Run,
    observer: &dyn RunObserver,
    gathered: &Gathered,
) -> Result<(String, String), String> {
    let folder = site.settings.temp_dir.clone();
    let tables = gathered.with(move |rows| tables::write(&mut rows.kept, &folder)).await?;
    // Another owner of the run would store its own tables under the same keys.
    while !observer.may_start() {
        tokio::time::sleep(ASK).await;
    }
    let Tables { rows, csv } = tables;
    let stem = format!("{}/{}/sweep", run.job.id, run.job.run_id);
    let keys = (format!("{stem}.jsonl"), format!("{stem}.csv"));
    let stored = tokio::try_join!(
        store(site, &keys.0, &rows, super::chunk::LINES_TYPE),
        store(site, &keys.1, &csv, "text/csv; charset=utf-8"),
    );
    stored.map(|_| keys).map_err(|error| error.to_string())
}

async fn store(site: &Site, key: &str, file: &Path, kind: &str) -> Result<(), StoreError> {
    site.store.upload(Bucket::Results, key, file, kind).await
}
