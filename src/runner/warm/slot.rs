//! One container that waits for a job.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc::O_NONBLOCK;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::files::{BELL, DONE, VARIABLE, own};
use super::stand_in::waiting_name;
use crate::job::{Entrypoint, Launcher, Runtime};
use crate::runner::cleanup;
use crate::runner::container::{
    ContainerBuilder, ContainerSpec, binds_at, environment_of, helper_at, module_bind,
};
use crate::runner::creation::{self, Prepared};
use crate::runner::directory::JobDirectory;
use crate::runner::failure::RunFailure;
use crate::runner::ground::Ground;
use crate::runner::script::{EntryScript, ScriptError, ScriptManager};
use crate::runner::site::Site;
use crate::runner::{labels, names};

/// How long the helper of a started container may take until it waits, and how often to look.
const READY_PATIENCE: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_millis(20);

/// The longest text about an end, in bytes.
const MAX_DONE_BYTES: usize = 16;

/// A container that waits for a job.
pub(super) struct Slot {
    pub(super) runtime: Arc<Runtime>,
    /// The image that it was made of.
    pub(super) image_id: String,
    /// The engine's id of it.
    pub(super) container: String,
    /// The directory that is bound into it.
    pub(super) directory: JobDirectory,
    pub(super) made_at: Instant,
    bell: File,
    done: pipe::Receiver,
}

impl Slot {
    /// Starts a container of a runtime, and waits until it waits, or until the worker ends. A failure leaves
    /// nothing behind; whoever drops this half-way must look for what it left.
    pub(super) async fn make(
        site: &Site,
        ground: Ground,
        scripts: &ScriptManager,
        folder: &Path,
        (runtime, image_id): (Arc<Runtime>, String),
        ending: &CancellationToken,
    ) -> Result<Self, RunFailure> {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let directory = JobDirectory::at(folder.join(&name));
        let made = async {
            let (script, done) = prepare(scripts, runtime.launcher, directory.root()).await?;
            let writes = script.writes.clone();
            let mut spec = spec(site, &runtime, directory.root(), &script);
            spec.name = waiting_name(&site.namespace, &name);
            let prepared = Prepared { spec, writes };
            let container = creation::create(site, ground, "warm", &directory, prepared).await?;
            let bell = ending.run_until_cancelled(bell(directory.root())).await;
            match bell.unwrap_or_else(|| Err(io::Error::other("the worker ends"))) {
                Ok(bell) => Ok((container, bell, done)),
                Err(error) => {
                    cleanup::container(site, &container).await;
                    Err(failed("waiting for a container that waits for a job")(error))
                }
            }
        };
        match made.await {
            Ok((container, bell, done)) => {
                let made_at = Instant::now();
                Ok(Self { runtime, image_id, container, directory, made_at, bell, done })
            }
            Err(error) => {
                cleanup::directory(site, &directory, &runtime.image).await;
                Err(error)
            }
        }
    }

