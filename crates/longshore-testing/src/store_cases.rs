//! What every object store promises: one set of cases, run against each implementation.

use bytes::Bytes;
use futures_util::StreamExt;

use longshore::storage::{Bucket, Condition, Download, ETag, ObjectStore, StoreError};

const TEXT: &str = "text/plain";

/// Keys that a careless client would change on the way.
const UNUSUAL_KEYS: [&str; 12] = [
    "with space.zip",
    " spaces around ",
    "plus+plus",
    "per%cent",
    "encoded%20space",
    "%2e%2e/up",
    "what?x=1&y=2",
    "hash#tag",
    "ünïcödé/日本語/🚀.txt",
    "quote'and\"double",
    "semi;colon,comma=equals@at",
    "tilde~star*(paren)[bracket]{brace}",
];

/// Runs every case. `prefix` separates the keys of this run, and has no keys afterwards.
pub async fn store_keeps_its_promises(store: &dyn ObjectStore, prefix: &str) {
    what_is_written_is_read(store, prefix).await;
    unusual_keys_come_back_as_they_went(store, prefix).await;
    a_key_that_is_no_object_never_leaves(store).await;
    deleting_a_folders_name_deletes_nothing(store, prefix).await;
    conditions_hold(store, prefix).await;
    one_of_many_writers_wins(store, prefix).await;
    limits_are_kept_and_no_file_stays(store, prefix).await;
    what_is_known_is_not_downloaded_again(store, prefix).await;
    files_travel_whole(store, prefix).await;
    listing_is_ordered_and_by_prefix(store, prefix).await;
    let left = store.list(Bucket::Results, &format!("{prefix}/")).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

async fn put(store: &dyn ObjectStore, key: &str, body: &'static str) -> ETag {
    let body = Bytes::from_static(body.as_bytes());
    store.put(Bucket::Results, key, body, TEXT, Condition::None).await.unwrap()
}

async fn get(store: &dyn ObjectStore, key: &str) -> Bytes {
    store.get(Bucket::Results, key, 1024).await.unwrap().bytes
}

async fn delete(store: &dyn ObjectStore, key: &str) {
    store.delete(Bucket::Results, key).await.unwrap();
}

async fn what_is_written_is_read(store: &dyn ObjectStore, prefix: &str) {
    let key = format!("{prefix}/plain");
    let missing = store.get(Bucket::Results, &key, 10).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { .. }), "{missing}");
    let name = store.bucket_name(Bucket::Results);
    assert!(missing.to_string().contains(name) && missing.to_string().contains(&key));

    let etag = put(store, &key, "one").await;
    let object = store.get(Bucket::Results, &key, 3).await.unwrap();
    assert_eq!((&object.bytes[..], object.etag), (&b"one"[..], etag.clone()));
    assert_ne!(put(store, &key, "two").await, etag);
    assert_eq!(&get(store, &key).await[..], b"two");

    put(store, &key, "").await;
    assert!(get(store, &key).await.is_empty());
    delete(store, &key).await;
    delete(store, &key).await;
    assert!(store.get(Bucket::Results, &key, 10).await.is_err());

    let seen = put(store, &key, "seen").await;
    let now = put(store, &key, "now").await;
    for (version, is_gone) in [(&seen, false), (&now, true)] {
        let gone = store.delete_unchanged(Bucket::Results, &key, version).await.unwrap();
        assert_eq!(gone, is_gone);
    }
    store.delete_unchanged(Bucket::Results, &key, &now).await.unwrap();
}

async fn unusual_keys_come_back_as_they_went(store: &dyn ObjectStore, prefix: &str) {
    let mut expected = Vec::new();
    for name in UNUSUAL_KEYS {
        let key = format!("{prefix}/odd/{name}");
        put(store, &key, name).await;
        expected.push(key);
    }
    for (name, key) in UNUSUAL_KEYS.iter().zip(&expected) {
        assert_eq!(get(store, key).await, name.as_bytes(), "{key}");
        let listed = store.list(Bucket::Results, key).await.unwrap();
        assert_eq!(&listed, std::slice::from_ref(key));
    }
    let mut sorted = expected.clone();
    sorted.sort();
    let listed = store.list(Bucket::Results, &format!("{prefix}/odd/")).await.unwrap();
    assert_eq!(listed, sorted);
    for key in &expected {
        delete(store, key).await;
    }

    let leading = format!("/{prefix}/leading");
    put(store, &leading, "slash").await;
    assert_eq!(&get(store, &leading).await[..], b"slash");
    delete(store, &leading).await;
    assert!(store.get(Bucket::Results, &leading, 10).await.is_err());
}

