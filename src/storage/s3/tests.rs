use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::settings::{Loader, Reader, Sources};

fn settings(endpoint: &str) -> StoreSettings {
    let required = [
        ("MINIO_ENDPOINT", endpoint),
        ("MINIO_ACCESS_KEY", "key"),
        ("MINIO_SECRET_KEY", "hunter2"),
    ];
    StoreSettings {
        code_bucket: "my-code".to_owned(),
        inputs_bucket: "my-inputs".to_owned(),
        results_bucket: "my-results".to_owned(),
        logs_bucket: "my-logs".to_owned(),
        state_bucket: "my-state".to_owned(),
        max_attempts: 1,
        timeout: Duration::from_secs(30),
        ..Loader::new(Sources::of(&required)).read(Reader::store).unwrap()
    }
}

/// A store at a server that says `start` to every request and then `again` without an end.
async fn store_that_says(
    start: &'static str,
    again: &'static [u8],
) -> (S3Store, impl Future<Output = ()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let serve = async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _length = client.read(&mut request).await.unwrap();
            client.write_all(start.as_bytes()).await.unwrap();
            while !again.is_empty() && client.write_all(again).await.is_ok() {}
        }
    };
    (S3Store::new(&settings(&addr.to_string())).unwrap(), serve)
}

/// compat.md 9: `MINIO_LOGS_BUCKET` was read and never used.
#[test]
fn compat_9_each_kind_of_object_has_the_bucket_that_is_set_for_it() {
    let store = S3Store::new(&settings("store:8333")).unwrap();
    let names = Bucket::ALL.map(|bucket| store.bucket_name(bucket));
    assert_eq!(names, ["my-code", "my-inputs", "my-results", "my-logs", "my-state"]);
}

#[test]
fn a_setting_that_cannot_be_used_is_named() {
    let good = settings("store:8333");
    let cases = [
        (StoreSettings { endpoint: "ftp://x".to_owned(), ..good.clone() }, "MINIO_ENDPOINT"),
        (StoreSettings { access_key: String::new(), ..good.clone() }, "MINIO_ACCESS_KEY"),
        (StoreSettings { secret_key: "hunter2\n".to_owned(), ..good.clone() }, "MINIO_SECRET_KEY"),
        (StoreSettings { region: "ä".to_owned(), ..good.clone() }, "MINIO_REGION"),
        (StoreSettings { logs_bucket: "../x".to_owned(), ..good }, "MINIO_LOGS_BUCKET"),
    ];
    for (settings, expected) in cases {
        let error = S3Store::new(&settings).err().unwrap();
        assert!(
            matches!(error, StoreError::Settings { variable, .. } if variable == expected),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

/// compat.md 14: an archive was read without a limit.
#[tokio::test]
async fn compat_14_an_object_of_unknown_length_is_counted_as_it_comes() {
    let start = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (store, serve) = store_that_says(start, b"4\r\nmore\r\n").await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("code.zip");
    let outcome = tokio::select! {
        outcome = store.download(Bucket::Code, "k", &to, 10_000) => outcome,
        () = serve => unreachable!("the server goes on"),
    };
    assert!(matches!(outcome, Err(StoreError::TooLarge { max_bytes: 10_000, .. })), "{outcome:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn compat_14_an_object_declared_too_large_is_refused_before_its_first_byte() {
    let start = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 1000001\r\n\r\n";
    let (store, serve) = store_that_says(start, b"").await;
    let outcome = tokio::select! {
        outcome = store.get(Bucket::Code, "k", 1_000_000) => outcome,
        () = serve => unreachable!("the server goes on"),
    };
    assert!(matches!(outcome, Err(StoreError::TooLarge { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_server_that_is_no_store_is_not_asked_again() {
    let start = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>";
    let (store, serve) = store_that_says(start, b"").await;
    let asked = async {
        [
            store.check().await.unwrap_err(),
            store.list(Bucket::Code, "").await.unwrap_err(),
            store.get(Bucket::Code, "k", 10).await.unwrap_err(),
        ]
    };
    let failures = tokio::select! {
        failures = asked => failures,
        () = serve => unreachable!("the server goes on"),
    };
    for error in failures {
        assert!(matches!(error, StoreError::Rejected { .. }), "{error}");
    }
}
