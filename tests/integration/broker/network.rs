//! A broker that goes away, and comes back.

use std::sync::Arc;
use std::time::Duration;

use longshore::broker::{Binding, Broker, BrokerError, Feed, Flow, Inbox, SubscriptionError};
use longshore::broker::{
    BrokerSink, EventSink, MessageBroker as _, PublishError, SettleError, Until,
};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{message, publish, take};
use longshore_testing::proxy::Proxy;
use longshore_testing::rabbit::{Rabbit, within};

async fn disconnected(broker: &Broker) {
    within(broker.connected().wait_for(|up| !*up)).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_is_away_at_the_start_is_waited_for() {
    let rabbit = Rabbit::new();
    let proxy = Proxy::start(rabbit.addr().await).await;
    proxy.cut();
    let broker = rabbit.through(proxy.addr()).connect();
    within(async {
        while proxy.connections() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(!broker.is_connected());
    let none = broker.publish(&message(&broker, Inbox::Stop, "x")).await.unwrap_err();
    assert!(matches!(none, PublishError::NotConnected { .. }), "{none}");
    proxy.restore();
    within(broker.wait_connected()).await.unwrap();
    assert!(broker.is_connected());
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_cut_connection_redelivers_what_was_not_acknowledged_and_the_consumer_goes_on() {
    let rabbit = Rabbit::new();
    let straight = rabbit.declared().await;
    let proxy = Proxy::start(rabbit.addr().await).await;
    let broker = rabbit.through(proxy.addr()).connect();
    let inbox = Inbox::StartTerminating;
    let mut consumer = broker.consumer(inbox, Flow::OnDemand, CancellationToken::new());
    publish(&straight, inbox, "x").await;
    let first = within(consumer.next()).await.unwrap();

    proxy.cut();
    disconnected(&broker).await;
    let late = first.ack().await.unwrap_err();
    assert!(late.to_string().contains("will be delivered again"), "{late}");
    let settled = broker.dead_letter(&first, "too late").await.unwrap_err();
    assert!(matches!(settled, SettleError::NotAcknowledged(_)), "{settled}");
    proxy.restore();

    let again = within(consumer.next()).await.unwrap();
    assert_eq!(again.body, "x");
    assert!(again.redelivered);
    again.ack().await.unwrap();

    publish(&straight, inbox, "y").await;
    assert_eq!(within(consumer.next()).await.unwrap().body, "y");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn publishing_until_confirmed_outlives_cuts_and_loses_nothing() {
    const MESSAGES: usize = 60;
    let rabbit = Rabbit::new();
    let straight = rabbit.declared().await;
    let proxy = Proxy::start(rabbit.addr().await).await;
    let broker = rabbit.through(proxy.addr()).connect();
    within(broker.wait_connected()).await.unwrap();
    let never = CancellationToken::new();
    let publishing = async {
        for number in 0..MESSAGES {
            let mut message = message(&broker, Inbox::Stop, "");
            message.message_id = Some(number.to_string());
            broker.publish_until(&message, Until::Confirmed, &never).await.unwrap();
            if number % 20 == 10 {
                proxy.break_after(0);
            }
        }
    };
    within(publishing).await;

    let mut consumer = straight.consumer(Inbox::Stop, Flow::Prefetch(50), never.clone());
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < MESSAGES {
        let delivery = within(consumer.next()).await.unwrap();
        seen.insert(delivery.properties.message_id.clone().unwrap());
        delivery.ack().await.unwrap();
    }
    assert!(proxy.connections() > 1, "nothing was cut");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_confirm_that_does_not_come_is_a_time_out_and_giving_up_is_heard() {
    let rabbit = Rabbit::new();
    let straight = rabbit.declared().await;
    let proxy = Proxy::start(rabbit.addr().await).await;
    let mut slow = rabbit.through(proxy.addr());
    slow.settings.confirm_timeout = Duration::from_secs(1);
    let broker = slow.connect();
    let message = message(&broker, Inbox::Stop, "x");
    let never = CancellationToken::new();
    within(broker.publish_until(&message, Until::Confirmed, &never)).await.unwrap();

    proxy.stall();
    let error = within(broker.publish(&message)).await.unwrap_err();
    assert!(matches!(error, PublishError::TimedOut { .. }), "{error}");
    let give_up = CancellationToken::new();
    let (abandoned, ()) =
        tokio::join!(within(broker.publish_until(&message, Until::Confirmed, &give_up)), async {
            give_up.cancel();
        });
    assert!(matches!(abandoned.unwrap_err(), PublishError::Cancelled { .. }));
    proxy.restore();
    within(broker.publish_until(&message, Until::Confirmed, &never)).await.unwrap();
    assert_eq!(take(&straight, Inbox::Stop).await.body, "x");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_lock_is_lost_with_its_connection_and_can_be_claimed_again() {
    let rabbit = Rabbit::new();
    let straight = rabbit.declared().await;
    let proxy = Proxy::start(rabbit.addr().await).await;
    let broker = rabbit.through(proxy.addr()).connect();
    within(broker.wait_connected()).await.unwrap();
    let lock = broker.try_lock(5).await.unwrap().unwrap();
    assert!(straight.try_lock(5).await.unwrap().is_none());

    proxy.cut();
    within(lock.lost().cancelled()).await;
    drop(lock);
    proxy.restore();
    disconnected(&broker).await;
    within(broker.wait_connected()).await.unwrap();
    within(async {
        while broker.try_lock(5).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_subscriber_hears_of_a_gap_and_goes_on() {
    let rabbit = Rabbit::new();
    let straight = rabbit.declared().await;
    let proxy = Proxy::start(rabbit.addr().await).await;
    let broker = rabbit.through(proxy.addr()).connect();
    let never = CancellationToken::new();
    let bindings = vec![Binding::all(Feed::Status)];
    let mut events = within(broker.subscribe(bindings, never.clone())).await.unwrap();
    proxy.cut();
    let gap = within(events.next()).await.unwrap().unwrap_err();
    assert!(matches!(gap, SubscriptionError::Gap { .. }), "{gap}");
    proxy.restore();
    let sink = BrokerSink::new(Arc::new(straight), never);
    let event = super::events::status("a");
    let publishing = async {
        loop {
            within(sink.publish(&event, None)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let received = tokio::select! {
        received = within(events.next()) => received,
        () = publishing => None,
    };
    assert_eq!(received.unwrap().unwrap().id, event.id);
    rabbit.clean_up().await;
}

#[tokio::test]
async fn wrong_credentials_and_a_wrong_virtual_host_are_reported_without_the_password() {
    let rabbit = Rabbit::new();
    let (_, place) = rabbit.settings.url.split_once('@').unwrap();
    let (host, _) = place.split_once('/').unwrap();
    let good = rabbit.settings.url.split_once('@').unwrap().0;
    for url in [format!("amqp://nobody:s3cret@{host}/"), format!("{good}@{host}/no-such-vhost")] {
        let mut settings = rabbit.settings.clone();
        settings.url = url;
        let error = within(Broker::check(&settings)).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, BrokerError::Refused { .. }), "{text}");
        assert!(text.contains("AMQP_URL") && text.contains(host), "{text}");
        assert!(!text.contains("s3cret") && !text.contains(":longshore@"), "{text}");
    }
    within(Broker::check(&rabbit.settings)).await.unwrap();
}

#[tokio::test]
async fn checking_a_broker_that_is_not_there_fails_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let rabbit = Rabbit::new().through(addr);
    let error = within(Broker::check(&rabbit.settings)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
}

#[tokio::test]
async fn an_attempt_that_gets_no_answer_leaves_no_socket_behind() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rabbit = Rabbit::new().through(silent.local_addr().unwrap());
    let broker = rabbit.connect();
    let (mut socket, _) = within(silent.accept()).await.unwrap();
    let mut header = [0; 8];
    within(socket.read_exact(&mut header)).await.unwrap();
    assert_eq!(&header[..4], b"AMQP");
    within(broker.close()).await;
    let mut rest = Vec::new();
    // Ends only when the other side has closed the socket.
    within(socket.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_last_handle_is_the_end_of_the_connection() {
    let rabbit = Rabbit::new();
    let proxy = Proxy::start(rabbit.addr().await).await;
    let broker = rabbit.through(proxy.addr()).connect();
    within(broker.wait_connected()).await.unwrap();
    let mut connected = broker.connected();
    drop(broker);
    // The supervisor is gone: nobody is left to say that there is a connection.
    within(async { while *connected.borrow_and_update() && connected.changed().await.is_ok() {} })
        .await;
    assert!(!*connected.borrow());
}
