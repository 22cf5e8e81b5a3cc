//! The checks.

use std::path::Path;

use super::finding::{Finding, PATIENCE};
use super::{apart, queues};
use crate::broker::{Broker, BrokerError};
use crate::job::Runtime;
use crate::runner::docker::{DockerOrchestrator, Progress};
use crate::runner::orchestrator::{ContainerOrchestrator as _, EngineError};
use crate::runner::temp_dir::TempDirError;
use crate::settings::{
    BrokerSettings, Loader, Reader, RunnerSettings, Settings, SettingsErrors, StoreSettings,
    exposures, mask_url,
};
use crate::storage::{ObjectStore as _, S3Store, StoreError, probe};

/// Below which name in the state bucket conditional writes are tried out.
const PROBES: &str = "doctor";

/// Every check, one after the other. One that fails stops no other; one whose settings are wrong
/// is left out, for the settings' own lines say so.
pub(super) async fn all(loader: &Loader) -> Vec<Finding> {
    let mut findings = settings(loader);
    if let Ok(runner) = loader.read(Reader::runner) {
        findings.push(temp_dir(&runner.temp_dir, runner.max_extracted_bytes));
        findings.extend(engine(&runner).await);
        findings.push(apart::network(&runner));
    }
    if let Ok(logs) = loader.read(Reader::logs) {
        findings.push(spool_dir(&logs.spool_dir, logs.max_spool_bytes));
    }
    if let Ok(settings) = loader.read(Reader::broker) {
        findings.push(bounded("broker", Box::pin(broker(&settings))).await);
    }
    if let Ok(settings) = loader.read(Reader::store) {
        findings.push(bounded("store", Box::pin(store(&settings))).await);
    }
    if let Ok(settings) = loader.read(Reader::broker) {
        let store = loader.read(Reader::store).ok();
        findings.extend(queues::inboxes(&settings, store.as_ref()).await);
        findings.extend(queues::dead_letters(&settings).await);
    }
    let servers = |reader: &Reader<'_>| (reader.broker(), reader.store(), reader.runner());
    if let Ok((broker, store, runner)) = loader.read(servers) {
        findings.extend(apart::servers(exposures(&broker, &store, &runner)));
    }
    findings
}

async fn bounded(check: &'static str, doing: impl Future<Output = Finding>) -> Finding {
    tokio::time::timeout(PATIENCE, doing).await.unwrap_or_else(|_| {
        let said = format!("gave no answer within {} s", PATIENCE.as_secs());
        Finding::fail(check, said, "is it reachable from here, or does a firewall swallow it?")
    })
}

