//! What a journal must do on any store.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};
use longshore::storage::{
    Bucket, EndRecord, JobRecord, Journal, ObjectStore, OwnedSegment, OwnerRecord, Pass, Place,
    RecordState, Retention, Seen, StoredMessage, Tombstone,
};

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
        claimed_at: Timestamp::now(),
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
        claimed_at: Timestamp::now(),
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
    record.finished_at = Some(Timestamp::now());
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
    let at = |second| Timestamp::from_second(second).unwrap();
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

/// What nobody needs any more goes when it is old, and nothing else. Leaves nothing of `namespace` behind.
pub async fn old_records_go(store: Arc<dyn ObjectStore>, namespace: &str) {
    let journal = Journal::new(Arc::clone(&store), namespace.to_owned());
    let (now, id) = (Timestamp::now(), |name: &str| name.parse().unwrap());
    let finished = |name: &str| {
        let record = sample_record(name, 1);
        JobRecord { state: RecordState::Finished, finished_at: Some(now), ..record }
    };
    let event = sample_event("ended");
    for record in [sample_record("active", 1), finished("ended"), finished("untold")] {
        journal.create(&record).await.unwrap().unwrap();
        if record.id != id("ended") {
            journal.enter(1, &record.entry()).await.unwrap();
        }
    }
    journal.keep_end(&finished("ended"), &event).await.unwrap();
    journal.keep_rejection(&event).await.unwrap();
    for name in ["stopped", "stopped-again"] {
        let (reason, is_spent) = (None, false);
        let stop = Tombstone { id: id(name), run_id: None, reason, at: now, is_spent };
        journal.note_stop(&stop).await.unwrap();
        assert!(journal.read_or_mark_stopped(&id(name), now).await.unwrap().is_none());
    }
    let later = now.checked_add((24 * 31).hours()).unwrap();
    let month = Retention { days: 30, max_keys: 1_000 };
    let soon = journal.sweep(Pass::Daily, month, now).await.unwrap().unwrap();
    assert_eq!((soon.removed, soon.failed), (0, 0));
    // Each stop marks the job anew, so the first mark is not taken for the last word.
    let before = journal.look(&id("stopped-again")).await.unwrap();
    journal.read_or_mark_stopped(&id("stopped-again"), later).await.unwrap();
    assert_ne!(journal.look(&id("stopped-again")).await.unwrap(), before);

    let told = journal.sweep(Pass::DryRun, month, later).await.unwrap().unwrap();
    assert_eq!(told.removed, 7);
    let swept = journal.sweep(Pass::Daily, month, later).await.unwrap().unwrap();
    // The record, the marks, the stops, the end and the refusal.
    assert_eq!((swept.removed, swept.failed), (7, 0));
    assert_eq!(journal.sweep(Pass::Daily, month, later).await.unwrap(), None, "once a day");
    for (name, stays) in [("active", true), ("untold", true), ("ended", false), ("stopped", false)]
    {
        let is_there = journal.look(&id(name)).await.unwrap() != Seen::Nothing;
        assert_eq!(is_there, stays, "{name}");
    }
    assert!(journal.stops(&id("stopped")).await.unwrap().is_empty());
    for key in store.list(Bucket::State, &format!("{namespace}/")).await.unwrap() {
        store.delete(Bucket::State, &key).await.unwrap();
    }
}
