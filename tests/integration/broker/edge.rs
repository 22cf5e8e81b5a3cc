//! What strangers' bytes do to a connection that reads them: nothing.

use futures_util::FutureExt as _;
use longshore::broker::{Binding, Feed, Flow, Inbox, MessageBroker as _, SubscriptionError};
use tokio_util::sync::CancellationToken;

use super::{publish, take};
use longshore_testing::hostile::amqp::{self, Right};
use longshore_testing::rabbit::{Rabbit, within};
use longshore_testing::raw_publisher::RawPublisher;

#[tokio::test]
async fn a_follower_misses_no_event_because_of_another_readers_bytes() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let feed = vec![Binding::all(Feed::Status)];
    let mut events = within(broker.subscribe(feed, CancellationToken::new())).await.unwrap();
    let exchange = broker.topology().status_exchange();
    let mut publisher = RawPublisher::new();
    let cases = amqp::all("running.bot.x");
    let mut taken = 0;
    for case in cases.iter().filter(|case| case.right != Right::NotTaken) {
        let key = case.key.unwrap_or(b"running.bot.caf\xe9");
        publisher.publish(&exchange, key, &case.properties, b"no event").await.unwrap();
        taken += 1;
    }
    publisher.publish(&exchange, b"the.last.one", b"\0\0", b"no event").await.unwrap();
    for number in 0..=taken {
        let heard = within(events.next()).await.unwrap();
        let Err(SubscriptionError::Undecodable { routing_key, .. }) = heard else {
            panic!("after {number}: {heard:?}")
        };
        assert_eq!(routing_key == "the.last.one", number == taken, "{routing_key}");
    }
    assert!(events.next().now_or_never().is_none(), "it came twice");
    rabbit.clean_up().await;
}

/// The broker counts deliveries in a header of its own, so that a header which filled a frame when it was
/// published is too large for one when it comes again.
#[tokio::test]
async fn headers_that_outgrow_a_frame_when_they_come_again_cost_their_own_message_alone() {
    const FULL: u32 = 128 * 1024 - 8 - 18 - 7;
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let text = vec![b'x'; FULL.try_into().unwrap()];
    let entry = [&b"\x01xS"[..], &FULL.to_be_bytes(), &text].concat();
    let size = u32::try_from(entry.len()).unwrap().to_be_bytes();
    let properties = [&b"\x20\0"[..], &size, &entry].concat();
    let exchange = broker.topology().jobs_exchange();
    let mut publisher = RawPublisher::new();
    publisher.publish(&exchange, b"stop", &properties, b"full").await.unwrap();

    let mut consumer = broker.consumer(Inbox::Stop, Flow::OnDemand, CancellationToken::new());
    let first = within(consumer.next()).await.unwrap();
    assert_eq!((&first.body[..], first.properties.unreadable.len()), (&b"full"[..], 0));
    first.requeue().await.unwrap();
    let again = within(consumer.next()).await.unwrap();
    assert_eq!(&again.body[..], b"full");
    let fault = &again.properties.unreadable[0];
    assert_eq!(fault.property, "headers");
    assert!(fault.problem.contains("larger than a frame"), "{}", fault.problem);
    within(broker.dead_letter(&again, "too large")).await.unwrap();

    publish(&broker, Inbox::Stop, "the next one").await;
    let next = within(consumer.next()).await.unwrap();
    assert_eq!(&next.body[..], b"the next one");
    next.ack().await.unwrap();
    within(consumer.close()).await;
    assert!(broker.is_connected());
    publish(&broker, Inbox::StartTerminating, "another inbox").await;
    take(&broker, Inbox::StartTerminating).await.ack().await.unwrap();
    rabbit.clean_up().await;
}