/// The engine, and where it answers, the images.
async fn engine(settings: &RunnerSettings) -> Vec<Finding> {
    let reached = async {
        let engine = DockerOrchestrator::connect(settings, Progress::Log).await?;
        let version = engine.check().await?;
        let isolation = engine.isolation().await?;
        Ok::<_, EngineError>((engine, version, isolation))
    };
    let problem = match tokio::time::timeout(PATIENCE, reached).await {
        Ok(Ok((engine, version, isolation))) => {
            let mut findings = vec![Finding::ok("engine", format!("version {version} answers"))];
            findings.extend(apart::engine(&isolation, settings));
            for runtime in Runtime::ALL {
                let image = settings.images.of(runtime);
                findings.push(bounded("image", Box::pin(has_image(&engine, image))).await);
            }
            return findings;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the engine gave no answer within {} s", PATIENCE.as_secs()),
    };
    let mend = "start Docker, let this user use it (group docker), or set DOCKER_HOST";
    vec![Finding::fail("engine", problem, mend)]
}

async fn has_image(engine: &DockerOrchestrator, image: &str) -> Finding {
    match engine.has_image(image).await {
        Ok(true) => Finding::ok("image", format!("{image} is here")),
        Ok(false) => Finding::warn(
            "image",
            format!("{image} is not here yet"),
            format!("the first job that needs it waits for it; docker pull {image} saves the wait"),
        ),
        Err(error) => Finding::fail("image", error.to_string(), "is the engine well?"),
    }
}

async fn broker(settings: &BrokerSettings) -> Finding {
    let shown = mask_url(&settings.url);
    match Broker::check(settings).await {
        Ok(()) => {
            let with_tls = if shown.starts_with("amqps://") { ", over TLS" } else { "" };
            Finding::ok("broker", format!("{shown}: connected{with_tls}"))
        }
        Err(error @ BrokerError::Refused { .. }) => {
            let mend = "rabbitmqctl list_users and rabbitmqctl list_vhosts say what there is";
            Finding::fail("broker", error.to_string(), mend)
        }
        Err(error) => {
            let usual = || "start RabbitMQ, or set AMQP_URL".to_owned();
            Finding::fail("broker", error.to_string(), error.mend().unwrap_or_else(usual))
        }
    }
}

async fn store(settings: &StoreSettings) -> Finding {
    let checked = match S3Store::new(settings) {
        Ok(store) => match store.check().await {
            Ok(()) => probe::conditional_writes(&store, PROBES).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match checked.map(probe::Broken::sentence) {
        Ok(None) => {
            let said =
                format!("{} is reachable; login and conditional writes work", settings.endpoint);
            Finding::ok("store", said)
        }
        Ok(Some(sentence)) => {
            Finding::fail("store", sentence, "see what docs/failures.md says about the store")
        }
        Err(error @ StoreError::NoBucket { .. }) => {
            Finding::warn("store", error.to_string(), "a worker makes its buckets when it starts")
        }
        Err(error @ StoreError::Denied { .. }) => {
            let mend = format!("are they those of the store at {}?", settings.endpoint);
            Finding::fail("store", error.to_string(), mend)
        }
        Err(error) => {
            let usual = || "start the store, or set MINIO_ENDPOINT".to_owned();
            Finding::fail("store", error.to_string(), error.mend().unwrap_or_else(usual))
        }
    }
}

/// One line for each mistake.
fn settings(loader: &Loader) -> Vec<Finding> {
    match loader.read(Settings::read) {
        Ok(_) => vec![Finding::ok("settings", "valid")],
        Err(SettingsErrors { mistakes }) => {
            let mend = "docs/settings.md says what is allowed";
            let finding = |mistake| Finding::fail("settings", format!("{mistake}"), mend);
            mistakes.iter().map(finding).collect()
        }
    }
}

/// Whether the jobs' directories can be made, and whether one job at its largest fits in.
fn temp_dir(directory: &Path, needed_bytes: u64) -> Finding {
    let need = format!("one job may unpack to {} MB (CODE_MAX_EXTRACTED_MB)", needed_bytes >> 20);
    writable("temp dir", "TEMP_DIR", directory, needed_bytes, need)
}

/// Whether lines that wait for the store can be kept, as many as may.
fn spool_dir(directory: &Path, needed_bytes: u64) -> Finding {
    let need =
        format!("up to {} MB of log lines may wait there (LOG_SPOOL_MAX_MB)", needed_bytes >> 20);
    writable("spool dir", "LOG_SPOOL_DIR", directory, needed_bytes, need)
}

fn writable(
    check: &'static str,
    setting: &'static str,
    directory: &Path,
    needed_bytes: u64,
    need: String,
) -> Finding {
    let shown = directory.display();
    if let Err(error @ (TempDirError::Foreign { .. } | TempDirError::Open { .. })) =
        crate::runner::temp_dir::check(setting, directory)
    {
        return Finding::fail(check, error.to_string(), "a worker does not start with it");
    }
    let probe = std::fs::create_dir_all(directory)
        .and_then(|()| tempfile::Builder::new().prefix(".doctor-").tempdir_in(directory))
        .and_then(|probe| {
            std::fs::write(probe.path().join("probe"), "probe")?;
            probe.close()
        });
    match probe {
        Ok(()) => match free_bytes(directory) {
            Some(free) if free < needed_bytes => {
                Finding::warn(check, format!("{shown} has {} MB left", free >> 20), need)
            }
            _ => Finding::ok(check, format!("{shown} can be written")),
        },
        Err(error) => Finding::fail(
            check,
            format!("{shown} cannot be written: {error}"),
            format!("make it, give it to this user (mkdir -p {shown}), or set {setting}"),
        ),
    }
}

/// What an ordinary user may still write there, as far as the system tells.
fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(directory).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn a_temp_dir_is_made_where_it_is_missing_and_left_empty() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("deep/er");
        assert_eq!(temp_dir(&directory, 0).grade, Grade::Ok);
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    }

    #[test]
    fn a_temp_dir_that_is_too_small_is_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(temp_dir(directory.path(), u64::MAX).grade, Grade::Warn);
    }

    #[test]
    fn a_temp_dir_that_is_a_file_fails_with_a_way_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = temp_dir(file.path(), 0);
        assert_eq!(finding.grade, Grade::Fail);
        assert!(finding.mend.unwrap().contains("TEMP_DIR"));
        assert!(spool_dir(file.path(), 0).mend.unwrap().contains("LOG_SPOOL_DIR"));
    }
}