async fn a_key_that_is_no_object_never_leaves(store: &dyn ObjectStore) {
    for key in ["", "/", "folder/", "..", "../x", "a/../../x", "a/./b", "line\nfeed"] {
        let refused = store.delete(Bucket::Results, key).await;
        assert!(matches!(refused, Err(StoreError::InvalidKey { .. })), "{key:?}: {refused:?}");
    }
}

async fn deleting_a_folders_name_deletes_nothing(store: &dyn ObjectStore, prefix: &str) {
    let key = format!("{prefix}/folder/inside/file");
    put(store, &key, "kept").await;
    for folder in ["folder", "folder/inside"] {
        delete(store, &format!("{prefix}/{folder}")).await;
    }
    assert_eq!(&get(store, &key).await[..], b"kept");
    let read = store.get(Bucket::Results, &format!("{prefix}/folder"), 10).await;
    assert!(matches!(read, Err(StoreError::NotFound { .. })), "{read:?}");
    delete(store, &key).await;
}

async fn conditions_hold(store: &dyn ObjectStore, prefix: &str) {
    let key = &format!("{prefix}/condition");
    let write = async |body: &'static str, condition| {
        let body = Bytes::from_static(body.as_bytes());
        store.put(Bucket::Results, key, body, TEXT, condition).await
    };
    let failed = |outcome: Result<ETag, StoreError>| {
        assert!(matches!(outcome, Err(StoreError::ConditionFailed { .. })), "{outcome:?}");
    };
    let first = write("1", Condition::Absent).await.unwrap();
    failed(write("2", Condition::Absent).await);
    let second = write("2", Condition::Unchanged(first.clone())).await.unwrap();
    failed(write("3", Condition::Unchanged(first)).await);
    assert_eq!(&get(store, key).await[..], b"2");
    delete(store, key).await;
    failed(write("3", Condition::Unchanged(second)).await);
    write("4", Condition::Absent).await.unwrap();
    delete(store, key).await;
}

async fn one_of_many_writers_wins(store: &dyn ObjectStore, prefix: &str) {
    let key = &format!("{prefix}/race");
    for _ in 0..5 {
        let writers = (0..8).map(|n| async move {
            let body = Bytes::from(format!("writer {n}"));
            store.put(Bucket::Results, key, body, TEXT, Condition::Absent).await.map(|_| n)
        });
        let outcomes = futures_util::future::join_all(writers).await;
        let winners: Vec<i32> = outcomes.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(get(store, key).await, format!("writer {}", winners[0]));
        delete(store, key).await;
    }
}

async fn limits_are_kept_and_no_file_stays(store: &dyn ObjectStore, prefix: &str) {
    let key = format!("{prefix}/limit");
    put(store, &key, "12345").await;
    let read = store.get(Bucket::Results, &key, 4).await;
    assert!(matches!(read, Err(StoreError::TooLarge { max_bytes: 4, .. })), "{read:?}");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("code.zip");
    let refused = store.download(Bucket::Results, &key, &to, 4).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    let missing = store.download(Bucket::Results, &format!("{key}-not"), &to, 4).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    assert_eq!(store.download(Bucket::Results, &key, &to, 5).await.unwrap(), 5);
    assert_eq!(std::fs::read(&to).unwrap(), b"12345");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let nowhere = folder.path().join("no/such/folder/code.zip");
    let local = store.download(Bucket::Results, &key, &nowhere, 5).await;
    assert!(matches!(local, Err(StoreError::LocalFile { .. })), "{local:?}");
    delete(store, &key).await;
}

