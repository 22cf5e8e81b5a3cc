//! A connection that breaks in the middle of what the broker says.

use longshore::broker::{Flow, Inbox, Reception};
use tokio_util::sync::CancellationToken;

use super::{publish, take};
use longshore_testing::frames::{Break, FrameProxy, Part, Which};
use longshore_testing::rabbit::{Rabbit, within};

const GET_OK: (u16, u16) = (60, 71);
const DELIVER: (u16, u16) = (60, 60);

/// A namespace that is reached through a proxy, and a quick heartbeat.
async fn through(rabbit: &Rabbit) -> (FrameProxy, Rabbit) {
    let proxy = FrameProxy::start(rabbit.addr().await).await;
    let mut detour = Rabbit::new();
    detour.settings = rabbit.settings.clone();
    detour.settings.url = format!("{}?heartbeat=1", proxy.url(&rabbit.settings.url));
    (proxy, detour)
}

#[tokio::test]
async fn a_consumer_whose_connection_breaks_within_a_message_gets_it_afterwards() {
    let rabbit = Rabbit::new();
    let straight = rabbit.declared().await;
    let (proxy, detour) = through(&rabbit).await;
    let broker = detour.connect();
    within(broker.wait_connected()).await.unwrap();
    let inbox = Inbox::StartTerminating;
    let mut consumer = broker.consumer(inbox, Flow::OnDemand, CancellationToken::new());
    for method in [GET_OK, DELIVER] {
        for part in [Part::Method, Part::Header, Part::Body] {
            for how in [Break::Cut, Break::Stall] {
                let point = (Which::Work, method, part);
                proxy.arm(point, how);
                if method == GET_OK {
                    publish(&straight, inbox, "x").await;
                }
                let (delivery, ()) = tokio::join!(within(consumer.next()), async {
                    if method == DELIVER {
                        // Once the consumer has subscribed, for want of a message.
                        within(async {
                            while broker.receptions() != [(inbox, Reception::Consuming)] {
                                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                            }
                        })
                        .await;
                        publish(&straight, inbox, "x").await;
                    }
                });
                let delivery = delivery.unwrap();
                assert!(proxy.has_fired(), "{point:?} {how:?} has not come");
                assert_eq!(delivery.body, "x", "{point:?} {how:?}");
                delivery.ack().await.unwrap();
                assert_eq!(broker.receptions(), [(inbox, Reception::Paused)]);
            }
        }
    }
    drop(consumer);
    assert!(broker.receptions().is_empty());
    broker.close().await;
    publish(&straight, inbox, "no ghost takes it").await;
    assert_eq!(take(&straight, inbox).await.body, "no ghost takes it");
    rabbit.clean_up().await;
}