    /// Whether its helper still waits.
    pub(super) fn is_alive(&self) -> bool {
        // It says nothing before a job has ended; only its end closes the pipe.
        matches!(self.done.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Takes the pipes out of its directory, so that no program can open them.
    pub(super) fn hide_pipes(&self) -> io::Result<()> {
        let root = self.directory.root();
        fs::remove_file(own(root, BELL))?;
        fs::remove_file(own(root, DONE))
    }

    /// Tells the helper that the job has come, and with which word its outputs are to end.
    pub(super) fn ring(mut self, end_word: &str) -> io::Result<(String, Done)> {
        self.bell.write_all(format!("{end_word}\n").as_bytes())?;
        Ok((self.container, Done(Mutex::new((self.done, Vec::new())))))
    }

    /// Removes the container and its directory.
    pub(super) async fn discard(self, site: &Site) {
        cleanup::container(site, &self.container).await;
        cleanup::directory(site, &self.directory, &self.runtime.image).await;
    }
}

/// What the helper says of the end of its program.
pub(in crate::runner) struct Done(Mutex<(pipe::Receiver, Vec<u8>)>);

impl Done {
    /// The exit code, once everything in the container is over but the helper; `None` if that is not told.
    /// It may be dropped at any time and called again.
    pub(in crate::runner) async fn code(&self) -> Option<i64> {
        let mut heard = self.0.lock().await;
        let (pipe, text) = &mut *heard;
        loop {
            if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                return std::str::from_utf8(&text[..end]).ok()?.parse().ok();
            }
            if text.len() >= MAX_DONE_BYTES {
                return None;
            }
            pipe.readable().await.ok()?;
            let mut more = [0; MAX_DONE_BYTES];
            match pipe.try_read(&mut more) {
                Ok(0) => return None,
                Ok(length) => text.extend_from_slice(&more[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> RunFailure {
    move |error| RunFailure::Unavailable(format!("{action}: {error}"))
}

/// Makes the directory with everything that is in it before there is a job.
async fn prepare(
    scripts: &ScriptManager,
    launcher: Launcher,
    root: &Path,
) -> Result<(EntryScript, pipe::Receiver), RunFailure> {
    let (scripts, root) = (scripts.clone(), root.to_owned());
    let preparing = tokio::task::spawn_blocking(move || {
        let making = || failed("making the directory of a container that waits for a job");
        let mode = Permissions::from_mode(0o755);
        DirBuilder::new().mode(0o755).create(&root).map_err(making())?;
        fs::set_permissions(&root, mode).map_err(making())?;
        let script = scripts
            .prepare(launcher, &root)
            .map_err(|error: ScriptError| RunFailure::from(error))?;
        // The helper reads the one and writes the other, whoever its user is. The worker, the owner, does the reverse.
        pipe_at(&own(&root, BELL), 0o644).map_err(making())?;
        pipe_at(&own(&root, DONE), 0o622).map_err(making())?;
        Ok::<_, RunFailure>((script, own(&root, DONE)))
    });
    let interrupted = |error| failed("preparing a container")(io::Error::other(error));
    let (script, done): (_, PathBuf) = preparing.await.map_err(interrupted)??;
    let done = pipe::OpenOptions::new().open_receiver(done).map_err(failed("opening a pipe"))?;
    Ok((script, done))
}

fn pipe_at(path: &Path, mode: u32) -> io::Result<()> {
    mkfifo(path, Mode::S_IRUSR)?;
    // Set it again, because the umask removes bits.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Opens the pipe by which the helper hears of a job, once the helper has opened it.
async fn bell(root: &Path) -> io::Result<File> {
    let path = own(root, BELL);
    let begun = Instant::now();
    loop {
        match OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&path) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => {
                if begun.elapsed() > READY_PATIENCE {
                    return Err(error);
                }
            }
            opened => return opened,
        }
        sleep(READY_PAUSE).await;
    }
}

fn spec(site: &Site, runtime: &Runtime, root: &Path, script: &EntryScript) -> ContainerSpec {
    let settings = &site.settings;
    let mut env = environment_of(runtime.launcher, settings.limits.memory_mb);
    env.insert(VARIABLE.to_owned(), "1".to_owned());
    let mut builder = ContainerBuilder::new(runtime.image.as_str())
        .with_limits(settings.limits)
        .with_network(settings.network)
        .with_env(env)
        .with_labels(labels::warm(&site.namespace, root))
        .with_command(script.command.clone())
        .with_profile(&settings.profile)
        .with_binds(names::binds(root))
        .with_binds(module_bind(root, runtime.launcher))
        .with_stop_timeout(settings.stop_timeout);
    for entrypoint in [Entrypoint::Backtest, Entrypoint::Bot] {
        let read_only = settings.profile.read_only_code;
        builder = builder
            .with_binds(binds_at(root, entrypoint, &script.writes, read_only))
            .with_binds([helper_at(&script.helper, entrypoint)]);
    }
    builder.build()
}
