//! What a story has of the series of its latest run.

use super::{Story, result_of};
use crate::facts::series::of_run;
use crate::storage::{ObjectStore, RecordState};

/// Adds to a story what the program of the latest run measured in its latest attempt, and how far it said that it is.
pub async fn complete(buckets: &dyn ObjectStore, story: &mut Story, max_bytes: u64) {
    let Some(record) = &story.record else { return };
    if record.state == RecordState::Finished {
        story.series = result_of(record).map_or_else(Vec::new, |end| end.objects.series.clone());
        return;
    }
    match of_run(buckets, &record.id, record.run_id.clone(), 1, max_bytes).await {
        Ok(list) => (story.series, story.progress) = (list.summary(), list.progress()),
        Err(error) => story.unreadable.push(format!("the series: {error}")),
    }
}
