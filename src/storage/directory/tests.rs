use super::*;

async fn store() -> (tempfile::TempDir, DirectoryStore) {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(root.path());
    store.ensure_buckets().await.unwrap();
    (root, store)
}

#[tokio::test]
async fn an_object_is_the_file_of_that_name() {
    let (root, store) = store().await;
    let (body, condition) = (Bytes::from_static(b"zip"), Condition::None);
    store.put(Bucket::Code, "team/a b.zip", body, "application/zip", condition).await.unwrap();
    let file = root.path().join("custom-bots/team/a b.zip");
    assert_eq!(std::fs::read(file).unwrap(), b"zip");
}

#[tokio::test]
async fn no_key_reaches_outside_the_root() {
    let (root, store) = store().await;
    let outside = root.path().join("secret");
    std::fs::write(&outside, "x").unwrap();
    for key in ["../secret", "a/../../secret", "/../secret", ".."] {
        let read = store.get(Bucket::Code, key, 10).await;
        assert!(matches!(read, Err(StoreError::InvalidKey { .. })), "{key:?}");
        let deleted = store.delete(Bucket::Code, key).await;
        assert!(matches!(deleted, Err(StoreError::InvalidKey { .. })), "{key:?}");
    }
    let absolute = outside.to_str().unwrap();
    assert!(matches!(
        store.get(Bucket::Code, absolute, 10).await,
        Err(StoreError::NotFound { .. })
    ));
    assert!(outside.exists());
}

#[tokio::test]
async fn a_deleted_object_leaves_no_empty_folder() {
    let (root, store) = store().await;
    for key in ["a/b/one", "a/two"] {
        let body = Bytes::from_static(b"x");
        store.put(Bucket::Logs, key, body, "text/plain", Condition::None).await.unwrap();
    }
    store.delete(Bucket::Logs, "a/b/one").await.unwrap();
    assert!(!root.path().join("bot-logs/a/b").exists());
    store.delete(Bucket::Logs, "a/two").await.unwrap();
    assert!(!root.path().join("bot-logs/a").exists());
    assert!(root.path().join("bot-logs").exists());
}

#[tokio::test]
async fn a_store_without_buckets_says_which_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let store = DirectoryStore::new(root.path());
    let error = store.get(Bucket::Code, "a", 1).await.unwrap_err();
    assert!(matches!(error, StoreError::NoBucket { bucket } if bucket == "custom-bots"));
    assert!(matches!(store.check().await, Err(StoreError::NoBucket { .. })));
    store.ensure_buckets().await.unwrap();
    store.check().await.unwrap();
}

/// Two stores on one directory stand for two processes: they share nothing but the files.
#[tokio::test]
async fn two_processes_never_both_replace_one_version() {
    let (root, store) = store().await;
    let etag = store
        .put(Bucket::State, "n", Bytes::from_static(b"0"), "text/plain", Condition::None)
        .await
        .unwrap();
    let writers = (1..=8).map(|n| {
        let (store, etag) = (DirectoryStore::new(root.path()), etag.clone());
        async move {
            let body = Bytes::from(n.to_string());
            store.put(Bucket::State, "n", body, "text/plain", Condition::Unchanged(etag)).await
        }
    });
    let outcomes = futures_util::future::join_all(writers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}
