//! The checks.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::finding::{Finding, Grade, PATIENCE};
use super::{apart, broker, queues};
use crate::job::{Runtime, Runtimes};
use crate::metrics::Metrics;
use crate::runner::orchestrator::EngineError;
use crate::runner::temp_dir::{self, CODE_CACHE_DIR, TempDirError};
use crate::runner::{self, ContainerOrchestrator, Progress};
use crate::settings::{
    Loader, Reader, RunnerSettings, Settings, SettingsErrors, StoreSettings, exposures,
};
use crate::storage::{Bucket, ObjectStore as _, S3Store, StoreError, probe};

/// The prefix in the state bucket below which conditional writes are tried.
const PROBES: &str = "doctor";

/// Runs every check, one after the other. A failed check stops no other. A check whose settings are
/// wrong is left out, because the lines about settings say so.
pub(super) async fn all(loader: &Loader) -> Vec<Finding> {
    let mut findings = settings(loader);
    if let Ok(runner) = loader.read(Reader::runner) {
        findings.push(temp_dir(&runner.temp_dir, runner.max_extracted_bytes));
        findings.extend(code_cache(&runner));
        findings.extend(engine(&runner).await);
        findings.push(apart::network(&runner));
    }
    if let Ok(logs) = loader.read(Reader::logs) {
        findings.push(spool_dir(&logs.spool_dir, logs.max_spool_bytes));
    }
    if let Ok(settings) = loader.read(Reader::broker) {
        findings.extend(broker::hosts(&settings).await);
    }
    if let Ok(settings) = loader.read(Reader::store) {
        let found = bounded("store", Box::pin(store(&settings))).await;
        // Where the store cannot be used, the line about it says so.
        if found.grade != Grade::Fail {
            findings.extend(inputs(&settings).await);
        }
        findings.push(found);
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

/// The engine and, if it answers, the images.
async fn engine(settings: &RunnerSettings) -> Vec<Finding> {
    let reached = async {
        let engine = runner::connect(settings, Progress::Log, &Metrics::default()).await?;
        let version = engine.check().await?;
        let isolation = engine.isolation().await?;
        Ok::<_, EngineError>((engine, version, isolation))
    };
    let problem = match tokio::time::timeout(PATIENCE, reached).await {
        Ok(Ok((engine, version, isolation))) => {
            let mut findings = vec![Finding::ok("engine", format!("version {version} answers"))];
            findings.extend(apart::engine(&isolation, settings));
            findings.extend(images(&*engine, &settings.runtimes).await);
            return findings;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the engine gave no answer within {} s", PATIENCE.as_secs()),
    };
    let remedy = "start Docker, let this user use it (group docker), or set DOCKER_HOST";
    vec![Finding::fail("engine", problem, remedy)]
}

/// The image of each runtime. Of those that are built in, most installations use one or two: the others are no
/// reason to warn.
async fn images(engine: &dyn ContainerOrchestrator, runtimes: &Runtimes) -> Vec<Finding> {
    let (mut findings, mut absent) = (Vec::new(), Vec::new());
    for runtime in runtimes.iter() {
        let looking = engine.has_image(&runtime.image);
        let is_here = tokio::time::timeout(PATIENCE, looking).await;
        if matches!(is_here, Ok(Ok(false))) && Runtimes::is_spare(runtime) {
            absent.push(format!("{} ({runtime})", runtime.image));
        } else {
            findings.push(bounded("image", Box::pin(has_image(engine, runtime))).await);
        }
    }
    if !absent.is_empty() {
        let said =
            format!("not here, and pulled for the first job that needs it: {}", absent.join(", "));
        findings.push(Finding::ok("images", said));
    }
    findings
}

async fn has_image(engine: &dyn ContainerOrchestrator, runtime: &Runtime) -> Finding {
    let image = &runtime.image;
    match engine.has_image(image).await {
        Ok(true) => Finding::ok("image", format!("{image} is here ({runtime})")),
        Ok(false) => Finding::warn(
            "image",
            format!("{image} is not here yet ({runtime})"),
            format!("the first job that needs it waits for it; docker pull {image} saves the wait"),
        ),
        Err(error) => Finding::fail("image", error.to_string(), "is the engine well?"),
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
            let remedy = format!("are they those of the store at {}?", settings.endpoint);
            Finding::fail("store", error.to_string(), remedy)
        }
        Err(error) => {
            let usual = || "start the store, or set MINIO_ENDPOINT".to_owned();
            Finding::fail("store", error.to_string(), error.remedy().unwrap_or_else(usual))
        }
    }
}

/// Whether inputs can be read, where the store answers at all.
async fn inputs(settings: &StoreSettings) -> Option<Finding> {
    let check = "inputs";
    let store = S3Store::new(settings).ok()?;
    let looking = store.get(Bucket::Inputs, "doctor", 0);
    let bucket = store.bucket_name(Bucket::Inputs);
    let read = match tokio::time::timeout(PATIENCE, looking).await {
        Ok(Ok(_) | Err(StoreError::NotFound { .. } | StoreError::TooLarge { .. })) => {
            return Some(Finding::ok(check, format!("the bucket {bucket} can be read")));
        }
        Ok(Err(error @ (StoreError::NoBucket { .. } | StoreError::Denied { .. }))) => error,
        _ => return None,
    };
    let remedy = "only jobs with inputs need it; make it, or let the worker's key read it";
    Some(Finding::warn(check, read.to_string(), remedy))
}

/// One line for each mistake.
fn settings(loader: &Loader) -> Vec<Finding> {
    match loader.read(Settings::read) {
        Ok(_) => vec![Finding::ok("settings", "valid")],
        Err(SettingsErrors { mistakes }) => {
            let remedy = "docs/settings.md says what is allowed";
            let finding = |mistake| Finding::fail("settings", format!("{mistake}"), remedy);
            mistakes.iter().map(finding).collect()
        }
    }
}

/// Whether the jobs' directories can be made, and whether the largest possible job fits in.
fn temp_dir(directory: &Path, needed_bytes: u64) -> Finding {
    let need = format!("one job may unpack to {} MB (CODE_MAX_EXTRACTED_MB)", needed_bytes >> 20);
    writable("temp dir", "TEMP_DIR", directory, needed_bytes, need)
}

/// Whether the spool has room for as many waiting lines as the settings allow.
fn spool_dir(directory: &Path, needed_bytes: u64) -> Finding {
    let need =
        format!("up to {} MB of log lines may wait there (LOG_SPOOL_MAX_MB)", needed_bytes >> 20);
    writable("spool dir", "LOG_SPOOL_DIR", directory, needed_bytes, need)
}

/// Whether a code cache outside of `TEMP_DIR` can be used, and its files shared with the jobs' directories.
fn code_cache(runner: &RunnerSettings) -> Option<Finding> {
    let is_on = runner.code_cache.max_bytes > 0;
    let directory = runner.code_cache.dir.as_ref().filter(|_| is_on)?;
    let check = "cache";
    if let Err(error) = temp_dir::check(CODE_CACHE_DIR, directory) {
        let remedy = "until then each run unpacks its own code";
        return Some(Finding::warn(check, error.to_string(), remedy));
    }
    let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
    let shown = directory.display();
    if device(directory) != device(&runner.temp_dir) {
        let said =
            format!("{shown} is not on the file system of TEMP_DIR, so each run copies its code");
        let remedy = "put both on one file system, or unset CODE_CACHE_DIR";
        return Some(Finding::warn(check, said, remedy));
    }
    Some(Finding::ok(check, format!("{shown} is on the file system of TEMP_DIR")))
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

/// How much an ordinary user may still write there, if the system says it.
fn free_bytes(directory: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(directory).ok()?;
    Some(stat.blocks_available() * stat.fragment_size())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

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
    fn a_code_cache_that_cannot_share_its_files_is_a_warning() {
        let (jobs, elsewhere) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let found = |directory: Option<&Path>| {
            let directory = directory.map(|path| path.to_string_lossy().into_owned());
            let jobs = jobs.path().to_string_lossy().into_owned();
            let mut settings = vec![("TEMP_DIR", jobs.as_str())];
            settings.extend(directory.iter().map(|path| ("CODE_CACHE_DIR", path.as_str())));
            code_cache(&Loader::new(Sources::of(&settings)).read(Reader::runner).unwrap())
        };
        assert!(found(None).is_none(), "it is in TEMP_DIR");
        assert_eq!(found(Some(&jobs.path().join("c"))).unwrap().grade, Grade::Ok);
        assert_eq!(found(Some(elsewhere.path())).unwrap().grade, Grade::Warn);
    }

    #[test]
    fn a_temp_dir_that_is_a_file_fails_with_a_way_out() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let finding = temp_dir(file.path(), 0);
        assert_eq!(finding.grade, Grade::Fail);
        assert!(finding.remedy.unwrap().contains("TEMP_DIR"));
        assert!(spool_dir(file.path(), 0).remedy.unwrap().contains("LOG_SPOOL_DIR"));
    }
}
