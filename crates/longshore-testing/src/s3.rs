//! The real object store that the environment names.

use std::net::SocketAddr;
use std::time::Duration;

use longshore::settings::{Loader, Reader, Sources, StoreSettings};
use s3::creds::Credentials;

use crate::variable;

/// The address and credentials of the local stack's store.
const LOCAL: [(&str, &str); 3] = [
    ("MINIO_ENDPOINT", "127.0.0.1:8333"),
    ("MINIO_ACCESS_KEY", "longshore"),
    ("MINIO_SECRET_KEY", "longshore-secret"),
];

/// Settings of the store, with buckets for tests and little patience.
///
/// All tests use the same buckets, because a bucket is costly in SeaweedFS. Tests use different
/// keys and clean up.
pub fn settings() -> StoreSettings {
    let variables = LOCAL.map(|(name, local)| (name, variable(name).unwrap_or(local.to_owned())));
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    StoreSettings {
        code_bucket: "longshore-tests-code".to_owned(),
        inputs_bucket: "longshore-tests-inputs".to_owned(),
        results_bucket: "longshore-tests-results".to_owned(),
        logs_bucket: "longshore-tests-logs".to_owned(),
        state_bucket: "longshore-tests-state".to_owned(),
        timeout: Duration::from_secs(30),
        ..Loader::new(Sources::of(&variables)).read(Reader::store).unwrap()
    }
}

/// The socket of the store, for a proxy in front of it.
pub async fn addr() -> SocketAddr {
    let endpoint = settings().endpoint;
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    tokio::net::lookup_host(host).await.unwrap().next().unwrap()
}

/// A bucket by its name, for operations that no worker does.
pub fn bucket(settings: &StoreSettings, name: &str) -> Box<s3::Bucket> {
    let endpoint = format!("http://{}", settings.endpoint);
    let region = s3::Region::Custom { region: settings.region.clone(), endpoint };
    let (access, secret) = (&settings.access_key, &settings.secret_key);
    let keys = Credentials::new(Some(access), Some(secret), None, None, None).unwrap();
    s3::Bucket::new(name, region, keys).unwrap().with_path_style()
}

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::now_v7().simple())
}
