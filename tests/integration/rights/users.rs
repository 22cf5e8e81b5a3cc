//! The users that docs/security.md recommends, with exactly the rights that it gives them.

use lapin::message::Delivery;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;
use longshore_testing::servers::{Management, amqp_url};

const PASSWORD: &str = "only-for-this-test";

/// A user of the broker's, as the line of the documentation for this role says.
struct User {
    name: String,
    url: String,
}

impl User {
    async fn new(scene: &Scene, role: &str) -> Self {
        let name = format!("{}-{role}", scene.namespace);
        let rights = rights_of(role, &scene.namespace);
        let management = Management::new();
        let account = json!({ "password": PASSWORD, "tags": "" });
        management.call(Method::PUT, &format!("users/{name}"), Some(account)).await;
        let [configure, write, read] = &rights;
        let rights = json!({ "configure": configure, "write": write, "read": read });
        management.call(Method::PUT, &format!("permissions/%2f/{name}"), Some(rights)).await;
        let (_, place) =
            amqp_url().split_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        Self { url: format!("amqp://{name}:{PASSWORD}@{place}"), name }
    }

    async fn connect(&self) -> Connection {
        Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap()
    }

    async fn remove(self) {
        Management::new().call(Method::DELETE, &format!("users/{}", self.name), None).await;
    }
}

/// Configure, write and read of the documented line, with another namespace.
fn rights_of(role: &str, namespace: &str) -> [String; 3] {
    let path = format!("{}/docs/security.md", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let begins = format!("rabbitmqctl set_permissions -p / longshore-{role} ");
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&begins));
    let line = line.unwrap_or_else(|| panic!("docs/security.md has no line {begins}"));
    let parts: Vec<_> = line.split('\'').skip(1).step_by(2).collect();
    let [configure, write, read] = parts.try_into().unwrap();
    [configure, write, read].map(|part: &str| part.replace("longshore", namespace))
}

async fn confirming(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

/// Whether a message may be published there.
async fn may_publish(connection: &Connection, exchange: &str, key: &str, body: &[u8]) -> bool {
    let channel = confirming(connection).await;
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    match channel.basic_publish(exchange.into(), key.into(), options, body, properties).await {
        Ok(confirm) => confirm.await.is_ok(),
        Err(_) => false,
    }
}

async fn may_read(connection: &Connection, queue: &str) -> bool {
    let channel = connection.create_channel().await.unwrap();
    channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.is_ok()
}

async fn may_declare(connection: &Connection, name: &str) -> bool {
    let channel = connection.create_channel().await.unwrap();
    let options = QueueDeclareOptions::default();
    let queue = channel.queue_declare(name.into(), options, FieldTable::default()).await.is_ok();
    let channel = connection.create_channel().await.unwrap();
    let (kind, options) = (ExchangeKind::Topic, ExchangeDeclareOptions::default());
    let exchange = channel.exchange_declare(name.into(), kind, options, FieldTable::default());
    queue || exchange.await.is_ok()
}

/// A queue of one's own that hears an exchange, where that may be.
async fn hears(connection: &Connection, exchange: &str) -> Option<(Channel, String)> {
    let channel = connection.create_channel().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.ok()?;
    let name = queue.name().clone();
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(
        name.clone(),
        exchange.into(),
        "#".into(),
        options,
        FieldTable::default(),
    );
    bound.await.ok()?;
    Some((channel, name.to_string()))
}

async fn next(channel: &Channel, queue: &str) -> Delivery {
    for _ in 0..600 {
        let options = BasicGetOptions { no_ack: true };
        if let Some(got) = channel.basic_get(queue.into(), options).await.unwrap() {
            return got.delivery;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing came to {queue}");
}

#[tokio::test]
async fn each_user_of_the_documentation_can_do_its_work_and_nothing_else() {
    let scene = Scene::new().await;
    let ns = scene.namespace.clone();
    let worker_user = User::new(&scene, "worker").await;
    let publisher_user = User::new(&scene, "publisher").await;
    let subscriber_user = User::new(&scene, "subscriber").await;
    let worker = scene.worker_with(&[("AMQP_URL", &worker_user.url)]).await;
    let publisher = publisher_user.connect().await;
    let subscriber = subscriber_user.connect().await;
    let named = |name: &str| format!("{ns}.{name}");

    // The subscriber hears what happens, and the publisher has its answer.
    let (results, heard) = hears(&subscriber, &named("results")).await.unwrap();
    assert!(hears(&subscriber, &named("status")).await.is_some());
    let replies = publisher.create_channel().await.unwrap();
    let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
    let queue = replies.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
    let reply_to = queue.name().to_string();
    let source = "def main(id, config): return {'id': id}";
    let message = scene.job("whole", &PYTHON_BACKTEST, source).await;
    let properties = BasicProperties::default().with_reply_to(reply_to.as_str().into());
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let (jobs, body) = (named("jobs"), message.to_string());
    let key = "start.terminating".into();
    let channel = confirming(&publisher).await;
    let sent =
        channel.basic_publish(jobs.as_str().into(), key, options, body.as_bytes(), properties);
    sent.await.unwrap().await.unwrap();
    let reply: serde_json::Value =
        serde_json::from_slice(&next(&replies, &reply_to).await.data).unwrap();
    assert_eq!(reply["data"]["verdict"], "succeeded");
    assert_eq!(next(&results, &heard).await.properties.message_id().as_ref().unwrap().as_str(), {
        reply["id"].as_str().unwrap()
    });
    let stop = json!({ "id": scene.id("nobody") }).to_string();
    assert!(may_publish(&publisher, &jobs, "stop", stop.as_bytes()).await);
    scene.events.wait_state(&scene.id("nobody"), "not_running").await;

    // Whatever else there is, they are kept from.
    let (retry, inbox) = (named("retry.1s"), named("start.terminating"));
    for (who, user) in [("publisher", &publisher), ("subscriber", &subscriber)] {
        for exchange in ["workers", "returns", "dead", "status", "results", "logs", "retry.1s"] {
            let may = may_publish(user, &named(exchange), "start.terminating", b"{}").await;
            assert!(!may, "{who} may publish to {exchange}");
        }
        for queue in [&retry, &inbox] {
            assert!(!may_publish(user, "", queue, b"{}").await, "{who} may write to {queue}");
        }
        for queue in ["start.terminating", "stop", "dead", "undelivered", "segment.0", "retry.1s"] {
            assert!(!may_read(user, &named(queue)).await, "{who} may read {queue}");
        }
        assert!(!may_declare(user, &named("mine")).await, "{who} may declare");
        assert!(!may_declare(user, "mine").await, "{who} may declare");
        assert!(hears(user, &jobs).await.is_none(), "{who} hears the starts of others");
    }
    assert!(!may_publish(&subscriber, &jobs, "stop", b"{}").await);
    assert!(hears(&publisher, &named("results")).await.is_none());

    for user in [publisher_user, subscriber_user] {
        user.remove().await;
    }
    scene.finish([worker]).await;
    worker_user.remove().await;
}
