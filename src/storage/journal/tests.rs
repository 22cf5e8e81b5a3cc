use super::*;
use crate::storage::DirectoryStore;

/// A record as a worker would write it.
fn sample_record(id: &str, segment: u32) -> JobRecord {
    JobRecord {
        id: id.parse().unwrap(),
        run_id: "run-1".parse().unwrap(),
        message_id: Some("m-1".to_owned()),
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

async fn journal(root: &std::path::Path) -> (Journal, Arc<dyn ObjectStore>) {
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(root));
    store.ensure_buckets().await.unwrap();
    (Journal::new(Arc::clone(&store), "ns".to_owned()), store)
}

#[tokio::test]
async fn one_of_many_claims_wins() {
    let root = tempfile::tempdir().unwrap();
    let (journal, _) = journal(root.path()).await;
    let claims = (0..8).map(|segment| {
        let (journal, mut record) = (journal.clone(), sample_record("job-1", segment));
        record.segment = segment;
        async move { journal.create(&record).await.unwrap() }
    });
    let won = futures_util::future::join_all(claims).await;
    assert_eq!(won.iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_field_of_a_later_version_is_read_over() {
    let root = tempfile::tempdir().unwrap();
    let (journal, store) = journal(root.path()).await;
    let record = sample_record("job-1", 1);
    let mut json = serde_json::to_value(&record).unwrap();
    json["colour"] = "blue".into();
    json["message"]["priority"] = 9.into();
    let body = serde_json::to_vec(&json).unwrap();
    store
        .put(Bucket::State, "ns/jobs/job-1.json", body.into(), JSON, Condition::None)
        .await
        .unwrap();
    let (found, _) = journal.read(&record.id).await.unwrap().unwrap();
    assert_eq!(found, record);
}

#[tokio::test]
async fn a_broken_record_is_an_error_that_names_it() {
    let root = tempfile::tempdir().unwrap();
    let (journal, store) = journal(root.path()).await;
    for body in ["", "{", "[]", "{\"id\":\"job-1\"}"] {
        store
            .put(Bucket::State, "ns/jobs/job-1.json", body.into(), JSON, Condition::None)
            .await
            .unwrap();
        let error = journal.read(&"job-1".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{body}: {error}");
        assert!(error.to_string().contains("ns/jobs/job-1.json"), "{error}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn what_is_about_the_segment_itself_is_no_job() {
    let root = tempfile::tempdir().unwrap();
    let (journal, store) = journal(root.path()).await;
    for key in ["ns/segments/4/owner.json", "ns/segments/4/deeper/job-2", "ns/segments/41/job-3"] {
        store.put(Bucket::State, key, "{}".into(), JSON, Condition::None).await.unwrap();
    }
    journal.add_to_segment(4, &"job-1".parse().unwrap()).await.unwrap();
    let found = journal.segment_index(4).await.unwrap();
    assert_eq!(found.jobs, ["job-1".parse::<JobId>().unwrap()]);
    assert!(found.unconfirmed.is_empty());
}
