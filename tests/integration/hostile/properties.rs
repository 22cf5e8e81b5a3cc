//! AMQP properties and headers that no honest client sets, on messages that are refused anyway and
//! on one that is not.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};

use super::witness::Before;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;

fn header(name: &str, value: AMQPValue) -> BasicProperties {
    let mut headers = FieldTable::default();
    headers.insert(name.into(), value);
    BasicProperties::default().with_headers(headers)
}

fn text(text: String) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The copy among the stops is no stop.
const MORE_LETTERS: usize = 1;

/// Each kind of property at its worst.
fn cases(scene: &Scene) -> Vec<(&'static str, BasicProperties)> {
    let plain = BasicProperties::default;
    let longest = || ShortString::from("x".repeat(255));
    let deep = (0..50).fold(AMQPValue::Boolean(true), |inner, _| {
        let mut array = FieldArray::default();
        array.push(inner);
        AMQPValue::FieldArray(array)
    });
    let mut crowd = FieldTable::default();
    for number in 0..1000 {
        crowd.insert(format!("h-{number}").into(), text("v".repeat(60)));
    }
    let mut copies = FieldArray::default();
    copies.push(text("stop".to_owned()));
    let copies = AMQPValue::FieldArray(copies);
    let own_queue = format!("{}.start.terminating", scene.namespace);
    vec![
        ("message-id-longest", plain().with_message_id(longest())),
        ("message-id-leaves", plain().with_message_id("../../jobs/x".into())),
        ("message-id-empty", plain().with_message_id("".into())),
        ("correlation-id-longest", plain().with_correlation_id(longest())),
        ("reply-to-longest", plain().with_reply_to(longest())),
        ("reply-to-nobody", plain().with_reply_to("no.such.queue".into())),
        ("reply-to-ourselves", plain().with_reply_to(own_queue.as_str().into())),
        ("reply-to-control", plain().with_reply_to("a\nb\u{1b}[2J".into())),
        ("type-of-picture", plain().with_content_type("image/png".into())),
        ("encoding-of-gzip", plain().with_content_encoding("gzip".into())),
        ("timestamp-last", plain().with_timestamp(u64::MAX)),
        ("priority-highest", plain().with_priority(255)),
        ("trace-huge", header("traceparent", text("0".repeat(130_900)))),
        ("trace-control", header("traceparent", text("00-\n\u{1b}[2J".to_owned()))),
        ("trace-number", header("traceparent", AMQPValue::LongLongInt(-1))),
        ("attempt-negative", header("x-longshore-attempt", AMQPValue::LongLongInt(i64::MIN))),
        ("attempt-last", header("x-longshore-attempt", AMQPValue::LongLongInt(u32::MAX.into()))),
        ("attempt-text", header("x-longshore-attempt", text("many".to_owned()))),
        ("reason-forged", header("x-longshore-reason", text("all is well".to_owned()))),
        ("copies-forged", header("CC", copies)),
        ("header-deep", header("deep", deep)),
        ("headers-by-the-thousand", plain().with_headers(crowd)),
    ]
}

#[tokio::test]
async fn no_property_of_a_message_keeps_it_from_being_rejected_once() {
    let scene = Scene::new().await;
    let before = Before::plant(&scene);
    let mut worker = scene.worker().await;
    let cases = cases(&scene);
    for (name, properties) in &cases {
        let mut message = PYTHON_BACKTEST.message(&scene.id(name), "code.zip");
        message["runtime"] = "perl5".into();
        let body = message.to_string();
        scene.publish("start.terminating", body.as_bytes(), properties.clone()).await;
    }
    for (name, _) in &cases {
        let result = scene.events.result_of(&scene.id(name)).await;
        result.expect("rejected");
        result.expect_message(&["runtime: must be ", "not \"perl5\""]);
    }
    let letters = scene.dead_letters(cases.len() + MORE_LETTERS).await;
    assert_eq!(
        letters.iter().filter(|letter| letter.reason.contains("perl5")).count(),
        cases.len()
    );
    for (name, _) in &cases {
        assert_eq!(scene.events.results_of(&scene.id(name)).len(), 1, "{name}");
    }
    before.nothing_has_happened(&scene, &mut worker).await;
    scene.finish([worker]).await;
}

/// The same on messages that are followed, as far as missing code lets them.
#[tokio::test]
async fn no_property_of_a_message_keeps_its_run_from_its_end() {
    let scene = Scene::new().await;
    let before = Before::plant(&scene);
    let mut worker = scene.worker().await;
    let cases = cases(&scene);
    for (name, properties) in &cases {
        let message = PYTHON_BACKTEST.message(&scene.id(name), "no/such/code.zip");
        let body = message.to_string();
        scene.publish("start.terminating", body.as_bytes(), properties.clone()).await;
    }
    for (name, _) in &cases {
        let result = scene.events.result_of(&scene.id(name)).await;
        result.expect("rejected");
        let is_foreign_queue = name.starts_with("reply-to-");
        let part = if is_foreign_queue { "property reply_to" } else { "no/such/code.zip" };
        result.expect_message(&[part]);
    }
    scene.dead_letters(cases.len() + MORE_LETTERS).await;
    for (name, _) in &cases {
        assert_eq!(scene.events.results_of(&scene.id(name)).len(), 1, "{name}");
    }
    before.nothing_has_happened(&scene, &mut worker).await;
    scene.finish([worker]).await;
}
