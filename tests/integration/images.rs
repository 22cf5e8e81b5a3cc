//! Pulling images from a real registry.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use longshore::metrics::Metrics;
use longshore::runner::Progress;
use longshore::runner::docker::DockerOrchestrator;
use longshore::runner::orchestrator::{ContainerOrchestrator, EngineError};
use longshore::settings::RunnerSettings;
use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::cli::{longshore, text};
use longshore_testing::bench::{PYTHON, settings};
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT, PYTHON_TICKER};
use longshore_testing::registry::Registry;
use longshore_testing::scene::Scene;

const TAG: &str = "1";

/// A registry that holds one image that the engine does not have.
struct Shelf {
    registry: Registry,
    docker: Docker,
    repository: String,
    name: String,
    image: String,
}

impl Shelf {
    /// With an image of a few megabytes, which cannot run.
    async fn new() -> Self {
        let shelf = Self::empty().await;
        let options =
            CreateImageOptionsBuilder::default().from_src("-").repo(&shelf.name).tag(TAG).build();
        let body = Some(bollard::body_full(archive().into()));
        shelf.docker.create_image(Some(options), body, None).try_collect::<Vec<_>>().await.unwrap();
        shelf.fill().await;
        shelf
    }

    /// With the image for Python, by another name.
    async fn with_python() -> Self {
        let shelf = Self::empty().await;
        let options = TagImageOptionsBuilder::default().repo(&shelf.name).tag(TAG).build();
        shelf.docker.tag_image(PYTHON, Some(options)).await.unwrap();
        shelf.fill().await;
        shelf
    }

    async fn empty() -> Self {
        let registry = Registry::start().await;
        let repository = format!("it-{}", uuid::Uuid::new_v4());
        let name = format!("{}/{repository}", registry.address);
        Self { image: format!("{name}:{TAG}"), name, registry, docker: client(), repository }
    }

    /// Moves the image from the engine to the registry.
    async fn fill(&self) {
        let options = PushImageOptionsBuilder::default().tag(TAG).build();
        let login = Some(DockerCredentials::default());
        let pushed = self.docker.push_image(&self.name, Some(options), login);
        pushed.try_collect::<Vec<_>>().await.unwrap();
        self.forget(&self.image).await;
    }

    async fn forget(&self, image: &str) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        self.docker.remove_image(image, Some(options), None).await.unwrap();
    }

    fn manifest_requests(&self) -> usize {
        self.registry.manifest_requests(&self.repository, TAG)
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        let image = self.image.clone();
        // A thread of its own, for a runtime cannot be blocked from within. That there is no such
        // image is what most tests leave.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            runtime.block_on(client().remove_image(&image, Some(options), None)).is_ok()
        });
        if removed.join().is_err() {
            eprintln!("could not remove the image {}", self.image);
        }
    }
}

fn client() -> Docker {
    match settings().docker_host {
        Some(host) => Docker::connect_with_host(&host).unwrap(),
        None => Docker::connect_with_unix_defaults().unwrap(),
    }
}

/// A file system of one file, whose content no other image has and which hardly compresses.
fn archive() -> Vec<u8> {
    let content: Vec<u8> = (0..200_000).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append_data(&mut header, "content", content.as_slice()).unwrap();
    builder.into_inner().unwrap()
}

async fn engine(pull_timeout: Duration, progress: Progress) -> Arc<DockerOrchestrator> {
    let settings = RunnerSettings { pull_timeout, ..settings() };
    Arc::new(DockerOrchestrator::connect(&settings, progress, &Metrics::default()).await.unwrap())
}

fn pulls(
    engine: &Arc<DockerOrchestrator>,
    image: &str,
    count: usize,
) -> JoinSet<Result<(), EngineError>> {
    let mut waiting = JoinSet::new();
    for _ in 0..count {
        let (engine, image) = (Arc::clone(engine), image.to_owned());
        waiting.spawn(async move { engine.pull_image(&image).await });
    }
    waiting
}

const PATIENT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn compat_13_an_image_that_is_here_is_used_as_it_is() {
    let shelf = Shelf::new().await;
    let engine = engine(PATIENT, Progress::Log).await;
    let mine = "longshore-it-retagged";
    let options = TagImageOptionsBuilder::default().repo(mine).tag(TAG).build();
    engine.pull_image(&shelf.image).await.unwrap();
    let asked = shelf.manifest_requests();
    assert!(asked > 0);
    engine.pull_image(&shelf.image).await.unwrap();
    assert_eq!(shelf.manifest_requests(), asked);
    // An image that was built on this machine has no registry that would know it.
    shelf.docker.tag_image(&shelf.image, Some(options)).await.unwrap();
    let pulled = engine.pull_image(&format!("{mine}:{TAG}")).await;
    shelf.forget(&format!("{mine}:{TAG}")).await;
    assert_eq!(pulled, Ok(()));
}

