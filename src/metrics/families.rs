//! The families of metrics, and their text. Only this file knows the crate `prometheus`.

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};

use super::table::{Kind, Metric};

/// The media type of the text.
pub(super) const TEXT_TYPE: &str = prometheus::TEXT_FORMAT;

/// Makes families, and writes all of them as text.
#[derive(Debug, Default)]
pub(super) struct Families {
    registry: Registry,
}

/// A counter with labels. Without a family it counts nothing: a family is missing only if the table
/// has a name or label that Prometheus does not accept, which a test excludes.
#[derive(Debug)]
pub(super) struct Counter(Option<IntCounterVec>);

/// A gauge with labels.
#[derive(Debug)]
pub(super) struct Gauge(Option<GaugeVec>);

/// A histogram with labels.
#[derive(Debug)]
pub(super) struct Histogram(Option<HistogramVec>);

impl Families {
    pub(super) fn counter(&self, metric: &Metric) -> Counter {
        let made = IntCounterVec::new(options(metric), &labels(metric));
        Counter(self.registered(made))
    }

    pub(super) fn gauge(&self, metric: &Metric) -> Gauge {
        Gauge(self.registered(GaugeVec::new(options(metric), &labels(metric))))
    }

    pub(super) fn histogram(&self, metric: &Metric) -> Histogram {
        let mut options = HistogramOpts::from(options(metric));
        if let Kind::Histogram(bounds) = metric.kind {
            options = options.buckets(bounds.to_vec());
        }
        Histogram(self.registered(HistogramVec::new(options, &labels(metric))))
    }

    /// Adds what the operating system knows of this process.
    pub(super) fn add_process(&self) {
        if let Err(error) = self.registry.register(Box::new(ProcessCollector::for_self())) {
            tracing::debug!(%error, "could not add the metrics of the process");
        }
    }

    /// Everything, as Prometheus reads it.
    pub(super) fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    fn registered<C>(&self, made: prometheus::Result<C>) -> Option<C>
    where
        C: prometheus::core::Collector + Clone + 'static,
    {
        let family = made.ok()?;
        self.registry.register(Box::new(family.clone())).ok()?;
        Some(family)
    }
}

impl Counter {
    pub(super) fn add(&self, labels: &[&str], number: u64) {
        let family = self.0.as_ref();
        if let Some(Ok(counter)) = family.map(|all| all.get_metric_with_label_values(labels)) {
            counter.inc_by(number);
        }
    }
}

impl Gauge {
    pub(super) fn set(&self, labels: &[&str], value: f64) {
        let family = self.0.as_ref();
        if let Some(Ok(gauge)) = family.map(|all| all.get_metric_with_label_values(labels)) {
            gauge.set(value);
        }
    }

    pub(super) fn clear(&self) {
        if let Some(family) = &self.0 {
            family.reset();
        }
    }
}

impl Histogram {
    pub(super) fn observe(&self, labels: &[&str], seconds: f64) {
        let family = self.0.as_ref();
        if let Some(Ok(histogram)) = family.map(|all| all.get_metric_with_label_values(labels)) {
            histogram.observe(seconds);
        }
    }
}

fn options(metric: &Metric) -> Opts {
    Opts::new(metric.name, metric.help)
}

fn labels(metric: &Metric) -> Vec<&'static str> {
    metric.labels.iter().map(|label| label.name).collect()
}
