//! Every event that a test sees must match the published schema.

use std::sync::LazyLock;

use jsonschema::Validator;

use super::events::Seen;

static EVENT: LazyLock<Validator> = LazyLock::new(|| {
    let all = longshore::job::schema::all();
    let event = all.iter().find(|one| one.file == "event.schema.json").unwrap();
    jsonschema::validator_for(event.schema.as_value()).unwrap()
});

/// Checks each event, and what AMQP says about it.
pub fn check(all: &[Seen]) {
    for seen in all {
        if let Some(error) = EVENT.iter_errors(&seen.event).next() {
            panic!("{error} at {}: {:#}", error.instance_path(), seen.event);
        }
        assert_eq!(seen.content_type.as_deref(), Some("application/cloudevents+json"));
        assert_eq!(seen.delivery_mode, Some(2), "an event is not persistent: {:#}", seen.event);
        assert_eq!(seen.message_id.as_deref(), Some(seen.id()), "{:#}", seen.event);
        let what = if seen.is_result() { &seen.data()["verdict"] } else { &seen.data()["state"] };
        let kind = seen.data()["entrypoint"].as_str().unwrap_or("unknown");
        let expected = format!("{}.{kind}.", what.as_str().unwrap_or_default());
        assert!(seen.routing_key.starts_with(&expected), "{}: {expected}", seen.routing_key);
        let exchange = if seen.is_result() { ".results" } else { ".status" };
        assert!(seen.exchange.ends_with(exchange), "{}: {}", seen.exchange, seen.routing_key);
    }
}
