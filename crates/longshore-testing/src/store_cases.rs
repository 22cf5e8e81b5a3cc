//! What every object store promises: one set of cases, run against each implementation.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;

use longshore::storage::{
    Bucket, Condition, Download, ETag, EndRecord, JobRecord, Journal, ObjectStore, OwnedSegment,
    OwnerRecord, Place, RecordState, StoreError, StoredMessage, Tombstone,
};

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
        store.list_page(Bucket::Results, &format!("{prefix}/list/a/"), after, max).await.unwrap()
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

/// The end of an earlier run: the first stored end counts until the run's own record says
/// otherwise.
async fn ends_are_kept(journal: &Journal, store: &dyn ObjectStore, record: &JobRecord) {
    let (id, run) = (&record.id, &record.run_id);
    let [first, second, own] = [1, 2, 3].map(|number| {
        let mut event = record.result.clone().unwrap();
        event.id = format!("end {number}");
        event
    });
    let body_sha256 = record.message.body_sha256.clone();
    let end = |event| EndRecord { event, body_sha256: body_sha256.clone() };
    assert_eq!(journal.ended(id, run).await.unwrap(), None);
    journal.keep_first_end(record, &first).await.unwrap();
    journal.keep_first_end(record, &second).await.unwrap();
    assert_eq!(journal.ended(id, run).await.unwrap(), Some(end(first)));
    journal.keep_end(record, &own).await.unwrap();
    journal.keep_first_end(record, &second).await.unwrap();
    assert_eq!(journal.ended(id, run).await.unwrap(), Some(end(own)));
    assert_eq!(journal.ended(id, &"another".parse().unwrap()).await.unwrap(), None);
    store.delete(Bucket::State, &format!("ns/ended/{id}/{run}.json")).await.unwrap();
}

/// A record as a worker would write it.
pub fn sample_record(id: &str, segment: u32) -> JobRecord {
    JobRecord {
        id: id.parse().unwrap(),
        run_id: "run-1".parse().unwrap(),
        message_id: Some("m-1".to_owned()),
        claim: uuid::Uuid::new_v4(),
        segment,
        epoch: 1,
        place: None,
        state: RecordState::Active,
        attempt: 1,
        first_try: 1,
        claimed_at: jiff::Timestamp::now(),
        finished_at: None,
        message: StoredMessage {
            body: "{\"id\":\"ü\"}".to_owned(),
            correlation_id: None,
            body_sha256: Some("00".to_owned()),
            reply_to: Some("replies".to_owned()),
            published_at: None,
            traceparent: None,
        },
        result: None,
    }
}

fn sample_event<T: serde::de::DeserializeOwned>(id: &str) -> T {
    let event = serde_json::json!({
        "specversion": "1.0", "id": "e", "source": "/test", "subject": id,
        "time": "2026-01-02T03:04:05Z", "datacontenttype": "application/json",
        "type": "longshore.job.status.v1",
        "data": { "id": id, "state": "accepted", "attempt": 1, "worker": "w" },
    });
    serde_json::from_value(event).unwrap()
}

/// If two take a segment from the same last owner, only one gets it, and the epoch only grows.
async fn owners_follow_one_another(journal: &Journal, store: &dyn ObjectStore, segment: u32) {
    let mut owner = OwnerRecord {
        segment,
        epoch: 1,
        worker: "w-1".to_owned(),
        place: Place { host: "h".to_owned(), engine: "e".to_owned(), temp_dir: "/t".to_owned() },
        claimed_at: jiff::Timestamp::now(),
        lease_seconds: 15,
        regained_at: None,
        released_at: None,
    };
    assert_eq!(journal.owner(segment).await.unwrap(), None);
    let first = journal.write_owner(&owner, None).await.unwrap().unwrap();
    assert_eq!(journal.write_owner(&owner, None).await.unwrap(), None);
    owner.epoch = 2;
    assert!(journal.write_owner(&owner, Some(&first)).await.unwrap().is_some());
    assert_eq!(journal.write_owner(&owner, Some(&first)).await.unwrap(), None);
    assert_eq!(journal.owner(segment).await.unwrap().unwrap().0, owner);
    let version = journal.owner(segment).await.unwrap().map(|(_, version)| version);
    let is_listed = |one: &OwnedSegment| one.segment == segment && one.version == version;
    assert!(journal.owned_segments().await.unwrap().iter().any(is_listed));
    store.delete(Bucket::State, &format!("ns/owners/{segment}.json")).await.unwrap();
}

/// The journal's cases; leaves nothing of `id` behind.
pub async fn journal_keeps_its_promises(store: Arc<dyn ObjectStore>, segment: u32, id: &str) {
    let journal = Journal::new(Arc::clone(&store), "ns".to_owned());
    let mut record = sample_record(id, segment);
    let id = record.id.clone();
    assert!(journal.read(&id).await.unwrap().is_none());
    let first = journal.create(&record).await.unwrap().unwrap();
    let mut other = record.clone();
    other.segment += 1;
    assert_eq!(journal.create(&other).await.unwrap(), None);
    assert_eq!(journal.read(&id).await.unwrap(), Some((record.clone(), first.clone())));

    record.state = RecordState::Finished;
    record.finished_at = Some(jiff::Timestamp::now());
    record.result = Some(sample_event(record.id.as_str()));
    let second = journal.replace(&record, &first).await.unwrap().unwrap();
    assert_eq!(journal.replace(&other, &first).await.unwrap(), None);
    assert_eq!(journal.read(&id).await.unwrap(), Some((record.clone(), second)));
    ends_are_kept(&journal, &*store, &record).await;

    for _ in 0..2 {
        journal.enter(segment, &record.entry()).await.unwrap();
    }
    assert!(journal.segment_index(segment).await.unwrap().entries.contains(&record.entry()));
    let both = [journal.is_entered(&record).await, journal.is_entered(&other).await];
    assert_eq!(both.map(Result::unwrap), [true, false]);
    for _ in 0..2 {
        journal.leave(segment, &record.entry()).await.unwrap();
    }
    assert!(!journal.is_entered(&record).await.unwrap());
    owners_follow_one_another(&journal, &*store, segment).await;

    assert!(journal.stops(&id).await.unwrap().is_empty());
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let stop = |run: Option<&str>, second| Tombstone {
        id: id.clone(),
        run_id: run.map(|run| run.parse().unwrap()),
        reason: Some("why".to_owned()),
        at: at(second),
        is_spent: false,
    };
    // Each run has a word of its own, and of two words about the same the later one counts.
    for (run, second) in [(None, 10), (Some("run-2"), 11), (None, 9), (Some("run-3"), 12)] {
        journal.note_stop(&stop(run, second)).await.unwrap();
    }
    let noted = [stop(None, 10), stop(Some("run-2"), 11), stop(Some("run-3"), 12)];
    assert_eq!(journal.stops(&id).await.unwrap(), noted);
    journal.spend_stops(&id, &"run-2".parse().unwrap()).await.unwrap();
    let spent = journal.stops(&id).await.unwrap().into_iter().map(|stop| stop.is_spent);
    assert_eq!(spent.collect::<Vec<_>>(), [true, true, false]);
    store.delete(Bucket::State, &format!("ns/jobs/{id}.json")).await.unwrap();
}
