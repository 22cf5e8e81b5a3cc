//! Events and orders, from the worker's side to the client's.

use std::sync::Arc;

use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use longshore::broker::{
    Binding, BrokerSink, EventSink, Feed, Flow, Inbox, MessageBroker as _, MessageOptions,
    PublishError, ReplyTo, Subscription, SubscriptionError,
};
use longshore::job::{
    Event, EventData, Executable, ExecutionResult, ResultStatus, State, Status, StopRequest,
    Verdict,
};
use tokio_util::sync::CancellationToken;

use longshore_testing::rabbit::{Rabbit, within};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub(super) fn status(id: &str) -> Event {
    let data = EventData::Status(Status {
        id: id.parse().unwrap(),
        run_id: None,
        state: State::Accepted,
        entrypoint: None,
        attempt: 1,
        segment: Some(0),
        worker: "w".to_owned(),
        container_id: None,
        verdict: None,
        message: None,
        progress: None,
    });
    Event::new(format!("status of {id}"), "/s".to_owned(), Some(TRACE.to_owned()), data)
}

fn result(id: &str) -> Event {
    let json = serde_json::json!({
        "status": "success", "verdict": "succeeded", "message": "done", "output": "",
        "duration_seconds": 1.0, "is_long_running": false, "id": id, "entrypoint": "backtest",
        "attempt": 1, "worker": "w", "finished_at": "2026-01-01T00:00:00Z",
    });
    let result: ExecutionResult = serde_json::from_value(json).unwrap();
    assert_eq!((result.status, result.verdict), (ResultStatus::Success, Some(Verdict::Succeeded)));
    let data = EventData::Result(result);
    Event::new(format!("result of {id}"), "/s".to_owned(), None, data)
}

async fn next(subscription: &mut Subscription) -> Result<Event, SubscriptionError> {
    within(subscription.next()).await.unwrap()
}

async fn reply_queue(channel: &Channel) -> String {
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.unwrap();
    queue.name().to_string()
}

#[tokio::test]
async fn a_subscriber_gets_the_events_it_asked_for_in_order() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let never = CancellationToken::new();
    let mine = "a".parse().unwrap();
    let bindings = [Feed::Status, Feed::Results].map(|feed| Binding::of_job(feed, &mine));
    let mut of_one = broker.subscribe(bindings.to_vec(), never.clone()).await.unwrap();
    let mut of_all =
        broker.subscribe(vec![Binding::all(Feed::Status)], never.clone()).await.unwrap();

    let sink = BrokerSink::new(Arc::new(broker), never);
    let mine = status("a");
    for event in [&status("b"), &mine, &result("b"), &result("a")] {
        within(sink.publish(event, None)).await.unwrap();
    }
    assert_eq!(next(&mut of_one).await.unwrap(), mine);
    assert_eq!(next(&mut of_one).await.unwrap().id, result("a").id);
    assert_eq!(next(&mut of_all).await.unwrap().id, status("b").id);
    assert_eq!(next(&mut of_all).await.unwrap().id, status("a").id);
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_message_that_is_no_event_is_reported_and_the_next_one_is_read() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let never = CancellationToken::new();
    let bindings = vec![Binding::all(Feed::Status)];
    let mut events = broker.subscribe(bindings, never.clone()).await.unwrap();
    let channel = rabbit.foreign_channel().await;
    let exchange = broker.topology().status_exchange();
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    channel
        .basic_publish(exchange.as_str().into(), "k".into(), options, b"{", properties)
        .await
        .unwrap();
    let error = next(&mut events).await.unwrap_err();
    assert!(matches!(error, SubscriptionError::Undecodable { .. }), "{error}");
    within(BrokerSink::new(Arc::new(broker), never).publish(&status("a"), None)).await.unwrap();
    assert!(next(&mut events).await.is_ok());
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_result_also_goes_to_reply_to_and_a_status_does_not() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let channel = rabbit.foreign_channel().await;
    let queue = reply_queue(&channel).await;
    let reply = ReplyTo { queue: queue.clone(), correlation_id: Some("c-7".to_owned()) };
    let sink = BrokerSink::new(Arc::new(broker), CancellationToken::new());
    within(sink.publish(&status("a"), Some(&reply))).await.unwrap();
    within(sink.publish(&result("a"), Some(&reply))).await.unwrap();

    let options = BasicGetOptions { no_ack: true };
    let answer = channel.basic_get(queue.as_str().into(), options).await.unwrap().unwrap();
    assert_eq!(answer.message_count, 0, "the status came here, too");
    let properties = &answer.properties;
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "c-7");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "result of a");
    assert_eq!(
        properties.content_type().as_ref().unwrap().as_str(),
        "application/cloudevents+json"
    );
    assert_eq!(*properties.delivery_mode(), Some(2));
    let event: Event = serde_json::from_slice(&answer.data).unwrap();
    assert_eq!(event.id, "result of a");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn an_answer_that_nobody_awaits_any_more_is_no_error() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let sink = BrokerSink::new(Arc::new(broker), CancellationToken::new());
    let reply = ReplyTo { queue: "gone".to_owned(), correlation_id: None };
    within(sink.publish(&result("a"), Some(&reply))).await.unwrap();
    rabbit.clean_up().await;
}

