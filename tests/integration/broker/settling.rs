//! Retry queues, dead letters, and the ownership of segments.

use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use longshore::broker::{
    ATTEMPT_HEADER, Inbox, MessageBroker as _, QUEUE_HEADER, REASON_HEADER, SettleError,
};

use super::{publish, take};
use longshore_testing::rabbit::{RETRY_DELAY, Rabbit, within};

/// A message of a client in another language, with headers and properties of its own.
async fn publish_foreign(channel: &Channel, exchange: &str, key: &str) {
    let mut headers = FieldTable::default();
    headers.insert("colour".into(), AMQPValue::LongString("blue".into()));
    headers.insert("nested".into(), AMQPValue::FieldTable(FieldTable::default()));
    headers.insert("traceparent".into(), AMQPValue::Boolean(true));
    let properties = BasicProperties::default()
        .with_headers(headers)
        .with_message_id("m-1".into())
        .with_app_id("another".into())
        .with_user_id("longshore".into())
        .with_priority(3);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"\xff\x00", properties);
    sent.await.unwrap();
}

fn text(headers: &FieldTable, name: &str) -> Option<String> {
    match headers.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test]
async fn a_retry_comes_back_after_the_delay_with_only_its_attempt_changed() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let channel = rabbit.foreign_channel().await;
    for inbox in Inbox::SHARED {
        let exchange = broker.topology().jobs_exchange();
        publish_foreign(&channel, &exchange, &inbox.routing_key()).await;
        let first = take(&broker, inbox).await;
        let step = broker.topology().retry_step(first.properties.attempt).unwrap();
        let since = std::time::Instant::now();
        within(broker.retry(&first, &step, 2)).await.unwrap();

        let second = take(&broker, inbox).await;
        assert!(since.elapsed() >= RETRY_DELAY, "{:?}", since.elapsed());
        assert_eq!(second.body, first.body);
        assert_eq!(second.routing_key, first.routing_key);
        assert_eq!((first.properties.attempt, second.properties.attempt), (1, 2));
        assert_eq!(second.properties.message_id.as_deref(), Some("m-1"));
        assert_eq!(broker.topology().retry_step(second.properties.attempt), None);
        within(broker.dead_letter(&second, "see what is left of it")).await.unwrap();

        let dead = broker.topology().dead();
        let left = within(async {
            loop {
                let options = BasicGetOptions { no_ack: true };
                let got = channel.basic_get(dead.as_str().into(), options).await.unwrap();
                if let Some(got) = got {
                    return got;
                }
            }
        })
        .await;
        let headers = left.properties.headers().as_ref().unwrap();
        assert_eq!(text(headers, "colour").as_deref(), Some("blue"));
        assert!(headers.contains_key("nested"));
        assert_eq!(headers.inner().get(ATTEMPT_HEADER), Some(&AMQPValue::LongLongInt(2)));
        assert_eq!(left.properties.app_id().as_ref().unwrap().as_str(), "another");
        assert_eq!(*left.properties.priority(), Some(3));
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_message_put_straight_into_an_inbox_can_be_retried_too() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let inbox = Inbox::StartTerminating;
    let queue = broker.topology().inbox(inbox);
    publish_foreign(&rabbit.foreign_channel().await, "", &queue).await;
    let first = take(&broker, inbox).await;
    assert_eq!(first.routing_key, queue);
    let step = broker.topology().retry_step(1).unwrap();
    within(broker.retry(&first, &step, 2)).await.unwrap();
    assert_eq!(take(&broker, inbox).await.properties.attempt, 2);
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_redirected_message_reaches_the_other_inbox_unchanged() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let (from, to) = (Inbox::of_start(false), Inbox::of_start(true));
    let exchange = broker.topology().jobs_exchange();
    publish_foreign(&rabbit.foreign_channel().await, &exchange, &from.routing_key()).await;
    let first = take(&broker, from).await;
    within(broker.redirect(&first, to)).await.unwrap();
    let second = take(&broker, to).await;
    assert_eq!((&second.body, &second.properties), (&first.body, &first.properties));
    assert_eq!(second.routing_key, to.routing_key());
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_dead_letter_names_reason_and_queue_and_is_otherwise_unchanged() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let channel = rabbit.foreign_channel().await;
    let (inbox, queue) = (Inbox::Stop, broker.topology().inbox(Inbox::Stop));
    publish_foreign(&channel, &broker.topology().jobs_exchange(), "stop").await;
    let delivery = take(&broker, inbox).await;
    assert_eq!(delivery.properties.traceparent, None, "a boolean is no trace");
    within(broker.dead_letter(&delivery, "it is not JSON")).await.unwrap();

    let dead = broker.topology().dead();
    let got = within(async {
        loop {
            let options = BasicGetOptions { no_ack: true };
            if let Some(got) = channel.basic_get(dead.as_str().into(), options).await.unwrap() {
                return got;
            }
        }
    })
    .await;
    assert_eq!(got.data, b"\xff\x00");
    assert_eq!(got.routing_key.as_str(), "stop");
    let headers = got.properties.headers().as_ref().unwrap();
    assert_eq!(text(headers, REASON_HEADER).as_deref(), Some("it is not JSON"));
    assert_eq!(text(headers, QUEUE_HEADER), Some(queue));
    assert_eq!(text(headers, "colour").as_deref(), Some("blue"));
    assert_eq!(headers.inner().get("traceparent"), Some(&AMQPValue::Boolean(true)));
    assert_eq!(got.properties.message_id().as_ref().unwrap().as_str(), "m-1");

    publish(&broker, inbox, "next").await;
    assert_eq!(take(&broker, inbox).await.body, "next", "the first one was acknowledged");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_delivery_that_is_settled_already_is_not_copied() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    publish(&broker, Inbox::Stop, "x").await;
    let delivery = take(&broker, Inbox::Stop).await;
    delivery.ack().await.unwrap();
    let error = broker.dead_letter(&delivery, "too late").await.unwrap_err();
    assert!(matches!(error, SettleError::NotAcknowledged(_)), "{error}");
    let dead = broker.topology().dead();
    let channel = rabbit.foreign_channel().await;
    let got = channel.basic_get(dead.as_str().into(), BasicGetOptions::default()).await.unwrap();
    assert!(got.is_none());
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_segment_has_one_owner_and_is_free_when_its_connection_ends() {
    let rabbit = Rabbit::new();
    let (one, other) = (rabbit.declared().await, rabbit.declared().await);
    let lock = one.try_lock(0).await.unwrap().unwrap();
    assert_eq!(lock.segment(), 0);
    assert!(other.try_lock(0).await.unwrap().is_none());
    assert!(one.try_lock(0).await.unwrap().is_none(), "not even in the same process");
    let second = within(other.try_lock(1)).await.unwrap().unwrap();
    assert!(!lock.lost().is_cancelled());
    for broker in [&one, &other] {
        for (segment, is_locked) in [(0, true), (1, true), (2, false)] {
            assert_eq!(within(broker.is_locked(segment)).await.unwrap(), is_locked, "{segment}");
        }
    }

    let lost = lock.lost();
    one.close().await;
    within(lost.cancelled()).await;
    within(async {
        while other.try_lock(0).await.unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;

    second.release().await;
    let third = rabbit.declared().await;
    assert!(third.try_lock(1).await.unwrap().is_some(), "a released segment is free at once");
    rabbit.clean_up().await;
}
