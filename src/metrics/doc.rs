//! `docs/metrics.md`, made from the table.

use std::fmt::Write as _;

use super::table::{self, Kind, Metric};

const HEAD: &str = "\
# Metrics

A worker answers `GET /metrics` on `HTTP_LISTEN` with text for Prometheus. The rules for access are those of the other
pages: with `HTTP_TOKEN` set, the request needs `Authorization: Bearer <HTTP_TOKEN>`; without it, the request must name
a host of the worker (`HTTP_ALLOWED_HOSTS`).

```yaml
scrape_configs:
  - job_name: longshore
    authorization: { credentials_file: /etc/prometheus/longshore-token }
    static_configs: [{ targets: [\"worker-1:8080\", \"worker-2:8080\"] }]
```

No metric has a job's id as a label, so their number does not grow with the jobs. Counters begin at 0 when the worker
starts. Gauges are read when somebody asks. The queues are looked at only while somebody asks for metrics, at most
every 10 s, and no message is taken to look. [deploy/prometheus/alerts.yml](../deploy/prometheus/alerts.yml) has alert
rules, [deploy/grafana/longshore.json](../deploy/grafana/longshore.json) a dashboard for Grafana.

The program generates this page: `longshore schema --metrics-doc > docs/metrics.md`.

| Metric | Type | Labels | What it is |
| --- | --- | --- | --- |
";

/// The whole page.
#[must_use]
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for metric in table::ALL {
        page.push_str(&row(metric));
    }
    for (name, kind, help) in table::PROCESS {
        let _written = writeln!(page, "| `{name}` | {kind} | | {help} |");
    }
    page
}

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let labels = metric.labels.iter().map(|label| format!("`{}`: {}", label.name, label.values));
    let labels = labels.collect::<Vec<_>>().join("<br>");
    format!("| `{}` | {kind} | {labels} | {} |\n", metric.name, metric.help)
}
