//! The queue adapter against a real `RabbitMQ`.

mod cuts;
mod edge;
mod events;
mod hosts;
mod locks;
mod network;
mod rights;
mod settling;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use longshore::broker::{
    Broker, BrokerError, Delivery, Flow, Inbox, OutgoingMessage, PublishError, Until,
};
use tokio_util::sync::CancellationToken;

use longshore_testing::rabbit::{Rabbit, within};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A message to an inbox, by way of the exchange of jobs, or of workers for a mailbox.
fn message(broker: &Broker, inbox: Inbox, body: &'static str) -> OutgoingMessage {
    let topology = broker.topology();
    let is_mailbox = matches!(inbox, Inbox::Mailbox(_));
    OutgoingMessage {
        exchange: if is_mailbox { topology.workers_exchange() } else { topology.jobs_exchange() },
        routing_key: inbox.routing_key(),
        body: body.into(),
        content_type: "application/json".to_owned(),
        message_id: Some(format!("id of {body}")),
        persistent: true,
        mandatory: true,
        ..Default::default()
    }
}

async fn publish(broker: &Broker, inbox: Inbox, body: &'static str) {
    let message = message(broker, inbox, body);
    within(broker.publish_until(&message, Until::Confirmed, &CancellationToken::new()))
        .await
        .unwrap();
}

/// One delivery from `inbox`, over a consumer of its own.
async fn take(broker: &Broker, inbox: Inbox) -> Delivery {
    let mut consumer = broker.consumer(inbox, Flow::OnDemand, CancellationToken::new());
    within(consumer.next()).await.unwrap()
}

