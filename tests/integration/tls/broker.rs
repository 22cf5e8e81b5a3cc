//! What is said where the connection to the broker does not come about.

use longshore::broker::{Broker, BrokerError};
use longshore::settings::BrokerSettings;
use longshore::tls::TlsFiles;

use super::{doctor, files, output_of, says};
use crate::cli::{longshore, text};
use longshore_testing::certificates::{Authority, Folder, Use};
use longshore_testing::own_broker::OwnBroker;
use longshore_testing::rabbit::Rabbit;
use longshore_testing::scene::Scene;

async fn check(url: String, tls: TlsFiles) -> Result<(), BrokerError> {
    Broker::check(&BrokerSettings { url, tls, ..Rabbit::new().settings }).await
}

#[tokio::test]
async fn every_tls_problem_with_the_broker_is_one_sentence_with_a_fix() {
    let scene = Scene::new().await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::of_server(scene.folder(), "good", &ours, Use::Server);
    let expired = Folder::of_server(scene.folder(), "expired", &ours, Use::ExpiredServer);
    folder.put_authority("theirs", &theirs);
    folder.put("client", &ours, Use::Client);
    folder.put("stranger", &theirs, Use::Client);
    let broker = OwnBroker::create_with_tls(&scene.docker, &scene.namespace, &folder).await;
    let old = OwnBroker::create_with_tls(&scene.docker, &scene.namespace, &expired).await;
    tokio::join!(broker.start(), old.start());
    let good = || files(&folder, "ca", Some("client"));
    let refused = async |url: String, tls: TlsFiles| check(url, tls).await.unwrap_err();

    check(broker.tls_url("localhost"), good()).await.unwrap();
    // The certificate alone, where the broker takes the user from it.
    let url = broker.tls_url("localhost");
    let (_, place) = url.split_once('@').unwrap();
    check(format!("amqps://{place}?auth_mechanism=external"), good()).await.unwrap();

    let error =
        refused(broker.tls_url("localhost"), files(&folder, "theirs", Some("client"))).await;
    says(
        &error,
        &["no TLS connection to RabbitMQ at amqps://", "authority that is not trusted here"],
    );
    assert!(error.remedy().unwrap().contains("set AMQP_CA_FILE"), "{:?}", error.remedy());

    let error = refused(broker.tls_url("localhost"), files(&folder, "ca", None)).await;
    says(&error, &["no TLS connection", "wants a client certificate"]);
    assert!(error.remedy().unwrap().contains("set AMQP_CLIENT_CERT_FILE"), "{:?}", error.remedy());

    let error = refused(broker.tls_url("localhost"), files(&folder, "ca", Some("stranger"))).await;
    says(&error, &["no TLS connection", "the client certificate"]);
    assert!(error.remedy().unwrap().contains("does the server trust"), "{:?}", error.remedy());

    let error = refused(broker.tls_url("127.0.0.1"), good()).await;
    says(&error, &["its certificate is for localhost, not for 127.0.0.1"]);
    assert!(error.remedy().unwrap().contains("AMQP_URL"), "{:?}", error.remedy());

    // Of several hosts, each is checked under its own name.
    let urls = [broker.tls_url("127.0.0.1"), broker.tls_url("localhost")].join(",");
    let settings = BrokerSettings { url: urls, tls: good(), ..Rabbit::new().settings };
    let each = Broker::check_each(&settings).await.unwrap();
    says(each[0].as_ref().unwrap_err(), &["for localhost, not for 127.0.0.1"]);
    assert!(each[1].is_ok(), "{each:?}");
    Broker::check(&settings).await.unwrap();

    let error = refused(old.tls_url("localhost"), good()).await;
    says(&error, &["its certificate expired on 2021-01-01T00:00:00Z"]);

    let error = refused(broker.url().replace("amqp://", "amqps://"), good()).await;
    says(&error, &["what answers there does not speak TLS"]);

    let plain = broker.tls_url("127.0.0.1").replace("amqps://", "amqp://");
    let error = refused(plain, TlsFiles::default()).await;
    says(&error, &["cannot reach RabbitMQ at amqp://", "AMQP_URL must begin with amqps://"]);

    let url = broker.tls_url("localhost");
    let (ca, system) = (folder.setting("ca.pem"), folder.setting("theirs.pem"));
    // Whoever this machine trusts, the test's own authority is not among them.
    let found = doctor("broker", &[("AMQP_URL", &url), ("SSL_CERT_FILE", &system)]).await;
    assert_eq!(found["grade"], "fail");
    assert!(found["mend"].as_str().unwrap().contains("set AMQP_CA_FILE"), "{found:#}");
    let (cert, key) = (folder.setting("client.pem"), folder.setting("client.key"));
    let mut settings = vec![
        ("AMQP_URL", url.as_str()),
        ("AMQP_CA_FILE", ca.as_str()),
        ("AMQP_CLIENT_CERT_FILE", cert.as_str()),
        ("AMQP_CLIENT_KEY_FILE", key.as_str()),
    ];
    let found = doctor("broker", &settings).await;
    assert_eq!(found["grade"], "ok", "{found:#}");
    assert!(found["said"].as_str().unwrap().ends_with("over TLS"), "{found:#}");

    // A key of another certificate is found before anything is connected.
    let key = folder.setting("stranger.key");
    settings[3].1 = &key;
    let mut command = longshore();
    command.envs(settings).args(["stop", "a"]);
    let output = output_of(command).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let expected =
        format!("longshore: AMQP_CLIENT_KEY_FILE is {key:?}, which does not belong to the");
    assert!(told.starts_with(&expected), "{told}");
    assert!(!told.contains("PRIVATE KEY"), "{told}");
    scene.finish([]).await;
}
