use super::*;
use crate::settings::MAX_MESSAGE_KB;
use crate::storage::DirectoryStore;

async fn journal(root: &std::path::Path) -> (Journal, Arc<dyn ObjectStore>) {
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(root));
    store.ensure_buckets().await.unwrap();
    (Journal::new(Arc::clone(&store), "ns".to_owned()), store)
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
async fn the_largest_message_can_be_kept_and_read_again() {
    let root = tempfile::tempdir().unwrap();
    let (journal, _) = journal(root.path()).await;
    let mut record: JobRecord = serde_json::from_value(serde_json::json!({
        "id": "job-1", "run_id": "r1", "segment": 0, "state": "active", "attempt": 1,
        "claimed_at": "2026-11-22T10:00:00Z", "message": { "body": "" },
    }))
    .unwrap();
    record.message.body = "\"".repeat(usize::try_from(MAX_MESSAGE_KB * 1024).unwrap());
    journal.create(&record).await.unwrap().unwrap();
    let (read, version) = journal.read(&record.id).await.unwrap().unwrap();
    assert_eq!(read.message.body.len(), record.message.body.len());
    // What could not be read again is not written.
    record.message.body = "\"".repeat(usize::try_from(MAX_RECORD_BYTES).unwrap());
    let refused = journal.replace(&record, &version).await.unwrap_err();
    assert!(matches!(refused, JournalError::TooLarge { .. }), "{refused}");
}

#[tokio::test]
async fn what_is_about_the_segment_itself_is_no_job() {
    let root = tempfile::tempdir().unwrap();
    let (journal, store) = journal(root.path()).await;
    for key in
        ["ns/segments/4/owner.json", "ns/segments/4/claims/job-2", "ns/segments/4/claims/job-4/x"]
    {
        store.put(Bucket::State, key, "{}".into(), JSON, Condition::None).await.unwrap();
    }
    let entry = |claim| IndexEntry { job: "unconfirmed".parse().unwrap(), claim };
    let entries = [uuid::Uuid::from_u128(1), uuid::Uuid::from_u128(2)].map(entry);
    for entry in &entries {
        journal.enter(4, entry).await.unwrap();
        journal.enter(41, entry).await.unwrap();
    }
    let found = journal.segment_index(4).await.unwrap();
    assert_eq!(found.entries, entries);
    assert!(found.unconfirmed.is_empty());
}
