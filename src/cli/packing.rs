//! From a directory to a zip with the packages that the program needs, and into the store.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::output::warn;
use super::package::{Package, Source};
use super::progress::Reporter;
use super::{Context, Failure, signals};
use crate::job::{Launcher, Runtime, RuntimeName, Runtimes};
use crate::metrics::Metrics;
use crate::runner::code::CodeCaps;
use crate::runner::orchestrator::EngineError;
use crate::runner::packages::{Installed, Installer, Lock, LockError, Manager, Step};
use crate::runner::{self, Progress};
use crate::settings::{PackSettings, RunnerSettings, StoreSettings};
use crate::storage::{Bucket, S3Store};

/// How a directory is packed.
#[derive(Debug, Default, Args)]
pub(super) struct PackOptions {
    /// Take the directory as it is, without the packages that its requirements.txt or
    /// package-lock.json names
    #[arg(long)]
    pub(super) no_install: bool,
}

/// Packs what its author has.
pub(super) struct Packer<'a> {
    context: &'a Context,
    runner: RunnerSettings,
    settings: PackSettings,
    caps: CodeCaps,
    /// Ends the program at a signal, once an installation has listened to them.
    leaving: Mutex<Option<JoinHandle<()>>>,
}

fn usage(error: &anyhow::Error) -> Failure {
    Failure::Usage(format!("{error:#}"))
}

impl<'a> Packer<'a> {
    /// A packer with the settings of this process.
    pub(super) fn new(context: &'a Context) -> Result<Self, Failure> {
        let read = context.loader.read(|reader| (reader.runner(), reader.pack()))?;
        let (runner, settings) = read;
        let caps = CodeCaps::from(&runner);
        Ok(Self { context, runner, settings, caps, leaving: Mutex::default() })
    }

    /// The runtimes that are known here. The workers may have others.
    pub(super) fn runtimes(&self) -> &Runtimes {
        &self.runner.runtimes
    }

    /// Looks at a directory or a zip.
    pub(super) fn look(&self, path: &Path) -> Result<Source, Failure> {
        Source::of(path, &self.caps).map_err(|error| usage(&error))
    }

    /// Packs a directory for a runtime, with its packages; takes a zip unchanged.
    pub(super) async fn pack(
        &self,
        source: Source,
        runtime: &RuntimeName,
        options: &PackOptions,
    ) -> Result<Package, Failure> {
        let mut installed = None;
        if !options.no_install
            && let Some(directory) = source.directory()
            && let Some(runtime) = self.known(runtime)
            && let Some(lock) = lock_of(&source, directory, runtime.launcher)?
        {
            let folder = lock.manager.folder();
            installed = Some((folder, self.install(lock, runtime).await?));
        }
        let caps = self.caps;
        let packing = tokio::task::spawn_blocking(move || {
            let packages = installed.as_ref().map(|(folder, it)| (*folder, it.directory()));
            source.pack(&caps, packages.as_ref())
        });
        packing.await.map_err(anyhow::Error::from)?.map_err(|error| usage(&error))
    }

    /// From now on somebody else listens to signals.
    pub(super) fn hand_over_signals(&self) {
        if let Some(leaving) = self.leaving.lock().take() {
            leaving.abort();
        }
    }

    fn known(&self, name: &RuntimeName) -> Option<&Runtime> {
        let found = self.runner.runtimes.get(name.as_str());
        if found.is_none() {
            warn(&format!(
                "the runtime {name} is not in the settings here (BOT_RUNTIMES): no packages are installed, and a \
                 worker without it rejects the job; it {}",
                self.runner.runtimes.unknown(name)
            ));
        }
        found.map(AsRef::as_ref)
    }

    async fn install(&self, lock: Lock, runtime: &Runtime) -> Result<Installed, Failure> {
        let (file, image) = (lock.manager.file(), runtime.image.as_str());
        let engine = runner::connect(&self.runner, Progress::Bar, &Metrics::default()).await;
        let engine = engine.map_err(|error| without_engine(error, file))?;
        let environment = self.context.loader.environment();
        let builder = Installer::open(engine, &self.settings, &self.runner, environment).await;
        let builder = builder.map_err(anyhow::Error::from)?;
        let reporter = Reporter::new();
        let tell = |step: Step| reporter.show(&told(step));
        let installed = tokio::select! {
            installed = builder.install(Arc::new(lock), image, &tell) => installed,
            () = signals::interrupted() => {
                builder.remove_left_over().await?;
                return Err(Failure::Interrupted);
            }
        };
        reporter.end();
        *self.leaving.lock() = Some(signals::leave_at_once());
        let installed = installed.map_err(anyhow::Error::from)?;
        let from = if installed.was_there { ", from the cache" } else { "" };
        let files = installed.files();
        warn(&format!("installed the packages of {file} for {image}: {files} files{from}"));
        Ok(installed)
    }
}

fn told(step: Step) -> String {
    match step {
        Step::Collecting(0) => "looking for packages".to_owned(),
        Step::Collecting(count) => format!("collecting packages: {count}"),
        Step::Installing { done, of } => format!("installing {done}/{of}"),
    }
}

/// The packages of a directory that are to be installed.
fn lock_of(source: &Source, directory: &Path, launcher: Launcher) -> Result<Option<Lock>, Failure> {
    let lock = match Lock::of(directory, launcher) {
        Err(LockError::NoPackageLock) if source.has(Manager::Npm.folder()) => return Ok(None),
        read => read.map_err(|error| Failure::Usage(error.to_string()))?,
    };
    match &lock {
        Some(lock) if lock.manager == Manager::Pip && source.has(lock.manager.folder()) => {
            warn("vendor/ is taken as it is, so requirements.txt is not read; remove one of them");
            return Ok(None);
        }
        None if launcher == Launcher::Python && names_packages(directory) => warn(
            "the packages in pyproject.toml are not installed: list them in requirements.txt, for \
             example with uv pip compile pyproject.toml -o requirements.txt",
        ),
        _ => {}
    }
    Ok(lock)
}

/// Whether a directory names packages where they are not read.
fn names_packages(directory: &Path) -> bool {
    let project = std::fs::read_to_string(directory.join("pyproject.toml")).unwrap_or_default();
    project.lines().any(|line| line.starts_with("dependencies"))
}

fn without_engine(error: EngineError, file: &str) -> Failure {
    let remedy = format!(
        "the packages of {file} are installed in a container; with --no-install the directory is \
         taken as it is"
    );
    Failure::Failed { error: error.into(), remedy: Some(remedy) }
}

/// Stores code under a key. What is there already under a key of its content is not sent again.
pub(super) async fn upload(
    package: &Package,
    key: &str,
    settings: &StoreSettings,
) -> Result<(), Failure> {
    let store = S3Store::new(settings)?;
    if key == package.key() && store.size_of(Bucket::Code, key).await? == Some(package.bytes) {
        warn("the store has this code already, so it is not sent again");
        return Ok(());
    }
    let reporter = Reporter::new();
    let of = megabytes(package.bytes);
    let sent = |bytes: u64| reporter.show(&format!("uploading {}/{of} MB", megabytes(bytes)));
    let uploaded =
        store.upload_showing(Bucket::Code, key, package.path(), "application/zip", &sent).await;
    reporter.end();
    Ok(uploaded?)
}

/// For people: rounded up, so that nothing is 0.
pub(super) fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
