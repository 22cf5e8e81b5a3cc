//! What is said where the connection to the store does not come about.

use std::time::Duration;

use bytes::Bytes;
use longshore::settings::StoreSettings;
use longshore::storage::{Bucket, Condition, ObjectStore as _, S3Store, StoreError};
use longshore::tls::TlsFiles;

use super::{doctor, files, says, setting};
use longshore_testing::certificates::{Authority, Folder, Use};
use longshore_testing::own_store::OwnStore;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

async fn refused(settings: &StoreSettings) -> StoreError {
    S3Store::new(settings).unwrap().check().await.unwrap_err()
}

#[tokio::test]
async fn every_tls_problem_with_the_store_is_one_sentence_with_a_fix() {
    let scene = Scene::new().await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::of_server(scene.folder(), "good", &ours, Use::Server);
    let expired = Folder::of_server(scene.folder(), "expired", &ours, Use::ExpiredServer);
    folder.put_authority("theirs", &theirs);
    let store = OwnStore::create_with_tls(&scene.docker, &scene.namespace, &folder).await;
    let old = OwnStore::create_with_tls(&scene.docker, &scene.namespace, &expired).await;
    tokio::join!(store.start(), old.boot());
    let good = store.settings();
    S3Store::new(&good).unwrap().check().await.unwrap();

    let error =
        refused(&StoreSettings { tls: files(&folder, "theirs", None), ..good.clone() }).await;
    says(&error, &["no TLS connection to the store at https://", "that is not trusted here"]);
    assert!(error.remedy().unwrap().contains("set MINIO_CA_FILE"), "{:?}", error.remedy());
    assert!(error.is_transient(), "a job must wait for a new certificate, and not be refused");

    let endpoint = good.endpoint.replace("localhost", "127.0.0.1");
    let error = refused(&StoreSettings { endpoint, ..good.clone() }).await;
    says(&error, &["its certificate is for localhost, not for 127.0.0.1"]);

    let error = until_answered(&old.settings()).await;
    says(&error, &["its certificate expired on 2021-01-01T00:00:00Z"]);

    let endpoint = format!("https://{}", s3::addr().await);
    let error = refused(&StoreSettings { endpoint, ..good.clone() }).await;
    says(&error, &["what answers there does not speak TLS"]);

    let endpoint = good.endpoint.replace("https://", "http://");
    let plain = StoreSettings { endpoint, tls: TlsFiles::default(), ..good.clone() };
    let error = refused(&plain).await;
    says(&error, &["it wants TLS there, and was spoken to without"]);
    assert!(error.remedy().unwrap().contains("https://"), "{:?}", error.remedy());

    let (ca, system) = (folder.setting("ca.pem"), folder.setting("theirs.pem"));
    let mut asked = vec![("MINIO_ENDPOINT", good.endpoint.as_str()), ("SSL_CERT_FILE", &system)];
    asked.extend([("MINIO_STATE_BUCKET", good.state_bucket.as_str())]);
    let found = doctor("store", &asked).await;
    assert_eq!(found["grade"], "fail");
    assert!(found["mend"].as_str().unwrap().contains("set MINIO_CA_FILE"), "{found:#}");
    asked.push(("MINIO_CA_FILE", &ca));
    let found = doctor("store", &asked).await;
    assert_eq!(found["grade"], "ok", "{found:#}");
    scene.finish([]).await;
}

/// A store with an expired certificate cannot be asked whether it is up: until it is, there is nobody.
async fn until_answered(settings: &StoreSettings) -> StoreError {
    loop {
        match refused(settings).await {
            StoreError::Unavailable { .. } => tokio::time::sleep(Duration::from_millis(200)).await,
            error => return error,
        }
    }
}

/// Objects of every size, also in parts, and lists go over TLS as they do without; and an authority
/// that is exchanged is taken up by a store that is in use.
#[tokio::test]
async fn a_store_over_tls_is_a_store_and_takes_up_another_authority() {
    let scene = Scene::new().await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::of_server(scene.folder(), "server", &ours, Use::Server);
    let server = OwnStore::create_with_tls(&scene.docker, &scene.namespace, &folder).await;
    server.start().await;
    let store = S3Store::new(&server.settings()).unwrap();
    let large = vec![b'x'; 20 << 20];
    let file = scene.folder().join("large");
    std::fs::write(&file, &large).unwrap();
    store.upload(Bucket::Code, "large", &file, "text/plain").await.unwrap();
    let object = store.get(Bucket::Code, "large", u64::MAX).await.unwrap();
    assert!(object.bytes == large, "{} bytes", object.bytes.len());
    let body = Bytes::from_static(b"small");
    let put = store.put(Bucket::Code, "small", body, "text/plain", Condition::Absent).await;
    put.unwrap();
    assert_eq!(store.list(Bucket::Code, "").await.unwrap(), ["large", "small"]);

    folder.put_authority("ca", &theirs);
    let error = store.check().await.unwrap_err();
    says(&error, &["that is not trusted here"]);
    folder.put_authority("ca", &ours);
    store.check().await.unwrap();
    // One that cannot be read changes nothing, also where it is gone.
    folder.write("ca.pem", "half of a fi");
    store.check().await.unwrap();
    std::fs::remove_file(folder.file("ca.pem")).unwrap();
    store.check().await.unwrap();
    let unreadable = S3Store::new(&server.settings()).map(drop).unwrap_err();
    says(&unreadable, &["MINIO_CA_FILE is ", &setting(folder.file("ca.pem")), "cannot be read"]);
    scene.finish([]).await;
}
