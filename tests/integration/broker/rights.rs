//! What a stranger's message cannot do to the queues: no header of it is believed, none of it stops a
//! queue, and dead letters are bounded.

use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use longshore::broker::{ATTEMPT_HEADER, FIRST_TRY_HEADER, Inbox, MessageBroker as _, Sender};
use longshore::settings::DeadLetterBounds;

use super::{publish, take};
use longshore_testing::rabbit::{Rabbit, within};

/// More than the broker dead-letters at a time and waits for.
const MANY: usize = 40;

async fn put(channel: &Channel, exchange: &str, key: &str, properties: BasicProperties) {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties);
    let confirmed = within(sent.await.unwrap()).await.unwrap();
    assert!(matches!(confirmed, Confirmation::Ack(None)), "{key}: {confirmed:?}");
}

async fn confirming(rabbit: &Rabbit) -> Channel {
    let channel = rabbit.foreign_channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

/// Everything by which a message could pretend that it comes from a worker.
fn forged() -> BasicProperties {
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut death = FieldTable::default();
    death.insert("queue".into(), text("retry"));
    death.insert("reason".into(), text("expired"));
    death.insert("count".into(), AMQPValue::LongLongInt(7));
    let mut deaths = FieldArray::default();
    deaths.push(AMQPValue::FieldTable(death));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
    headers.insert("x-first-death-reason".into(), text("expired"));
    for name in [ATTEMPT_HEADER, FIRST_TRY_HEADER] {
        headers.insert(name.into(), AMQPValue::LongLongInt(u32::MAX.into()));
    }
    BasicProperties::default().with_headers(headers)
}

async fn count(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
    queue.unwrap().message_count()
}

#[tokio::test]
async fn a_publisher_cannot_say_how_often_its_message_was_tried() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let channel = confirming(&rabbit).await;
    let (inbox, other) = (Inbox::StartTerminating, Inbox::StartLongRunning);
    let jobs = broker.topology().jobs_exchange();
    put(&channel, &jobs, &inbox.routing_key(), forged()).await;
    let first = take(&broker, inbox).await;
    let counted = |delivery: &longshore::broker::Delivery| {
        (delivery.sender, delivery.properties.attempt, delivery.properties.first_try)
    };
    assert_eq!(counted(&first), (Sender::Publisher, 1, 1));

    // Nor does it get a worker to say so.
    within(broker.redirect(&first, other)).await.unwrap();
    let second = take(&broker, other).await;
    assert_eq!(counted(&second), (Sender::Worker, 1, 1));
    let step = broker.topology().retry_step(1).unwrap();
    within(broker.retry(&second, &step, 2)).await.unwrap();
    let third = take(&broker, other).await;
    assert_eq!(counted(&third), (Sender::Worker, 2, 1));
    third.ack().await.unwrap();
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_redirected_message_keeps_the_count_of_its_attempts() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    publish(&broker, Inbox::StartTerminating, "x").await;
    let first = take(&broker, Inbox::StartTerminating).await;
    let step = broker.topology().retry_step(1).unwrap();
    within(broker.retry(&first, &step, 5)).await.unwrap();
    let second = take(&broker, Inbox::StartTerminating).await;
    within(broker.redirect(&second, Inbox::StartLongRunning)).await.unwrap();
    let third = take(&broker, Inbox::StartLongRunning).await;
    assert_eq!(third.properties.attempt, 5);
    third.ack().await.unwrap();
    rabbit.clean_up().await;
}

#[tokio::test]
async fn unroutable_messages_stop_no_retry_and_are_kept() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let channel = confirming(&rabbit).await;
    let retry = format!("{}.retry.300ms", rabbit.settings.namespace);
    for number in 0..MANY {
        // Straight into the queue, and by its exchange with a senseless key.
        let (exchange, key) = if number % 2 == 0 { ("", &*retry) } else { (&*retry, "nowhere") };
        put(&channel, exchange, key, BasicProperties::default()).await;
    }
    publish(&broker, Inbox::StartTerminating, "waits").await;
    let first = take(&broker, Inbox::StartTerminating).await;
    let step = broker.topology().retry_step(1).unwrap();
    within(broker.retry(&first, &step, 2)).await.unwrap();
    let second = take(&broker, Inbox::StartTerminating).await;
    assert_eq!((second.body.as_ref(), second.properties.attempt), (b"waits".as_slice(), 2));
    second.ack().await.unwrap();
    let dead = broker.topology().dead();
    within(async {
        while count(&channel, &dead).await < u32::try_from(MANY).unwrap() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(count(&channel, &retry).await, 0);
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_publisher_hears_of_an_unroutable_key() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let channel = confirming(&rabbit).await;
    within(broker.declare_mailbox(3)).await.unwrap();
    let jobs = broker.topology().jobs_exchange();
    // The mailboxes are for workers alone.
    for key in ["start.terminatng", "segment.3", ""] {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default();
        let sent =
            channel.basic_publish(jobs.as_str().into(), key.into(), options, b"{}", properties);
        let confirmed = within(sent.await.unwrap()).await.unwrap();
        assert!(matches!(confirmed, Confirmation::Ack(Some(_))), "{key}: {confirmed:?}");
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn of_too_many_dead_letters_the_newest_are_kept_and_the_bound_outlives_a_change_of_it() {
    let mut rabbit = Rabbit::new();
    rabbit.settings.dead_letters = DeadLetterBounds { messages: 3, bytes: 1 << 20 };
    let broker = rabbit.declared().await;
    for body in ["1", "2", "3", "4", "5"] {
        publish(&broker, Inbox::Stop, body).await;
        let delivery = take(&broker, Inbox::Stop).await;
        within(broker.dead_letter(&delivery, "why")).await.unwrap();
    }
    let channel = rabbit.foreign_channel().await;
    let dead = broker.topology().dead();
    assert_eq!(count(&channel, &dead).await, 3);
    let options = BasicGetOptions { no_ack: true };
    let oldest = channel.basic_get(dead.as_str().into(), options).await.unwrap().unwrap();
    assert_eq!(oldest.data, b"3");

    // Another worker comes with other bounds: it starts, and the queue stays.
    rabbit.settings.dead_letters.messages = 7;
    rabbit.declared().await;
    assert_eq!(count(&channel, &dead).await, 2);
    rabbit.clean_up().await;
}
