//! TLS to broker and store, with certificates that are made for the test and real servers that check
//! them: what goes well, and what is said where it does not.

mod broker;
mod store;
mod whole;

use std::path::PathBuf;
use std::process::{Command, Output};

use longshore::tls::TlsFiles;
use serde_json::Value;

use crate::cli::{longshore, text};
use longshore_testing::certificates::Folder;

/// The files of a client of the broker, by their names in a folder.
fn files(folder: &Folder, ca: &str, identity: Option<&str>) -> TlsFiles {
    let named = |variable, name: String| (variable, folder.file(&name));
    TlsFiles {
        ca: Some(named("AMQP_CA_FILE", format!("{ca}.pem"))),
        identity: identity.map(|name| {
            [
                named("AMQP_CLIENT_CERT_FILE", format!("{name}.pem")),
                named("AMQP_CLIENT_KEY_FILE", format!("{name}.key")),
            ]
        }),
    }
}

/// An error must be one sentence with all of `parts`.
#[track_caller]
fn says(error: &dyn std::error::Error, parts: &[&str]) {
    let said = error.to_string();
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?}: {said}");
    assert!(!said.contains('\n') && said.len() < 400, "{said}");
}

/// Runs the program without holding up the runtime.
async fn output_of(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// What `longshore doctor` finds in one check, with these settings beside what it needs.
async fn doctor(check: &str, settings: &[(&str, &str)]) -> Value {
    let mut command = longshore();
    command
        .envs([("AMQP_URL", "amqp://127.0.0.1:1"), ("MINIO_ENDPOINT", "127.0.0.1:1")])
        .envs([("MINIO_ACCESS_KEY", "longshore"), ("MINIO_SECRET_KEY", "longshore-secret")])
        .env("TEMP_DIR", std::env::temp_dir())
        .envs(settings.iter().copied())
        .args(["doctor", "--output", "json"]);
    let output = output_of(command).await;
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    let found = findings.iter().find(|one| one["check"] == check);
    found.unwrap_or_else(|| panic!("no {check} in {findings:#?}")).clone()
}

/// A path as a setting.
fn setting(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}
