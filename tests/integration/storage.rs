//! The object store, for real: the shared cases, and what happens when the network breaks.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use longshore::settings::StoreSettings;
use longshore::storage::{
    Bucket, Condition, DirectoryStore, ETag, Journal, ObjectStore, S3Store, StoreError,
};

use longshore_testing::proxy::Proxy;
use longshore_testing::s3::{self, addr, settings, unique};
use longshore_testing::{journal_cases, store_cases};

const TEXT: &str = "text/plain";

async fn store() -> S3Store {
    let store = S3Store::new(&settings()).unwrap();
    store.ensure_buckets().await.unwrap();
    store
}

/// A store behind a proxy, with little patience.
async fn behind_a_proxy(max_attempts: usize, timeout: Duration) -> (Proxy, S3Store) {
    store().await;
    let proxy = Proxy::start(addr().await).await;
    let settings =
        StoreSettings { endpoint: proxy.addr().to_string(), max_attempts, timeout, ..settings() };
    (proxy, S3Store::new(&settings).unwrap())
}

async fn put(store: &S3Store, key: &str, body: impl Into<Bytes>) -> ETag {
    store.put(Bucket::Code, key, body.into(), TEXT, Condition::None).await.unwrap()
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// A journal in a directory, and the store below it.
async fn journal_in(root: &Path) -> (Journal, Arc<dyn ObjectStore>) {
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(root));
    store.ensure_buckets().await.unwrap();
    (Journal::new(Arc::clone(&store), "ns".to_owned()), store)
}

#[tokio::test]
async fn the_directory_keeps_the_contract_of_a_store() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(root.path());
    store.ensure_buckets().await.unwrap();
    store_cases::store_keeps_its_promises(&store, "run-1").await;
}

#[tokio::test]
async fn the_journal_keeps_its_promises_in_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let (_, store) = journal_in(root.path()).await;
    journal_cases::journal_keeps_its_promises(store, 3, "job-1").await;
}

#[tokio::test]
async fn old_records_go_from_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let (_, store) = journal_in(root.path()).await;
    journal_cases::old_records_go(store, "ns").await;
}

#[tokio::test]
async fn old_records_go_from_s3() {
    journal_cases::old_records_go(Arc::new(store().await), &unique("old")).await;
}

#[tokio::test]
async fn one_of_many_claims_wins() {
    let root = tempfile::tempdir().unwrap();
    let (journal, _) = journal_in(root.path()).await;
    let claims = (0..8).map(|segment| {
        let (journal, mut record) =
            (journal.clone(), journal_cases::sample_record("job-1", segment));
        record.segment = segment;
        async move { journal.create(&record).await.unwrap() }
    });
    let won = futures_util::future::join_all(claims).await;
    assert_eq!(won.iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_field_of_a_later_version_is_read_over() {
    let root = tempfile::tempdir().unwrap();
    let (journal, store) = journal_in(root.path()).await;
    let record = journal_cases::sample_record("job-1", 1);
    let mut json = serde_json::to_value(&record).unwrap();
    json["colour"] = "blue".into();
    json["message"]["priority"] = 9.into();
    let body = serde_json::to_vec(&json).unwrap();
    store
        .put(Bucket::State, "ns/jobs/job-1.json", body.into(), "application/json", Condition::None)
        .await
        .unwrap();
    let (found, _) = journal.read(&record.id).await.unwrap().unwrap();
    assert_eq!(found, record);
}

#[tokio::test]
async fn s3_keeps_the_contract_of_a_store() {
    store_cases::store_keeps_its_promises(&store().await, &unique("cases")).await;
}

#[tokio::test]
async fn the_journal_keeps_its_promises_in_s3() {
    let segment = u32::from(uuid::Uuid::new_v4().as_bytes()[0]) + 1_000_000;
    let store = Arc::new(store().await);
    journal_cases::journal_keeps_its_promises(store, segment, &unique("job")).await;
}

#[tokio::test]
async fn many_workers_may_create_the_buckets_at_once() {
    let name = unique("b");
    let settings = StoreSettings {
        code_bucket: format!("{name}-1"),
        results_bucket: format!("{name}-2"),
        logs_bucket: format!("{name}-3"),
        state_bucket: format!("{name}-4"),
        inputs_bucket: format!("{name}-5"),
        ..settings()
    };
    let missing = S3Store::new(&settings).unwrap();
    let error = missing.check().await.unwrap_err();
    assert!(matches!(&error, StoreError::NoBucket { bucket } if bucket.ends_with("-4")), "{error}");
    // Only reading: at a write, SeaweedFS makes the bucket.
    for error in [
        missing.get(Bucket::Code, "a", 1).await.unwrap_err(),
        missing.list(Bucket::Code, "").await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::NoBucket { .. }), "{error}");
    }

    let workers = (0..4).map(|_| async { S3Store::new(&settings).unwrap().ensure_buckets().await });
    for outcome in futures_util::future::join_all(workers).await {
        outcome.unwrap();
    }
    missing.check().await.unwrap();
    missing.ensure_buckets().await.unwrap();
    for bucket in Bucket::ALL {
        s3::bucket(&settings, missing.bucket_name(bucket)).delete().await.unwrap();
    }
}