async fn what_is_known_is_not_downloaded_again(store: &dyn ObjectStore, prefix: &str) {
    let key = format!("{prefix}/known");
    let first = put(store, &key, "one").await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("code.zip");
    let download = async |max_bytes, known| {
        store.download_if_changed(Bucket::Results, &key, &to, max_bytes, known).await
    };
    let done = Download::Done { bytes: 3, etag: first.clone() };
    assert_eq!(download(3, None).await.unwrap(), done);
    std::fs::remove_file(&to).unwrap();
    assert_eq!(download(3, Some(&first)).await.unwrap(), Download::Unchanged);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

    let second = put(store, &key, "other").await;
    let refused = download(4, Some(&first)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    let done = Download::Done { bytes: 5, etag: second.clone() };
    assert_eq!(download(5, Some(&first)).await.unwrap(), done);
    assert_eq!(std::fs::read(&to).unwrap(), b"other");
    delete(store, &key).await;
    let missing = download(5, Some(&second)).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

async fn files_travel_whole(store: &dyn ObjectStore, prefix: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    // None, one plain request, and more than two parts of a multipart upload.
    for size in [0, 100_000, 20 * 1024 * 1024 + 7] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
        std::fs::write(&from, &bytes).unwrap();
        let key = format!("{prefix}/file {size}");
        store.upload(Bucket::Results, &key, &from, TEXT).await.unwrap();
        let max_bytes = u64::from(size);
        let copied = store.download(Bucket::Results, &key, &to, max_bytes).await.unwrap();
        assert_eq!(copied, max_bytes);
        assert!(std::fs::read(&to).unwrap() == bytes, "{size} bytes came back changed");
        delete(store, &key).await;
    }
    let missing = store.upload(Bucket::Results, "x", &folder.path().join("no"), TEXT).await;
    assert!(matches!(missing, Err(StoreError::LocalFile { .. })), "{missing:?}");
}

async fn listing_is_ordered_and_by_prefix(store: &dyn ObjectStore, prefix: &str) {
    // More than one page of S3, which are 1,000 keys.
    let keys: Vec<String> = (0..1_050).map(|n| format!("{prefix}/list/a/{n:04}")).collect();
    let other = format!("{prefix}/list/ab");
    futures_util::stream::iter(keys.iter().chain([&other]))
        .for_each_concurrent(8, |key| async move {
            put(store, key, "x").await;
        })
        .await;
    let list = async |part: &str| {
        store.list(Bucket::Results, &format!("{prefix}/list/{part}")).await.unwrap()
    };
    assert_eq!(list("a/").await, keys);
    assert_eq!(list("a").await.len(), keys.len() + 1);
    assert_eq!(list("a/000").await, keys[..10]);
    assert!(list("b").await.is_empty());
    let page = async |after: &str, max: usize| {
        let prefix = format!("{prefix}/list/a/");
        let page = store.list_page(Bucket::Results, &prefix, after, max).await;
        page.unwrap().into_iter().map(|object| object.key).collect::<Vec<_>>()
    };
    assert_eq!(page("", 10).await, keys[..10]);
    assert_eq!(page(&keys[9], 10).await, keys[10..20]);
    assert_eq!(page(&keys[1_044], 10).await, keys[1_045..]);
    assert_eq!(page(&keys[9], 1_040).await, keys[10..]);
    assert!(page(&keys[1_049], 10).await.is_empty());
    let dated = store.list_dated(Bucket::Results, &format!("{prefix}/list/a/"), 1_020).await;
    let dated = dated.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let is_recent = |at: Option<jiff::Timestamp>| (now - at.unwrap().as_second()).abs() < 600;
    assert!(dated.iter().all(|object| is_recent(object.written_at)), "{dated:?}");
    let dated: Vec<_> = dated.into_iter().map(|object| object.key).collect();
    assert_eq!(dated, keys[..1_020]);
    futures_util::stream::iter(keys.iter().chain([&other]))
        .for_each_concurrent(8, |key| delete(store, key))
        .await;
    assert!(list("").await.is_empty());
}
