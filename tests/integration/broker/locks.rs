//! The connection for locks, which goes on whatever happens to the one for work.

use std::time::Duration;

use longshore::broker::Proof;

use longshore_testing::frames::{Break, FrameProxy, Part, Which};
use longshore_testing::rabbit::{Rabbit, within};

#[tokio::test]
async fn a_lock_outlives_the_connection_for_work_and_is_seen_without_publishing() {
    let rabbit = Rabbit::new();
    let straight = rabbit.declared().await;
    let proxy = FrameProxy::start(rabbit.addr().await).await;
    let mut detour = Rabbit::new();
    detour.settings = rabbit.settings.clone();
    detour.settings.url = proxy.url(&rabbit.settings.url);
    // Later than a knock is waited for.
    detour.settings.confirm_timeout = Duration::from_secs(30);
    let broker = detour.connect();
    within(broker.wait_connected()).await.unwrap();
    let lock = within(broker.try_lock(7)).await.unwrap().unwrap();
    let other = straight.try_lock(8).await.unwrap().unwrap();
    assert_eq!(lock.prove(Duration::from_secs(5)).await, Proof::Held);
    let confirm = (Which::Work, (60, 80), Part::Method);
    for round in 0..3 {
        // The confirm of the knock is what does not come.
        proxy.arm(confirm, if round == 0 { Break::Stall } else { Break::Cut });
        for (segment, is_locked) in [(7, true), (8, true), (9, false)] {
            assert_eq!(within(broker.is_locked(segment)).await.unwrap(), is_locked, "{segment}");
        }
        proxy.cut(Which::Work);
        within(broker.wait_connected()).await.unwrap();
    }
    assert!(!lock.lost().is_cancelled());
    assert_eq!(lock.prove(Duration::from_secs(5)).await, Proof::Held);
    proxy.cut(Which::Locks);
    within(lock.lost().cancelled()).await;
    assert_eq!(lock.prove(Duration::from_secs(5)).await, Proof::Lost);
    drop(lock);
    other.release().await;
    rabbit.clean_up().await;
}
