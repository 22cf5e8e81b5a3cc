//! `longshore gc` against the real servers, and beside a `longshore run` that lives.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Arc;

use bollard::Docker;
use bollard::models::{ContainerConfig, ContainerCreateBody};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, CreateContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use jiff::{Timestamp, ToSpan as _};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use longshore::storage::{Bucket, JobRecord, Journal, ObjectStore, RecordState, S3Store};
use serde_json::Value;

use super::client::on;
use super::ps::{WAITS, started};
use super::{json_of, longshore, text};
use longshore_testing::journal_cases::sample_record;
use longshore_testing::rabbit::{Rabbit, within};
use longshore_testing::{s3, servers, variable};

/// Runs a command to its end without holding up the runtime.
async fn output(mut command: Command) -> Output {
    within(tokio::task::spawn_blocking(move || command.output().unwrap())).await.unwrap()
}

/// One part of what `gc` says.
fn part<'a>(said: &'a Value, what: &str) -> &'a Value {
    let parts = said["parts"].as_array().unwrap();
    parts.iter().find(|part| part["what"] == what).unwrap_or_else(|| panic!("{what}: {said}"))
}

/// A directory with code that waits, and one for jobs.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["code", "jobs", "tmp"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("code/backtest.py"), WAITS).unwrap();
        Self { folder }
    }

    fn jobs(&self) -> PathBuf {
        self.folder.path().join("jobs")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = longshore();
        command.env("TEMP_DIR", self.jobs()).env("TMPDIR", self.folder.path().join("tmp"));
        command.env("AMQP_NAMESPACE", "longshore-tests-gc").args(words);
        command.envs(variable("DOCKER_HOST").map(|host| ("DOCKER_HOST", host)));
        command
    }

    /// A `longshore run` whose code runs, and its namespace.
    async fn run(&self, id: &str) -> (Child, String) {
        let code = self.folder.path().join("code").to_string_lossy().into_owned();
        let command = self.command(&["run", &code, "--id", id]);
        let starting = tokio::task::spawn_blocking(move || started(command));
        let child = within(starting).await.unwrap();
        let listed = self.listed(id).await.expect("it is listed");
        (child, listed["namespace"].as_str().unwrap().to_owned())
    }

    /// What `ps -a` says of a job.
    async fn listed(&self, id: &str) -> Option<Value> {
        let all = json_of(&output(self.command(&["ps", "-a", "--output", "json"])).await);
        all.as_array().unwrap().iter().find(|one| one["id"] == id).cloned()
    }

    async fn gc(&self, flags: &[&str]) -> Output {
        output(self.command(&[&["gc", "runs"], flags].concat())).await
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_a_killed_run_left_is_named_and_removed_and_a_run_that_lives_stays() {
    let (host, unique) = (Host::new(), uuid::Uuid::new_v4().simple());
    let [dead, alive] = ["dead", "alive"].map(|name| format!("gc-{name}-{unique}"));
    let (mut killed, left) = host.run(&dead).await;
    let (mut living, kept) = host.run(&alive).await;
    let own_before = names_in(&host.folder.path().join("tmp")).len();
    killed.kill().unwrap();
    killed.wait().unwrap();

    for (id, command) in [(&dead, "killed"), (&alive, "run")] {
        assert_eq!(host.listed(id).await.unwrap()["command"], command);
    }
    let table = text(&output(host.command(&["ps", "-a"])).await.stdout);
    let row = |id: &str| table.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
    assert!(row(&dead).contains(" killed ") && row(&alive).contains(" run "), "{table}");

    let told = json_of(&host.gc(&["--dry-run", "--output", "json"]).await);
    let runs = part(&told, "runs");
    assert_eq!(runs["goes"], 1, "{told}");
    assert!(runs["stays"].as_u64() >= Some(1) && runs["goes_bytes"].as_u64() > Some(0), "{told}");
    let items = runs["items"].to_string();
    assert!(items.contains(&dead) && !items.contains(&alive), "{items}");
    assert!(items.contains(&host.jobs().join(&left).to_string_lossy().into_owned()), "{items}");
    let table = text(&host.gc(&["--dry-run"]).await.stdout);
    assert!(table.contains("Nothing was removed") && table.contains(&dead), "{table}");
    assert!(host.listed(&dead).await.is_some() && host.jobs().join(&left).exists());

    let removed = host.gc(&[]).await;
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    assert_eq!(host.listed(&dead).await, None);
    let names = names_in(&host.jobs());
    assert!(!names.iter().any(|name| name.contains(&left)), "{names:?}");
    assert!(names.contains(&kept) && names.contains(&format!(".{kept}.lock")), "{names:?}");
    let own_after = names_in(&host.folder.path().join("tmp")).len();
    assert!(own_after < own_before, "the command's own directories are gone, too");
    assert_eq!(host.listed(&alive).await.unwrap()["state"], "running");
    assert_eq!(part(&json_of(&host.gc(&["--output", "json"]).await), "runs")["goes"], 0);

    let pid = nix::unistd::Pid::from_raw(i32::try_from(living.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    within(tokio::task::spawn_blocking(move || living.wait().unwrap())).await.unwrap();
    assert_eq!(host.listed(&alive).await, None);
    let names = names_in(&host.jobs());
    assert!(!names.iter().any(|name| name.contains(&kept)), "{names:?}");
}

#[tokio::test]
async fn a_run_of_another_directory_is_left_alone_and_named() {
    let (host, other, id) =
        (Host::new(), Host::new(), format!("gc-{}", uuid::Uuid::new_v4().simple()));
    let (mut killed, namespace) = other.run(&id).await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let told = json_of(&host.gc(&["--output", "json"]).await);
    let runs = part(&told, "runs");
    let left_alone = runs["left_alone"].to_string();
    assert_eq!(runs["goes"], 0, "{told}");
    assert!(left_alone.contains(&other.jobs().to_string_lossy().into_owned()), "{told}");
    assert!(other.listed(&id).await.is_some());
    assert!(other.gc(&[]).await.status.success());
    assert!(other.listed(&id).await.is_none() && !other.jobs().join(namespace).exists());
}

#[tokio::test]
async fn dead_letters_go_by_the_day_of_their_publication() {
    let rabbit = Rabbit::new();
    drop(rabbit.declared().await);
    let channel = rabbit.foreign_channel().await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let now = Timestamp::now();
    for at in [Some(now - (24 * 8).hours()), Some(now - (24 * 6).hours()), None] {
        let properties = match at {
            Some(at) => {
                BasicProperties::default().with_timestamp(u64::try_from(at.as_second()).unwrap())
            }
            None => BasicProperties::default(),
        };
        let exchange = format!("{}.dead", rabbit.settings.namespace);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, key) = (exchange.as_str().into(), "any".into());
        let sent = channel.basic_publish(exchange, key, options, b"12345", properties);
        sent.await.unwrap().await.unwrap();
    }
    let gc = async |days: Option<&str>, flags: &[&str]| {
        let mut command = on(&rabbit);
        command.args(["gc", "dead-letters", "--output", "json"]).args(flags);
        command.envs(days.map(|days| ("DEAD_LETTERS_MAX_DAYS", days)));
        let said = json_of(&output(command).await);
        let part = part(&said, "dead letters");
        ["goes", "goes_bytes", "stays"].map(|name| part[name].as_u64().unwrap())
    };
    assert_eq!(gc(None, &[]).await, [0, 0, 3], "they are kept for ever");
    assert_eq!(gc(Some("7"), &["--dry-run"]).await, [1, 5, 2]);
    assert_eq!(gc(Some("7"), &[]).await, [1, 5, 2]);
    assert_eq!(gc(Some("1"), &[]).await, [1, 5, 1], "one does not say when it was published");
    assert_eq!(gc(Some("1"), &[]).await, [0, 0, 1]);
}

#[tokio::test]
async fn what_is_stored_is_counted_and_the_setting_that_governs_it_is_named() {
    let namespace = s3::unique("gc");
    let settings = s3::settings();
    let store: Arc<dyn ObjectStore> = Arc::new(S3Store::new(&settings).unwrap());
    store.ensure_buckets().await.unwrap();
    let journal = Journal::new(Arc::clone(&store), namespace.clone());
    let finished = JobRecord { state: RecordState::Finished, ..sample_record("ended", 1) };
    journal.create(&finished).await.unwrap().unwrap();
    let gc = |days: Option<&str>, words: &[&str]| {
        let mut command = longshore();
        command
            .env("MINIO_ENDPOINT", &settings.endpoint)
            .env("MINIO_ACCESS_KEY", &settings.access_key)
            .env("MINIO_SECRET_KEY", &settings.secret_key)
            .env("MINIO_STATE_BUCKET", &settings.state_bucket)
            .env("MINIO_BACKTESTS_BUCKET", &settings.results_bucket)
            .env("AMQP_NAMESPACE", &namespace)
            .envs(days.map(|days| ("RECORD_RETENTION_DAYS", days)))
            .arg("gc")
            .args(words);
        output(command)
    };
    let kept = json_of(&gc(None, &["records", "--output", "json"]).await);
    let records = part(&kept, "records");
    assert_eq!(
        (&records["goes"], &records["stays"], &records["days"]),
        (&0.into(), &1.into(), &Value::Null)
    );
    assert!(records["stays_bytes"].as_u64() > Some(100), "{records}");
    let young = text(&gc(Some("1"), &["records", "results", "--dry-run"]).await.stdout);
    let row = |what: &str| young.lines().find(|line| line.starts_with(what)).unwrap().to_owned();
    assert!(row("records ").ends_with("RECORD_RETENTION_DAYS=1"), "{young}");
    assert!(row("results ").ends_with("RESULT_RETENTION_DAYS unset"), "{young}");
    assert!(row("artifacts ").ends_with("ARTIFACT_RETENTION_DAYS unset"), "{young}");
    assert!(young.contains("What has an unset setting is kept for ever."), "{young}");
    assert!(young.lines().all(|line| line.chars().count() <= 80), "{young}");
    for key in store.list(Bucket::State, &namespace).await.unwrap() {
        store.delete(Bucket::State, &key).await.unwrap();
    }
}

/// An image of its own, made from a container without being run.
async fn image(docker: &Docker, repository: &str, tag: &str) {
    let body = ContainerCreateBody {
        image: Some("python:3.11-slim".to_owned()),
        cmd: Some(vec![tag.to_owned()]),
        ..Default::default()
    };
    let made = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
    let options = CommitContainerOptionsBuilder::default()
        .container(&made.id)
        .repo(repository)
        .tag(tag)
        .build();
    docker.commit_container(options, ContainerConfig::default()).await.unwrap();
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(&made.id, Some(force)).await.unwrap();
}

#[tokio::test]
async fn only_images_that_were_replaced_and_that_no_container_has_go() {
    let docker = servers::engine().await;
    let (host, repository) = (Host::new(), s3::unique("longshore-tests-gc"));
    for tag in ["old", "used"] {
        image(&docker, &repository, tag).await;
    }
    let tag = TagImageOptionsBuilder::default().repo(&repository).tag("new").build();
    docker.tag_image("python:3.11-slim", Some(tag)).await.unwrap();
    let body = ContainerCreateBody {
        image: Some(format!("{repository}:used")),
        labels: Some(HashMap::from([("longshore.test".to_owned(), repository.clone())])),
        ..Default::default()
    };
    let user = docker.create_container(None::<CreateContainerOptions>, body).await.unwrap();
    let gc = async |flags: &[&str]| {
        let mut command = host.command(&["gc", "images", "--output", "json"]);
        let named = format!("{repository}:new");
        command.env("PYTHON_IMAGE", &named).env("NODE_IMAGE", &named).args(flags);
        let said = json_of(&output(command).await);
        part(&said, "images")["items"].clone()
    };
    let expected = serde_json::json!([format!("{repository}:old")]);
    assert_eq!(gc(&["--dry-run"]).await, expected);
    assert_eq!(gc(&[]).await, expected);
    assert_eq!(gc(&[]).await, serde_json::json!([]));
    let all = ListContainersOptionsBuilder::default().all(true).build();
    let containers = docker.list_containers(Some(all)).await.unwrap();
    assert!(containers.iter().any(|one| one.id.as_ref() == Some(&user.id)));
    let force = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(&user.id, Some(force)).await.unwrap();
    for tag in ["used", "new"] {
        let no = RemoveImageOptionsBuilder::default().build();
        let name = format!("{repository}:{tag}");
        docker.remove_image(&name, Some(no), None).await.unwrap();
    }
}
