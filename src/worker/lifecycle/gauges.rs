//! What of a worker is read when somebody asks for metrics.

use std::sync::{Arc, Weak};

use crate::logs::LogCollector;
use crate::metrics::{Gauges, Metrics};
use crate::runner::DockerRunner;
use crate::worker::context::Context;

/// The runner's: the cache, and containers that wait.
pub(super) fn of_runner(metrics: &Metrics, runner: &Arc<DockerRunner>) {
    read(metrics, runner, DockerRunner::read_gauges);
}

/// Lines that wait.
pub(super) fn of_logs(metrics: &Metrics, logs: &Arc<LogCollector>) {
    read(metrics, logs, LogCollector::read_gauges);
}

/// The queue side's: slots, segments, the gate, results that wait.
pub(super) fn of_worker(metrics: &Metrics, ctx: &Arc<Context>) {
    read(metrics, ctx, read_worker);
}

/// Has something read as long as it lives.
fn read<T: Send + Sync + 'static>(metrics: &Metrics, of: &Arc<T>, how: fn(&T, &Gauges)) {
    let of: Weak<T> = Arc::downgrade(of);
    metrics.at_scrape(move |gauges| {
        if let Some(of) = of.upgrade() {
            how(&of, gauges);
        }
    });
}

fn read_worker(ctx: &Context, gauges: &Gauges) {
    let Context { tools, known, .. } = ctx;
    for long_running in [false, true] {
        let (busy, free) = known.slots.count(long_running);
        gauges.slots(long_running, busy, free);
    }
    gauges.takes_jobs(known.gate.is_open());
    gauges.unconfirmed(*tools.outbox.watch().borrow());
    let tenures = known.tenures.all();
    let held = tenures.iter().filter(|tenure| tenure.is_proven()).count();
    gauges.segments(held, tenures.len() - held);
    if let Some(age) = tenures.iter().map(|tenure| tenure.proof_age()).max() {
        gauges.lease_margin(tools.lease().as_secs_f64() - age.as_secs_f64());
    }
}
