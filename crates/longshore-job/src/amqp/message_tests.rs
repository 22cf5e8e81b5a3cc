use amq_protocol::types::{DecimalValue, FieldArray};
use proptest::prelude::*;

use super::*;

fn with_header(name: &str, value: AMQPValue) -> BasicProperties {
    let mut table = FieldTable::default();
    table.insert(name.into(), value);
    BasicProperties::default().with_headers(table)
}

/// As a worker's own message is read.
fn read(properties: &BasicProperties) -> MessageProperties {
    MessageProperties::read(properties, Sender::Worker)
}

fn attempt(value: AMQPValue) -> u32 {
    read(&with_header(ATTEMPT_HEADER, value)).attempt
}

/// One value of every type that a client can send.
fn any_value() -> impl Strategy<Value = AMQPValue> {
    prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        any::<u32>().prop_map(|value| AMQPValue::DecimalValue(DecimalValue { scale: 2, value })),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
        Just(AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void]))),
        Just(AMQPValue::FieldTable(FieldTable::default())),
        Just(AMQPValue::Void),
    ]
}

proptest! {
    #[test]
    fn headers_of_any_type_are_read_without_a_crash(value in any_value()) {
        prop_assert!(attempt(value.clone()) >= 1);
        let traced = read(&with_header(TRACEPARENT_HEADER, value.clone()));
        let is_text = matches!(value, AMQPValue::LongString(_));
        prop_assert!(traced.traceparent.is_none() || is_text);
    }
}

#[test]
fn the_unit_of_a_timestamp_is_told_by_its_size() {
    let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let second = u64::try_from(now.as_second()).unwrap();
    for (count, expected) in [
        (second, Some(now)),
        (second * 1_000 + 999, Some(now)),
        (second * 1_000_000 + 999_999, Some(now)),
        (second * 1_000_000_000 + 7, Some(now)),
        (second + 86_400, at("2026-11-29T12:00:00Z")),
        (second - 86_400 * 365, at("2025-11-28T12:00:00Z")),
        ((second + 3600) * 1000, at("2026-11-28T13:00:00Z")),
        (946_684_800, at("2000-01-01T00:00:00Z")),
        (second + 86_401, None),
        ((second + 86_401) * 1_000, None),
        (0, None),
        (1, None),
        (946_684_799, None),
        (99_999_999_999, None),
        // Ticks of .NET, which count from the year 1.
        (639_159_552_000_000_000, None),
        (u64::MAX, None),
    ] {
        assert_eq!(published_at(count, now), expected, "{count}");
    }
}

proptest! {
    #[test]
    fn no_timestamp_is_absurd(count in any::<u64>()) {
        let now = Timestamp::from_second(1_795_867_200).unwrap();
        if let Some(at) = published_at(count, now) {
            prop_assert!((946_684_800..=1_795_867_200 + 86_400).contains(&at.as_second()));
        }
    }
}

#[test]
fn what_could_not_be_a_trace_does_not_go_on() {
    let traced = |text: &str| {
        let value = AMQPValue::LongString(text.into());
        read(&with_header(TRACEPARENT_HEADER, value)).traceparent
    };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_eq!(traced(trace).as_deref(), Some(trace));
    for text in ["", "00", &trace.replace('4', "\n"), &"0".repeat(256), &"0".repeat(130_000)] {
        assert_eq!(traced(text), None, "{text}");
    }
}

#[test]
fn an_attempt_is_read_in_whatever_width_the_client_chose() {
    assert_eq!(read(&BasicProperties::default()).attempt, 1);
    assert_eq!(attempt(AMQPValue::ShortShortUInt(3)), 3);
    assert_eq!(attempt(AMQPValue::LongInt(3)), 3);
    assert_eq!(attempt(AMQPValue::LongLongInt(3)), 3);
    assert_eq!(attempt(AMQPValue::LongString("3".into())), 3);
    assert_eq!(attempt(AMQPValue::LongInt(-3)), 1);
    assert_eq!(attempt(AMQPValue::LongLongInt(0)), 1);
    assert_eq!(attempt(AMQPValue::LongLongInt(i64::MAX)), 1);
}

#[test]
fn a_name_that_is_too_long_is_an_error_and_not_a_crash() {
    let message = OutgoingMessage { message_id: Some("x".repeat(256)), ..Default::default() };
    let error = properties_of(&message).unwrap_err();
    assert_eq!(error, "the message id is longer than 255 bytes");
}

#[test]
fn a_copy_keeps_what_is_the_publishers_and_leaves_what_is_the_brokers() {
    let mut table = FieldTable::default();
    let forged = [ATTEMPT_HEADER, FIRST_TRY_HEADER, REASON_HEADER, QUEUE_HEADER];
    for name in ["mine", "x-death", "x-first-death-queue", "CC"].into_iter().chain(forged) {
        table.insert(name.into(), AMQPValue::LongString("old".into()));
    }
    let original = BasicProperties::default()
        .with_headers(table)
        .with_message_id("m".into())
        .with_type("t".into())
        .with_timestamp(7)
        .with_expiration("1000".into())
        .with_user_id("somebody".into());
    let copy = properties_of_copy(&original, &[(ATTEMPT_HEADER, HeaderValue::Number(2))]);
    let headers = copy.headers().clone().unwrap();
    let names: Vec<_> = headers.inner().keys().map(ShortString::as_str).collect();
    assert_eq!(names, ["mine", ATTEMPT_HEADER]);
    assert_eq!(headers.inner()[ATTEMPT_HEADER], AMQPValue::LongLongInt(2));
    assert_eq!(copy.message_id().as_ref().unwrap().as_str(), "m");
    assert_eq!(copy.kind().as_ref().unwrap().as_str(), "t");
    assert_eq!(*copy.timestamp(), Some(7));
    assert_eq!((copy.expiration(), copy.user_id()), (&None, &None));
}

#[test]
fn a_copy_leaves_headers_that_would_not_fit_into_a_frame() {
    let huge = AMQPValue::LongString("x".repeat(120 * 1024).into());
    let copy = properties_of_copy(
        &with_header("huge", huge),
        &[(REASON_HEADER, HeaderValue::Text("why".to_owned()))],
    );
    let headers = copy.headers().clone().unwrap();
    let names: Vec<_> = headers.inner().keys().map(ShortString::as_str).collect();
    assert_eq!(names, [REASON_HEADER]);
}

#[test]
fn headers_of_ours_are_believed_of_workers_alone() {
    let mut table = FieldTable::default();
    for name in [ATTEMPT_HEADER, FIRST_TRY_HEADER] {
        table.insert(name.into(), AMQPValue::LongLongInt(7));
    }
    let properties = BasicProperties::default().with_headers(table);
    let counted = |sender| {
        let read = MessageProperties::read(&properties, sender);
        (read.attempt, read.first_try)
    };
    assert_eq!(counted(Sender::Worker), (7, 7));
    assert_eq!(counted(Sender::Publisher), (1, 1));
}

#[test]
fn a_copy_asks_for_no_answer_that_would_end_its_channel() {
    let asks = |queue: &str| {
        let original = BasicProperties::default().with_reply_to(queue.into());
        properties_of_copy(&original, &[]).reply_to().as_ref().map(ToString::to_string)
    };
    assert_eq!(asks("amq.rabbitmq.reply-to"), None);
    let own = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUAx";
    assert_eq!(asks(own).as_deref(), Some(own));
}