#[tokio::test]
async fn the_topology_is_declared_twice_without_a_word() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    within(broker.declare_topology()).await.unwrap();
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_named_with_a_way_to_fix_it() {
    let rabbit = Rabbit::new();
    let broker = rabbit.connect();
    let channel = rabbit.foreign_channel().await;
    let name = broker.topology().inbox(Inbox::Stop);
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();

    let error = within(broker.declare_topology()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, BrokerError::Mismatch { .. }), "{text}");
    for part in [&name, "x-", "AMQP_NAMESPACE", "delete"] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn what_is_published_is_delivered_whole_and_gone_once_acknowledged() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let sent = OutgoingMessage {
        correlation_id: Some("c".to_owned()),
        reply_to: Some("r".to_owned()),
        headers: [("traceparent".to_owned(), longshore::broker::HeaderValue::Text(TRACE.into()))]
            .into(),
        ..message(&broker, Inbox::StartTerminating, "{}")
    };
    within(broker.publish(&sent)).await.unwrap();

    let delivery = take(&broker, Inbox::StartTerminating).await;
    assert_eq!(delivery.body, sent.body);
    assert_eq!(delivery.routing_key, "start.terminating");
    assert!(!delivery.redelivered);
    assert_eq!(delivery.inbox(), Inbox::StartTerminating);
    let properties = &delivery.properties;
    assert_eq!(properties.message_id, sent.message_id);
    assert_eq!(properties.correlation_id, sent.correlation_id);
    assert_eq!(properties.reply_to, sent.reply_to);
    assert_eq!(properties.content_type, Some(sent.content_type));
    assert_eq!(properties.traceparent.as_deref(), Some(TRACE));
    assert_eq!(properties.attempt, 1);
    delivery.ack().await.unwrap();
    assert!(delivery.ack().await.is_err(), "a second ack says that it is of no use");

    publish(&broker, Inbox::StartTerminating, "second").await;
    assert_eq!(take(&broker, Inbox::StartTerminating).await.body, "second");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_requeued_delivery_comes_again_marked_as_redelivered() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    publish(&broker, Inbox::Stop, "x").await;
    take(&broker, Inbox::Stop).await.requeue().await.unwrap();
    let again = take(&broker, Inbox::Stop).await;
    assert!(again.redelivered);
    again.ack().await.unwrap();
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_full_worker_holds_no_delivery_that_another_could_take() {
    let rabbit = Rabbit::new();
    let (full, idle) = (rabbit.declared().await, rabbit.declared().await);
    let never = CancellationToken::new();
    let inbox = Inbox::StartTerminating;
    let mut of_full = full.consumer(inbox, Flow::OnDemand, never.clone());
    let mut of_idle = idle.consumer(inbox, Flow::OnDemand, never);
    for body in ["1", "2", "3"] {
        publish(&full, inbox, body).await;
    }
    let first = within(of_full.next()).await.unwrap();
    first.ack().await.unwrap();
    for expected in ["2", "3"] {
        let delivery = within(of_idle.next()).await.unwrap();
        assert_eq!(delivery.body, expected);
        assert!(!delivery.redelivered, "it had been with the full worker");
        delivery.ack().await.unwrap();
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn deliveries_are_taken_on_demand_while_earlier_ones_are_unsettled() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let inbox = Inbox::StartLongRunning;
    let mut consumer = broker.consumer(inbox, Flow::OnDemand, CancellationToken::new());
    publish(&broker, inbox, "1").await;
    publish(&broker, inbox, "2").await;
    let first = within(consumer.next()).await.unwrap();
    let second = within(consumer.next()).await.unwrap();
    assert_eq!((&first.body[..], &second.body[..]), (&b"1"[..], &b"2"[..]));
    consumer.close().await;
    first.ack().await.unwrap();
    second.ack().await.unwrap();
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_prefetching_consumer_takes_many_and_gives_back_unreturned_ones() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let inbox = Inbox::Mailbox(3);
    broker.declare_mailbox(3).await.unwrap();
    for body in ["1", "2", "3"] {
        publish(&broker, inbox, body).await;
    }
    let mut consumer = broker.consumer(inbox, Flow::Prefetch(10), CancellationToken::new());
    within(consumer.next()).await.unwrap().ack().await.unwrap();
    within(consumer.close()).await;
    for expected in ["2", "3"] {
        let delivery = take(&broker, inbox).await;
        assert_eq!(delivery.body, expected);
        delivery.ack().await.unwrap();
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn waiting_for_a_delivery_can_be_given_up_without_losing_one() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let mut consumer = broker.consumer(Inbox::Stop, Flow::OnDemand, CancellationToken::new());
    let mut unsettled = Vec::new();
    // From the second round on the channel is in use, for earlier deliveries are not settled.
    for body in ["1", "2", "3"] {
        for micros in 0..20 {
            let brief = std::time::Duration::from_micros(micros * 200);
            assert!(tokio::time::timeout(brief, consumer.next()).await.is_err());
        }
        publish(&broker, Inbox::Stop, body).await;
        let delivery = within(consumer.next()).await.unwrap();
        assert_eq!(delivery.body, body);
        assert!(!delivery.redelivered);
        unsettled.push(delivery);
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_consumer_ends_with_its_shutdown() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let shutdown = CancellationToken::new();
    let mut consumer = broker.consumer(Inbox::Stop, Flow::OnDemand, shutdown.clone());
    let (delivery, ()) = tokio::join!(within(consumer.next()), async { shutdown.cancel() });
    assert!(delivery.is_none());
    // It may still be subscribing in the background, and would declare what is cleaned up.
    broker.close().await;
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_queue_that_was_deleted_under_its_consumer_is_declared_again() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    publish(&broker, Inbox::Stop, "before").await;
    let mut consumer = broker.consumer(Inbox::Stop, Flow::Prefetch(1), CancellationToken::new());
    within(consumer.next()).await.unwrap().ack().await.unwrap();
    let name = broker.topology().inbox(Inbox::Stop);
    let channel = rabbit.foreign_channel().await;
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();

    let publishing = async {
        // Nobody takes it until the consumer has declared the queue again.
        while broker.publish(&message(&broker, Inbox::Stop, "after")).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let (delivery, ()) = within(async { tokio::join!(consumer.next(), publishing) }).await;
    assert_eq!(delivery.unwrap().body, "after");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn an_unroutable_message_and_one_that_cannot_be_published_are_different_errors() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let mut message = message(&broker, Inbox::Mailbox(9), "x");
    let unroutable = broker.publish(&message).await.unwrap_err();
    assert!(matches!(unroutable, PublishError::Unroutable { .. }), "{unroutable}");
    assert!(unroutable.to_string().contains("segment.9"), "{unroutable}");

    message.exchange = "no-such-exchange".to_owned();
    let nowhere = broker.publish(&message).await.unwrap_err();
    assert!(matches!(nowhere, PublishError::NoExchange { .. }), "{nowhere}");

    message.exchange = broker.topology().jobs_exchange();
    message.body = vec![b'x'; 17 * 1024 * 1024].into();
    let refused = within(broker.publish(&message)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Refused { .. }), "{refused}");

    publish(&broker, Inbox::Stop, "the channels are well again").await;
    rabbit.clean_up().await;
}

#[tokio::test]
async fn an_exchange_that_is_missing_is_declared_by_one_who_publishes_until_confirmed() {
    let rabbit = Rabbit::new();
    let broker = rabbit.connect();
    publish(&broker, Inbox::Stop, "x").await;
    assert_eq!(take(&broker, Inbox::Stop).await.body, "x");
    rabbit.clean_up().await;
}
