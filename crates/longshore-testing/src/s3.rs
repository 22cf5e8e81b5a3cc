//! The real object store, where the environment says.

use std::net::SocketAddr;
use std::time::Duration;

use longshore::settings::StoreSettings;
use longshore::tls::TlsFiles;
use s3::creds::Credentials;

use crate::variable;

/// Where the local stack has the store, and its credentials.
const LOCAL: [(&str, &str); 3] = [
    ("MINIO_ENDPOINT", "127.0.0.1:8333"),
    ("MINIO_ACCESS_KEY", "longshore"),
    ("MINIO_SECRET_KEY", "longshore-secret"),
];

/// Settings of the store, with buckets for tests and little patience.
///
/// The buckets are the same for all tests, for a bucket is costly in SeaweedFS: tests keep apart
/// by their keys and clean up.
pub fn settings() -> StoreSettings {
    let [endpoint, access_key, secret_key] =
        LOCAL.map(|(name, local)| variable(name).unwrap_or_else(|| local.to_owned()));
    StoreSettings {
        endpoint,
        access_key,
        secret_key,
        ssl: false,
        tls: TlsFiles::default(),
        region: "us-east-1".to_owned(),
        code_bucket: "longshore-tests-code".to_owned(),
        results_bucket: "longshore-tests-results".to_owned(),
        logs_bucket: "longshore-tests-logs".to_owned(),
        state_bucket: "longshore-tests-state".to_owned(),
        max_attempts: 5,
        timeout: Duration::from_secs(30),
    }
}

/// The socket of the store, for a proxy in front of it.
pub async fn addr() -> SocketAddr {
    let endpoint = settings().endpoint;
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
    tokio::net::lookup_host(host).await.unwrap().next().unwrap()
}

/// A bucket by its name, for what no worker ever does.
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
