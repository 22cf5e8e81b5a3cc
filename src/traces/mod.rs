//! Traces: what each run went through, as spans for a collector that speaks OTLP.
//!
//! Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set. A worker follows each start message with a span, whose parent the
//! publisher names in `traceparent`, and which has a span for each stage. [`Trace::follow`] makes it the current one of
//! its task; what is called there needs nothing handed down.
//!
//! Only here: the crates `opentelemetry…`. Not here: which stages there are (`metrics`).

mod export;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    FutureExt as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;

pub use export::{Traces, TracesError, start};

/// The name of the instrumentation.
const SCOPE: &str = "longshore";

/// A span that has begun. It ends with the work that it follows.
#[derive(Debug)]
pub struct Trace(Context);

impl Trace {
    /// Begins a span, as a child of the W3C trace context that a message brought.
    #[must_use]
    pub fn begin(name: &'static str, traceparent: Option<&str>, message_id: Option<&str>) -> Self {
        let headers = traceparent.map(|value| ("traceparent".to_owned(), value.to_owned()));
        let headers: HashMap<String, String> = headers.into_iter().collect();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        let message = message_id.map(|id| KeyValue::new("messaging.message.id", id.to_owned()));
        let system = KeyValue::new("messaging.system", "rabbitmq");
        let tracer = tracer();
        let span = tracer
            .span_builder(name)
            .with_kind(SpanKind::Consumer)
            .with_attributes([system].into_iter().chain(message))
            .start_with_context(&tracer, &parent);
        Self(parent.with_span(span))
    }

    /// Does work as this span. Stages that end meanwhile in the same task are its children.
    pub fn follow<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        work.with_context(self.0)
    }
}

fn tracer() -> BoxedTracer {
    global::tracer_provider().tracer(SCOPE)
}

/// Says of which run the current span is.
pub fn of_run(job: &str, run: &str, runtime: &str) {
    let current = Context::current();
    let span = current.span();
    for (name, value) in [("job.id", job), ("run.id", run), ("runtime", runtime)] {
        span.set_attribute(KeyValue::new(format!("longshore.{name}"), value.to_owned()));
    }
}

/// Says how the run of the current span has ended.
pub fn ended(verdict: &'static str, attempt: u32, problem: Option<&str>) {
    let current = Context::current();
    let span = current.span();
    span.set_attribute(KeyValue::new("longshore.verdict", verdict));
    span.set_attribute(KeyValue::new("longshore.attempt", i64::from(attempt)));
    if let Some(problem) = problem {
        span.set_status(Status::error(problem.to_owned()));
    }
}

/// Notes a stage of the current span that took this long, and was over so long ago.
pub fn stage(name: &'static str, took: Duration, over_since: Duration) {
    let current = Context::current();
    if !current.span().span_context().is_sampled() {
        return;
    }
    let tracer = tracer();
    let Some(end) = SystemTime::now().checked_sub(over_since) else { return };
    let Some(begin) = end.checked_sub(took) else { return };
    let span =
        tracer.span_builder(name).with_start_time(begin).start_with_context(&tracer, &current);
    current.with_span(span).span().end_with_timestamp(end);
}
