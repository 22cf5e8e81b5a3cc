//! Removes what a scene leaves on the servers.

use futures_util::StreamExt as _;
use longshore::storage::{Bucket, ObjectStore as _, S3Store};

use super::servers::{self, Management};
use super::{engine, s3};

/// Removes everything of a namespace, on a separate runtime, for callers that cannot wait.
pub fn sweep_now(namespace: &str) {
    let namespace = namespace.to_owned();
    let shown = namespace.clone();
    let swept = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let store = S3Store::new(&s3::settings()).unwrap();
            if let Err(error) = sweep(&servers::engine().await, &store, &namespace).await {
                eprintln!("{error}");
            }
        });
    });
    if swept.join().is_err() {
        eprintln!("{shown}: some of it could not be removed");
    }
}

/// Removes everything of a namespace: containers, queues and exchanges, objects.
pub async fn sweep(
    docker: &bollard::Docker,
    store: &S3Store,
    namespace: &str,
) -> Result<(), String> {
    engine::sweep(docker, namespace).await;
    remove_objects(store, namespace).await;
    Management::new().sweep(namespace).await
}

/// Removes the objects of a namespace's jobs from every bucket.
async fn remove_objects(store: &S3Store, namespace: &str) {
    let mut found = Vec::new();
    for (bucket, prefix) in [
        (Bucket::Code, format!("{namespace}/")),
        (Bucket::Inputs, format!("{namespace}/")),
        (Bucket::Results, format!("{namespace}-")),
        (Bucket::Logs, format!("logs/{namespace}-")),
        (Bucket::State, format!("{namespace}/")),
    ] {
        match store.list(bucket, &prefix).await {
            Ok(keys) => found.extend(keys.into_iter().map(|key| (bucket, key))),
            Err(error) => eprintln!("{error}"),
        }
    }
    let removed =
        futures_util::stream::iter(found).for_each_concurrent(4, |(bucket, key)| async move {
            if let Err(error) = store.delete(bucket, &key).await {
                eprintln!("{error}");
            }
        });
    removed.await;
}
