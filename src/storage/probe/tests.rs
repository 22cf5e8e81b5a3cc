use std::path::Path;

use async_trait::async_trait;

use super::*;
use crate::storage::{DirectoryStore, Download, Object};

/// A store that takes some conditional writes as if they had no condition.
struct Careless {
    store: DirectoryStore,
    ignores: Broken,
    /// It keeps its promise to one writer after the other.
    in_races_alone: bool,
}

#[async_trait]
impl ObjectStore for Careless {
    async fn download_if_changed(
        &self,
        _: Bucket,
        _: &str,
        _: &Path,
        _: u64,
        _: Option<&ETag>,
    ) -> Result<Download, StoreError> {
        unreachable!()
    }

    async fn get(&self, bucket: Bucket, key: &str, max: u64) -> Result<Object, StoreError> {
        self.store.get(bucket, key, max).await
    }

    async fn put(
        &self,
        bucket: Bucket,
        key: &str,
        body: Bytes,
        content_type: &str,
        condition: Condition,
    ) -> Result<ETag, StoreError> {
        let is_ignored = match condition {
            Condition::None => false,
            Condition::Absent => self.ignores.if_absent,
            Condition::Unchanged(_) => self.ignores.if_unchanged,
        };
        let is_ignored = is_ignored && (!self.in_races_alone || key.ends_with(".raced"));
        let condition = if is_ignored { Condition::None } else { condition };
        self.store.put(bucket, key, body, content_type, condition).await
    }

    async fn upload(&self, _: Bucket, _: &str, _: &Path, _: &str) -> Result<(), StoreError> {
        unreachable!()
    }

    async fn list(&self, bucket: Bucket, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.store.list(bucket, prefix).await
    }

    async fn delete(&self, bucket: Bucket, key: &str) -> Result<(), StoreError> {
        self.store.delete(bucket, key).await
    }

    async fn delete_unchanged(
        &self,
        bucket: Bucket,
        key: &str,
        seen: &ETag,
    ) -> Result<bool, StoreError> {
        if self.ignores.if_unchanged {
            return self.store.delete(bucket, key).await.map(|()| true);
        }
        self.store.delete_unchanged(bucket, key, seen).await
    }

    async fn ensure_buckets(&self) -> Result<(), StoreError> {
        self.store.ensure_buckets().await
    }

    async fn check(&self) -> Result<(), StoreError> {
        unreachable!()
    }

    fn bucket_name(&self, _: Bucket) -> &str {
        unreachable!()
    }

    fn origin(&self, _: Bucket) -> String {
        unreachable!()
    }
}

#[tokio::test]
async fn what_a_store_ignores_is_found_out_and_nothing_of_that_is_kept() {
    for (if_absent, if_unchanged) in [(false, false), (true, false), (false, true), (true, true)] {
        for in_races_alone in [false, true] {
            let root = tempfile::tempdir().unwrap();
            let ignores = Broken { if_absent, if_unchanged };
            let store =
                Careless { store: DirectoryStore::new(root.path()), ignores, in_races_alone };
            store.ensure_buckets().await.unwrap();
            assert_eq!(conditional_writes(&store, "ns").await.unwrap(), ignores);
            assert!(store.list(Bucket::State, "").await.unwrap().is_empty(), "{ignores:?}");
        }
    }
}

#[test]
fn what_is_ignored_is_named_with_what_is_lost_by_it_and_what_to_do() {
    assert_eq!(Broken::default().sentence(), None);
    let (none_match, match_) = ("If-None-Match", "If-Match");
    for (if_absent, if_unchanged, named, not_named) in [
        (true, false, &[none_match][..], &[match_][..]),
        (false, true, &[match_], &[none_match]),
        (true, true, &[none_match, match_], &[]),
    ] {
        let said = Broken { if_absent, if_unchanged }.sentence().unwrap();
        assert!(named.iter().all(|header| said.contains(header)), "{said}");
        assert!(!not_named.iter().any(|header| said.contains(header)), "{said}");
        for part in ["two workers could take the same job", "repeat lines", "use a store with"] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn only_a_condition_that_failed_is_a_write_that_was_not_taken() {
    assert!(was_taken(Ok(ETag("x".to_owned()))).unwrap());
    let (bucket, key) = ("b".to_owned(), "k".to_owned());
    let failed = StoreError::ConditionFailed { bucket: bucket.clone(), key: key.clone() };
    assert!(!was_taken(Err(failed)).unwrap());
    let missing = was_taken(Err(StoreError::NotFound { bucket, key }));
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_store_that_deletes_whatever_the_version_is_seen() {
    for if_unchanged in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let store = DirectoryStore::new(root.path());
        store.ensure_buckets().await.unwrap();
        let ignores = Broken { if_absent: false, if_unchanged };
        let store = Careless { store, ignores, in_races_alone: false };
        assert_eq!(conditional_deletes(&store, "ns").await.unwrap(), !if_unchanged);
        assert!(store.list(Bucket::State, "").await.unwrap().is_empty());
    }
}
