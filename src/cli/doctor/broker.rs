//! Whether the hosts of the broker answer.

use super::finding::Finding;
use crate::broker::{Broker, BrokerError};
use crate::settings::{BrokerSettings, broker_urls, mask_broker_urls};

/// The name of the check.
const CHECK: &str = "broker";

/// One line for each host. A worker needs one of them, so a host that does not answer is a failure
/// only if no other does.
pub(super) async fn hosts(settings: &BrokerSettings) -> Vec<Finding> {
    let urls = broker_urls(&settings.url);
    // Each attempt has a bound of its own, so one silent host hides no other.
    let checked = match Box::pin(Broker::check_each(settings)).await {
        Ok(checked) => checked,
        Err(error) => return vec![failed(&error, Finding::fail)],
    };
    let one_answers = checked.iter().any(Result::is_ok);
    let grade = if one_answers { Finding::warn } else { Finding::fail };
    let told = urls.iter().zip(checked).map(|(url, outcome)| match outcome {
        Ok(()) => connected(url),
        Err(error) => failed(&error, grade),
    });
    told.collect()
}

fn connected(url: &str) -> Finding {
    let with_tls = if url.starts_with("amqps://") { ", over TLS" } else { "" };
    Finding::ok(CHECK, format!("{}: connected{with_tls}", mask_broker_urls(url)))
}

fn failed(error: &BrokerError, finding: fn(&'static str, String, String) -> Finding) -> Finding {
    let usual = match error {
        BrokerError::Refused { .. } => {
            "rabbitmqctl list_users and rabbitmqctl list_vhosts say what there is"
        }
        _ => "start RabbitMQ, or set AMQP_URL",
    };
    finding(CHECK, error.to_string(), error.remedy().unwrap_or_else(|| usual.to_owned()))
}
