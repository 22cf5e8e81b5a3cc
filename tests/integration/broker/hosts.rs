//! A broker with several hosts, of which some are away.

use std::net::SocketAddr;
use std::time::Duration;

use longshore::broker::{Broker, BrokerError};
use tokio::net::TcpListener;
use tokio::time::timeout;

use longshore_testing::proxy::Proxy;
use longshore_testing::rabbit::{Rabbit, within};

/// Much less than one attempt at a host may take, and much more than a good host needs.
const SOON: Duration = Duration::from_secs(10);

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The same broker with these hosts.
fn with_hosts(rabbit: &Rabbit, hosts: &[SocketAddr]) -> Rabbit {
    let urls = hosts.iter().map(|addr| rabbit.through(*addr).settings.url);
    let mut several = rabbit.through(hosts[0]);
    several.settings.url = urls.collect::<Vec<_>>().join(",");
    several
}

#[tokio::test]
async fn hosts_that_hang_or_are_away_delay_no_other() {
    let rabbit = Rabbit::new();
    let good = rabbit.addr().await;
    // The kernel accepts their connections, and nobody answers.
    let silent = [
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    ];
    let [one, two] = [0, 1].map(|number: usize| silent[number].local_addr().unwrap());
    let several = with_hosts(&rabbit, &[one, nobody().await, two, good]);
    // The order is another each time: nearly always a bad host comes first.
    for _ in 0..4 {
        timeout(SOON, Broker::check(&several.settings)).await.unwrap().unwrap();
        let broker = several.connect();
        timeout(SOON, broker.wait_connected()).await.unwrap().unwrap();
        within(broker.close()).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_is_made_again_to_another_host() {
    let rabbit = Rabbit::new();
    let target = rabbit.addr().await;
    let proxies = [Proxy::start(target).await, Proxy::start(target).await];
    let several = with_hosts(&rabbit, &[proxies[0].addr(), proxies[1].addr()]);
    let broker = several.connect();
    for _ in 0..4 {
        within(broker.wait_connected()).await.unwrap();
        let before = [0, 1].map(|number: usize| proxies[number].connections());
        let mut connected = broker.connected();
        // Both, for a moment: which of them it is, only the broker knows.
        proxies.iter().for_each(Proxy::cut);
        within(connected.wait_for(|up| !*up)).await.unwrap();
        proxies.iter().for_each(Proxy::restore);
        within(broker.wait_connected()).await.unwrap();
        let after = [0, 1].map(|number: usize| proxies[number].connections());
        assert_ne!(before, after);
    }
    let tried = [0, 1].map(|number: usize| proxies[number].connections());
    assert!(tried.iter().all(|connections| *connections > 1), "{tried:?}");
    within(broker.close()).await;
}

#[tokio::test]
async fn where_no_host_answers_each_is_named_without_its_password() {
    let rabbit = Rabbit::new();
    let [one, two] = [nobody().await, nobody().await];
    let several = with_hosts(&rabbit, &[one, two]);
    let error = within(Broker::check(&several.settings)).await.unwrap_err();
    assert!(matches!(error, BrokerError::NoHost { .. }) && error.is_unreachable(), "{error}");
    let text = error.to_string();
    assert!(text.contains(&one.to_string()) && text.contains(&two.to_string()), "{text}");
    assert!(!text.contains(":longshore@"), "{text}");
}
