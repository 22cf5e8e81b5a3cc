//! A whole run with TLS everywhere.

use serde_json::Value;

use super::output_of;
use crate::cli::{longshore, text};
use crate::robustness::until;
use longshore_testing::certificates::{Authority, Folder, Use};
use longshore_testing::own_broker::OwnBroker;
use longshore_testing::own_store::OwnStore;
use longshore_testing::scene::Scene;

#[tokio::test]
async fn a_backtest_runs_with_tls_to_broker_and_store_also_after_all_certificates_are_exchanged() {
    let scene = Scene::new().await;
    let first = Authority::new("first");
    let mq = Folder::of_server(scene.folder(), "mq", &first, Use::Server);
    let client = Folder::new(scene.folder(), "client");
    client.put_authority("ca", &first);
    client.put("client", &first, Use::Client);
    let of_store = Authority::new("of the store");
    let s3 = Folder::of_server(scene.folder(), "s3", &of_store, Use::Server);
    let broker = OwnBroker::create_with_tls(&scene.docker, &scene.namespace, &mq).await;
    let store = OwnStore::create_with_tls(&scene.docker, &scene.namespace, &s3).await;
    tokio::join!(broker.start(), store.start());
    let settings = [
        ("AMQP_URL", broker.tls_url("localhost")),
        ("AMQP_NAMESPACE", scene.namespace.clone()),
        ("AMQP_CA_FILE", client.setting("ca.pem")),
        ("AMQP_CLIENT_CERT_FILE", client.setting("client.pem")),
        ("AMQP_CLIENT_KEY_FILE", client.setting("client.key")),
        ("MINIO_ENDPOINT", store.settings().endpoint),
        ("MINIO_CA_FILE", s3.setting("ca.pem")),
    ];
    let of_worker: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let worker = scene.worker_with(&of_worker).await;
    backtest(&scene, &settings, &store, "before").await;

    broker.stop().await;
    let second = Authority::new("second");
    for folder in [&mq, &client] {
        folder.put_authority("ca", &second);
    }
    mq.put("server", &second, Use::Server);
    client.put("client", &second, Use::Client);
    broker.start().await;
    until("both connections are back with the new certificate", async || {
        worker.log().matches("\"connected to RabbitMQ\"").count() == 4
    })
    .await;
    backtest(&scene, &settings, &store, "after").await;
    assert!(!worker.log().contains("PRIVATE"), "a key is in the log: {}", worker.log());
    scene.finish([worker]).await;
}

/// Runs a backtest with the command line, which uploads its code, waits for its end and reads its log.
async fn backtest(scene: &Scene, settings: &[(&str, String)], store: &OwnStore, name: &str) {
    let code = scene.folder().join("code");
    std::fs::create_dir_all(&code).unwrap();
    let source = "def main(id, config):\n    print('over TLS', id)\n    return {'id': id}\n";
    std::fs::write(code.join("backtest.py"), source).unwrap();
    let (id, of_store) = (scene.id(name), store.settings());
    let on_tls = || {
        let mut command = longshore();
        command
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .env("MINIO_ACCESS_KEY", &of_store.access_key)
            .env("MINIO_SECRET_KEY", &of_store.secret_key)
            .env("MINIO_CODE_BUCKET", &of_store.code_bucket)
            .env("MINIO_LOGS_BUCKET", &of_store.logs_bucket)
            .env("MINIO_STATE_BUCKET", &of_store.state_bucket);
        command
    };
    let mut start = on_tls();
    start.args(["start", "--id", &id, "--file", "backtest.py", "--wait", "--output", "json"]);
    start.arg("--upload").arg(&code);
    let output = output_of(start).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["result"]["id"], id.as_str());
    let mut logs = on_tls();
    logs.args(["logs", &id]);
    let output = output_of(logs).await;
    let told = text(&output.stdout);
    assert!(told.contains(&format!("over TLS {id}")), "{told}{}", text(&output.stderr));
}