#[tokio::test]
async fn wrong_credentials_are_not_a_missing_connection() {
    store().await;
    for (access_key, secret_key) in [
        (settings().access_key, "not-the-secret".to_owned()),
        ("nobody".to_owned(), settings().secret_key),
    ] {
        let wrong = StoreSettings { access_key, secret_key: secret_key.clone(), ..settings() };
        let wrong = S3Store::new(&wrong).unwrap();
        let failures = [
            wrong.check().await.unwrap_err(),
            wrong.ensure_buckets().await.unwrap_err(),
            wrong.get(Bucket::Code, "a", 1).await.unwrap_err(),
            wrong.put(Bucket::Code, "a", Bytes::new(), TEXT, Condition::Absent).await.unwrap_err(),
        ];
        for error in failures {
            assert!(matches!(error, StoreError::Denied { .. }), "{error}");
            assert!(error.to_string().contains("longshore-tests-"), "{error}");
            assert!(!error.to_string().contains(&secret_key), "{error}");
            assert!(!error.is_transient());
        }
    }
}

/// compat.md 8: working on without the store panicked.
#[tokio::test]
async fn compat_8_a_closed_port_is_an_error_that_says_where() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = free.local_addr().unwrap().to_string();
    drop(free);
    let settings = StoreSettings { endpoint: endpoint.clone(), max_attempts: 2, ..settings() };
    let store = S3Store::new(&settings).unwrap();
    let failures = [
        (store.check().await.unwrap_err(), 1),
        (store.get(Bucket::Code, "a", 1).await.unwrap_err(), 2),
        (store.list(Bucket::Code, "a").await.unwrap_err(), 2),
        (store.delete(Bucket::Code, "a").await.unwrap_err(), 2),
        (store.upload(Bucket::Code, "a", Path::new("Cargo.toml"), TEXT).await.unwrap_err(), 2),
    ];
    for (error, expected) in failures {
        assert!(
            matches!(error, StoreError::Unavailable { attempts, .. } if attempts == expected),
            "{error}"
        );
        assert!(error.to_string().contains(&endpoint), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn a_download_that_breaks_in_the_middle_begins_again() {
    let (proxy, store) = behind_a_proxy(3, Duration::from_secs(30)).await;
    let (key, body) = (unique("broken"), vec![7; 3_000_000]);
    put(&store, &key, body.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("code.zip");

    proxy.break_after(1_000_000);
    let size = store.download(Bucket::Code, &key, &to, 3_000_000).await.unwrap();
    assert_eq!(size, 3_000_000);
    assert!(std::fs::read(&to).unwrap() == body);
    assert_eq!(files_in(folder.path()), 1);
    store.delete(Bucket::Code, &key).await.unwrap();
}

#[tokio::test]
async fn a_download_that_never_ends_well_leaves_no_file() {
    let (proxy, store) = behind_a_proxy(1, Duration::from_secs(2)).await;
    let key = unique("lost");
    put(&store, &key, vec![7; 3_000_000]).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("code.zip");

    for stalls in [false, true] {
        if stalls {
            proxy.stall_after(1_000_000);
        } else {
            proxy.break_after(1_000_000);
        }
        let error = store.download(Bucket::Code, &key, &to, 3_000_000).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
        assert_eq!(error.to_string().contains("nothing came within 2.0s"), stalls, "{error}");
        assert_eq!(files_in(folder.path()), 0);
        proxy.restore();
    }
    store.delete(Bucket::Code, &key).await.unwrap();
}

#[tokio::test]
async fn a_stall_is_a_failure_and_passes_when_the_network_is_back() {
    let (proxy, store) = behind_a_proxy(1, Duration::from_secs(1)).await;
    let key = unique("stalled");
    put(&store, &key, "x").await;
    proxy.stall();
    let error = store.get(Bucket::Code, &key, 10).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    proxy.restore();
    assert_eq!(store.get(Bucket::Code, &key, 10).await.unwrap().bytes, "x");
    store.delete(Bucket::Code, &key).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_download_leaves_no_file() {
    let (proxy, store) = behind_a_proxy(1, Duration::from_secs(30)).await;
    let key = unique("cancelled");
    put(&store, &key, vec![7; 3_000_000]).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("code.zip");

    let download = store.download(Bucket::Code, &key, &to, 3_000_000);
    let stalled_halfway = async {
        while files_in(folder.path()) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    proxy.stall_after(1_000_000);
    tokio::select! {
        outcome = download => panic!("it ended before it was cancelled: {outcome:?}"),
        () = stalled_halfway => {}
    }
    assert_eq!(files_in(folder.path()), 0);
    proxy.restore();
    store.delete(Bucket::Code, &key).await.unwrap();
}

#[tokio::test]
async fn a_store_that_comes_back_within_the_attempts_is_not_noticed() {
    let (proxy, store) = behind_a_proxy(5, Duration::from_secs(30)).await;
    let key = unique("back");
    proxy.cut();
    let restored = async {
        while proxy.connections() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        proxy.restore();
    };
    let write = store.put(Bucket::Code, &key, "x".into(), TEXT, Condition::Absent);
    let (written, ()) = tokio::join!(write, restored);
    written.unwrap();
    store.delete(Bucket::Code, &key).await.unwrap();
}

#[tokio::test]
async fn a_conditional_write_whose_answer_was_lost_was_ours() {
    let (proxy, store) = behind_a_proxy(4, Duration::from_secs(30)).await;
    let key = unique("doubt");
    let write = |body: &'static str, condition| {
        store.put(Bucket::State, &key, body.into(), TEXT, condition)
    };
    proxy.break_after(0);
    let first = write("1", Condition::Absent).await.unwrap();
    assert_eq!(store.get(Bucket::State, &key, 10).await.unwrap().etag, first);
    proxy.break_after(0);
    let second = write("2", Condition::Unchanged(first.clone())).await.unwrap();
    assert_eq!(store.get(Bucket::State, &key, 10).await.unwrap().etag, second);

    // The answer to a write that failed is lost as well: nobody takes another's for its own.
    proxy.break_after(0);
    let error = write("3", Condition::Unchanged(first)).await.unwrap_err();
    assert!(matches!(error, StoreError::ConditionFailed { .. }), "{error}");
    assert_eq!(store.get(Bucket::State, &key, 10).await.unwrap().bytes, "2");
    store.delete(Bucket::State, &key).await.unwrap();
}

#[tokio::test]
async fn an_upload_in_parts_survives_a_broken_connection() {
    let (proxy, store) = behind_a_proxy(4, Duration::from_secs(30)).await;
    let key = unique("parts");
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    std::fs::write(&from, vec![3; 17 * 1024 * 1024]).unwrap();
    proxy.break_after(700);
    store.upload(Bucket::Results, &key, &from, TEXT).await.unwrap();
    let size = store.download(Bucket::Results, &key, &to, 32 * 1024 * 1024).await.unwrap();
    assert_eq!(size, 17 * 1024 * 1024);
    store.delete(Bucket::Results, &key).await.unwrap();
}