#[tokio::test]
async fn all_waiting_jobs_share_one_pull_also_when_the_first_gives_up() {
    let shelf = Shelf::new().await;
    for progress in [Progress::Log, Progress::Bar] {
        let engine = engine(PATIENT, progress).await;
        let before = shelf.manifest_requests();
        engine.pull_image(&shelf.image).await.unwrap();
        let one_pull = shelf.manifest_requests() - before;
        shelf.forget(&shelf.image).await;

        let before = shelf.manifest_requests();
        let outcomes = pulls(&engine, &shelf.image, 5).join_all().await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(shelf.manifest_requests() - before, one_pull, "five at once");
        shelf.forget(&shelf.image).await;

        let before = shelf.manifest_requests();
        shelf.registry.pause();
        let mut first = pulls(&engine, &shelf.image, 1);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let others = pulls(&engine, &shelf.image, 4);
        tokio::time::sleep(Duration::from_millis(300)).await;
        first.shutdown().await;
        shelf.registry.go_on();
        let outcomes = others.join_all().await;
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(shelf.manifest_requests() - before, one_pull, "the first gave up");
        assert_eq!(engine.has_image(&shelf.image).await, Ok(true));
        shelf.forget(&shelf.image).await;
    }
}

#[tokio::test]
async fn an_image_that_no_registry_has_is_missing_for_good() {
    let shelf = Shelf::new().await;
    let engine = engine(PATIENT, Progress::Log).await;
    let address = &shelf.registry.address;
    for image in [
        format!("{address}/{}:no-such-tag", shelf.repository),
        format!("{address}/no-such-repository"),
        "Not/A Reference".to_owned(),
    ] {
        let outcomes = pulls(&engine, &image, 3).join_all().await;
        for outcome in outcomes {
            let error = outcome.unwrap_err();
            assert!(matches!(error, EngineError::ImageMissing { .. }), "{error}");
            assert!(!error.is_transient() && error.to_string().contains(&image), "{error}");
        }
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_may_come_back() {
    let engine = engine(PATIENT, Progress::Log).await;
    let error = engine.pull_image("127.0.0.1:1/nothing:1").await.unwrap_err();
    assert!(matches!(error, EngineError::Pull { .. }) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn compat_13_an_error_inside_the_pulls_stream_is_an_error() {
    let shelf = Shelf::new().await;
    shelf.registry.spoil_layer();
    let engine = engine(PATIENT, Progress::Log).await;
    let error = engine.pull_image(&shelf.image).await.unwrap_err();
    assert!(matches!(error, EngineError::Pull { .. }), "{error}");
    assert_eq!(engine.has_image(&shelf.image).await, Ok(false));
}

#[tokio::test]
async fn a_registry_that_dies_in_the_middle_is_an_error_and_the_next_pull_works() {
    let shelf = Shelf::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image = format!("{}/{}:{TAG}", listener.local_addr().unwrap(), shelf.repository);
    let mut dying = JoinSet::new();
    dying.spawn(die_after(listener, shelf.registry.address.clone(), 1 << 20));
    // The engine tries a broken layer again for a minute: the time-out ends that.
    let engine = engine(Duration::from_secs(4), Progress::Log).await;
    let error = engine.pull_image(&image).await.unwrap_err();
    assert!(matches!(error, EngineError::Pull { .. }), "{error}");
    assert_eq!(engine.has_image(&image).await, Ok(false));
    assert!(dying.join_next().await.unwrap().unwrap() >= 1 << 20, "it died in the middle");
    engine.pull_image(&shelf.image).await.unwrap();
}

/// The image has no shell, so that the run itself gets nowhere.
#[tokio::test]
async fn a_pull_shows_a_bar_on_a_terminal_and_lines_of_the_log_elsewhere() {
    const UNAVAILABLE: Option<i32> = Some(15);
    let (shelf, folder) = (Shelf::new().await, tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("backtest.py"), "def main(id, config): pass").unwrap();
    let run = || {
        let mut command = longshore();
        command.env("TEMP_DIR", folder.path().join("jobs")).env("PYTHON_IMAGE", &shelf.image);
        command.envs(settings().docker_host.map(|host| ("DOCKER_HOST", host)));
        command.arg("run").arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let output = blocking(run(), |command| command.stderr(Stdio::piped()).output().unwrap()).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), UNAVAILABLE, "{told}");
    for line in ["INFO longshore::pull: pulling image", "INFO longshore::pull: pulled image"] {
        assert_eq!(told.matches(line).count(), 1, "{told}");
    }
    shelf.forget(&shelf.image).await;

    let (code, shown) = blocking(run(), on_a_terminal).await;
    assert_eq!(code, UNAVAILABLE, "{shown}");
    assert!(shown.contains(&format!("{} [", shelf.image)), "{shown:?}");
    assert!(!shown.contains("INFO"), "{shown:?}");
}

async fn blocking<T: Send + 'static>(
    mut command: Command,
    work: impl FnOnce(&mut Command) -> T + Send + 'static,
) -> T {
    tokio::task::spawn_blocking(move || work(&mut command)).await.unwrap()
}

/// Runs a command whose standard error is a terminal; gives its exit code and what that showed.
fn on_a_terminal(command: &mut Command) -> (Option<i32>, String) {
    let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let mut child = command.env("TERM", "xterm").stderr(pty.slave).spawn().unwrap();
    // The command holds our end of the terminal, which would never be closed.
    command.stderr(Stdio::null());
    let (mut screen, mut shown) = (File::from(pty.master), Vec::new());
    // Ends with an error once nobody holds the other end any more.
    let _closed = screen.read_to_end(&mut shown);
    (child.wait().unwrap().code(), text(&shown))
}

#[tokio::test]
async fn a_worker_pulls_once_for_all_jobs_that_wait_and_logs_it() {
    let (shelf, scene) = (Shelf::new().await, Scene::new().await);
    let before = shelf.manifest_requests();
    shelf.registry.pause();
    let settings = [("PYTHON_IMAGE", shelf.image.as_str()), ("JOB_MAX_ATTEMPTS", "1")];
    let worker = scene.worker_with(&settings).await;
    let names = ["a", "b", "c", "d"];
    for name in names {
        scene.start(&scene.job(name, &PYTHON_BACKTEST, "").await).await;
        scene.events.wait_state(&scene.id(name), "preparing").await;
    }
    shelf.registry.go_on();
    for name in names {
        // The image has no shell.
        scene.events.result_of(&scene.id(name)).await.expect("unavailable");
    }
    let log = worker.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (begun, ended): (Vec<_>, Vec<_>) = lines
        .filter(|line| line["target"] == "longshore::pull" && line["image"] == *shelf.image)
        .partition(|line| line["message"] == "pulling image");
    assert!(!begun.is_empty(), "{log}");
    assert_eq!(ended.len(), 1, "{ended:#?}");
    assert!(ended[0]["duration_seconds"].is_number(), "{ended:#?}");
    let one_pull = shelf.manifest_requests() - before;
    shelf.forget(&shelf.image).await;
    let before = shelf.manifest_requests();
    engine(PATIENT, Progress::Log).await.pull_image(&shelf.image).await.unwrap();
    assert_eq!(shelf.manifest_requests() - before, one_pull);
    scene.finish([worker]).await;
}

/// compat.md 2: a start had no mark while its image was pulled, so that the next one ran as well.
#[tokio::test]
async fn compat_2_a_second_start_during_a_slow_pull_gives_no_second_bot() {
    let (shelf, scene) = (Shelf::with_python().await, Scene::new().await);
    shelf.registry.pause();
    let worker = scene.worker_with(&[("PYTHON_IMAGE", &shelf.image)]).await;
    let message = scene.job("bot", &PYTHON_BOT, PYTHON_TICKER).await;
    let id = scene.id("bot");
    scene.start(&message).await;
    let preparing = scene.events.wait_state(&id, "preparing").await;
    scene.start(&message).await;
    let duplicate = scene.events.wait_state(&id, "duplicate").await;
    assert_ne!(duplicate.data()["run_id"], preparing.data()["run_id"]);
    assert_eq!(scene.containers().await, [""; 0], "the image was to be pulled still");
    shelf.registry.go_on();
    let running = scene.events.wait_state(&id, "running").await;
    assert_eq!(running.data()["run_id"], preparing.data()["run_id"]);
    scene.logged(&id, "tick").await;
    assert_eq!(
        scene.container_of(&id).await.id.as_deref(),
        running.data()["container_id"].as_str()
    );
    scene.stop(&json!({ "id": id })).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("stopped")["run_id"], preparing.data()["run_id"]);
    scene.is_tidy().await;
    let states = scene.events.states_of(&id);
    let expected = ["accepted", "preparing", "duplicate", "running", "stopping", "finished"];
    assert_eq!(states, expected);
    assert_eq!(scene.events.results_of(&id).len(), 1);
    scene.finish([worker]).await;
}

/// Forwards connections until `limit` bytes have come from `address`; then nothing more.
async fn die_after(listener: TcpListener, address: String, limit: usize) -> usize {
    let mut passed = 0;
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(&address).await.unwrap();
        let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => match read {
                    Ok(read) if read > 0 => server.write_all(&asked[..read]).await.unwrap(),
                    _ => break,
                },
                read = server.read(&mut answered) => match read {
                    Ok(read) if read > 0 => {
                        passed += read;
                        if passed >= limit {
                            return passed;
                        }
                        if client.write_all(&answered[..read]).await.is_err() {
                            break;
                        }
                    }
                    _ => break,
                },
            }
        }
    }
}
