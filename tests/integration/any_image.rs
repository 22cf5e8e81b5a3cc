//! The helper that every container starts, in images with the shells of Debian and of Alpine, and in one that has
//! nothing in it but a program; as process 1, and behind the engine's init.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::future::join_all;
use futures_util::{StreamExt as _, TryStreamExt as _};
use longshore::job::{Bounds, Job, parse_executable};
use longshore::runner::container::{Bind, code_binds, helper_bind};
use longshore::runner::directory::JobDirectory;
use longshore::runner::orchestrator::{ContainerOrchestrator as _, ContainerStatus};
use longshore::runner::script::ScriptManager;
use tempfile::TempDir;

use longshore_testing::bench::{Bench, NODE, PYTHON};
use longshore_testing::program::PYTHON_BOT;

/// The program of the image with nothing else in it: static, for there is no library either.
const PROGRAM: &str = include_str!("any_image/program.c");

/// An image that holds one program.
struct Bare {
    docker: Docker,
    image: String,
    folder: TempDir,
}

impl Bare {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (source, program) = (folder.path().join("program.c"), folder.path().join("program"));
        std::fs::write(&source, PROGRAM).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-static", "-Os", "-Wall", "-Werror", "-o"]).args([&program, &source]);
        assert!(compiler.status().unwrap().success());
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_path_with_name(&program, "program").unwrap();
        let docker = longshore_testing::servers::engine().await;
        let image = format!("it-bare-{}", uuid::Uuid::new_v4());
        let options = CreateImageOptionsBuilder::default().from_src("-").repo(&image).build();
        let body = Some(bollard::body_full(archive.into_inner().unwrap().into()));
        docker.create_image(Some(options), body, None).try_collect::<Vec<_>>().await.unwrap();
        Self { docker, image, folder }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    async fn remove(self) {
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        self.docker.remove_image(&self.image, Some(options), None).await.unwrap();
    }
}

/// A container of a bot, whose program is in no language that Longshore knows.
struct Container<'bench> {
    bench: &'bench Bench,
    folder: TempDir,
    directory: JobDirectory,
    id: String,
}

impl<'bench> Container<'bench> {
    async fn start(
        bench: &'bench Bench,
        bare: &Bare,
        image: &str,
        init: bool,
        words: &[&str],
        lease: Option<&str>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = uuid::Uuid::new_v4().to_string();
        let message = PYTHON_BOT.message(&name, "code.zip").to_string();
        let executable = parse_executable(message.as_bytes()).unwrap();
        let job = Job::validate(executable, &Bounds::default(), Some(&name)).unwrap();
        let directory = JobDirectory::new(folder.path(), "it", &job.id, &job.run_id, 1);
        directory.create().await.unwrap();
        let script = ScriptManager::new(folder.path()).create(&job, &directory).await.unwrap();
        if let Some(lease) = lease {
            std::fs::write(directory.root().join(".longshore/lease"), lease).unwrap();
        }
        let mut spec = bench.spec(&name, &["/bot/.longshore/init", "/bot", "/program"]);
        spec.image = image.to_owned();
        spec.command.extend(words.iter().map(|&word| word.to_owned()));
        spec.env.insert("ENTRYPOINT_TYPE".to_owned(), "bot".to_owned());
        spec.env.insert("IS_LONG_RUNNING".to_owned(), "true".to_owned());
        spec.profile.init = init;
        spec.binds = code_binds(directory.root(), &job, &script.writes, true);
        spec.binds.push(helper_bind(&script.helper, &job));
        if image != bare.image {
            let host = bare.program();
            let container = "/program".to_owned();
            spec.binds.push(Bind { host, container, read_only: true });
        }
        let id = bench.start(&spec).await;
        Self { bench, folder, directory, id }
    }

    /// Until it has said its first line.
    async fn says(&self, expected: &str) {
        let first = self.bench.engine.follow_logs(&self.id).next().await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&first.bytes).trim_end(), expected);
    }

    async fn end(&self) -> ContainerStatus {
        let ended = tokio::time::timeout(Duration::from_mins(1), self.bench.engine.wait(&self.id));
        ended.await.expect("it ends").unwrap()
    }

    fn note(&self) -> String {
        assert!(self.folder.path().is_dir());
        read(&self.directory.root().join(".longshore/exit-note"))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// In each image, behind the engine's init and without one.
async fn everywhere(test: impl AsyncFn(&Bench, &Bare, &str, bool)) {
    let (bench, bare) = (Bench::new().await, Bare::new().await);
    let all =
        [PYTHON, NODE, &bare.image].into_iter().flat_map(|image| [(image, true), (image, false)]);
    join_all(all.map(|(image, init)| test(&bench, &bare, image, init))).await;
    drop(bench);
    bare.remove().await;
}

#[tokio::test]
async fn a_program_gives_its_exit_code_and_a_note_in_any_image() {
    everywhere(async |bench, bare, image, init| {
        let container = Container::start(bench, bare, image, init, &["exit", "3"], None).await;
        assert_eq!(container.end().await.exit_code, Some(3), "{image} {init}");
        let note = container.note();
        assert!(
            note.starts_with("begun\n") && note.contains("oom_kill 0\n"),
            "{image} {init}: {note}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_program_is_asked_to_end_in_any_image_and_ends_in_its_own_way() {
    everywhere(async |bench, bare, image, init| {
        let container = Container::start(bench, bare, image, init, &["polite"], None).await;
        container.says("ready").await;
        bench.engine.stop(&container.id, Duration::from_secs(30)).await.unwrap();
        assert_eq!(container.end().await.exit_code, Some(7), "{image} {init}");
    })
    .await;
}

/// SIGTERM must not be lost however early it comes, or the program runs on until it is killed.
#[tokio::test]
async fn a_program_that_is_stopped_the_moment_it_starts_is_not_killed() {
    everywhere(async |bench, bare, image, init| {
        let container = Container::start(bench, bare, image, init, &["plain"], None).await;
        bench.engine.stop(&container.id, Duration::from_secs(30)).await.unwrap();
        assert_eq!(container.end().await.exit_code, Some(143), "{image} {init}");
    })
    .await;
}

#[tokio::test]
async fn a_bot_whose_lease_runs_out_ends_in_any_image() {
    let lease = "1 5\n- - 1\n";
    everywhere(async |bench, bare, image, init| {
        for (words, code) in [(["polite"], 7), (["stubborn"], 137)] {
            let container = Container::start(bench, bare, image, init, &words, Some(lease)).await;
            assert_eq!(container.end().await.exit_code, Some(code), "{image} {init}");
            let note = container.note();
            assert!(note.contains("\nlease expired\n"), "{image} {init}: {note}");
            let said = bench.engine.get_logs(&container.id, None).await.unwrap();
            assert!(said.contains("its worker has not been heard of"), "{image} {init}: {said}");
        }
    })
    .await;
}

#[tokio::test]
async fn processes_that_lose_their_parent_are_reaped_in_any_image() {
    everywhere(async |bench, bare, image, init| {
        let container = Container::start(bench, bare, image, init, &["orphans"], None).await;
        container.says("0 of 50 orphans are left").await;
        assert_eq!(container.end().await.exit_code, Some(0), "{image} {init}");
    })
    .await;
}