#[tokio::test]
async fn an_event_carries_its_trace_in_a_header_too() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let channel = rabbit.foreign_channel().await;
    let queue = reply_queue(&channel).await;
    let exchange = broker.topology().status_exchange();
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel
        .queue_bind(queue.as_str().into(), exchange.as_str().into(), "#".into(), options, arguments)
        .await
        .unwrap();
    within(BrokerSink::new(Arc::new(broker), CancellationToken::new()).publish(&status("a"), None))
        .await
        .unwrap();
    let options = BasicGetOptions { no_ack: true };
    let event = channel.basic_get(queue.as_str().into(), options).await.unwrap().unwrap();
    let headers = event.properties.headers().as_ref().unwrap();
    let trace = headers.inner()["traceparent"].as_long_string().unwrap();
    assert_eq!(trace.as_bytes(), TRACE.as_bytes());
    assert_eq!(event.routing_key.as_str(), "accepted.unknown.a");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn orders_of_a_client_reach_the_inbox_that_they_are_for() {
    let rabbit = Rabbit::new();
    let broker = rabbit.connect();
    within(broker.wait_connected()).await.unwrap();
    let mut start: Executable = serde_json::from_value(serde_json::json!({
        "id": "a", "runtime": "python3.11", "entrypoint": "bot",
        "entrypoint_files": {"bot": "main.py"}, "file_path": "a.zip", "config": {},
        "is_long_running": false, "persist_results": false,
    }))
    .unwrap();
    let stop: StopRequest = serde_json::from_str(r#"{"id":"a"}"#).unwrap();
    let options = MessageOptions {
        message_id: "m".to_owned(),
        correlation_id: Some("c".to_owned()),
        reply_to: Some("r".to_owned()),
        traceparent: Some(TRACE.to_owned()),
    };
    let early = broker.publish_start(&start, &options).await.unwrap_err();
    assert!(matches!(early, PublishError::NoExchange { .. }), "{early}");

    within(broker.declare_topology()).await.unwrap();
    within(broker.declare_mailbox(4)).await.unwrap();
    broker.publish_start(&start, &options).await.unwrap();
    start.is_long_running = true;
    broker.publish_start(&start, &options).await.unwrap();
    broker.publish_stop(&stop, &options).await.unwrap();
    broker.forward_stop(4, &stop, &options).await.unwrap();
    for inbox in Inbox::SHARED.into_iter().chain([Inbox::Mailbox(4)]) {
        let mut consumer = broker.consumer(inbox, Flow::OnDemand, CancellationToken::new());
        let order = within(consumer.next()).await.unwrap();
        assert_eq!(order.properties.message_id.as_deref(), Some("m"));
        assert_eq!(order.properties.correlation_id.as_deref(), Some("c"));
        assert_eq!(order.properties.reply_to.as_deref(), Some("r"));
        assert_eq!(order.properties.traceparent.as_deref(), Some(TRACE));
        let body: serde_json::Value = serde_json::from_slice(&order.body).unwrap();
        assert_eq!(body["id"], "a");
        if inbox == Inbox::StartLongRunning {
            assert_eq!(body["is_long_running"], true);
        }
        order.ack().await.unwrap();
    }
    rabbit.clean_up().await;
}
