use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::job::archive::ArchiveCaps;
use crate::job::judging::exit_note::EXIT_NOTE;
use crate::job::{Job, ResultStatus, Verdict, parse_executable};
use crate::logs::{Frame, LogCollector, Stream};
use crate::metrics::Metrics;
use crate::runner::orchestrator::{ContainerInfo, ContainerOrchestrator, ContainerState};
use crate::runner::recorder::{Call, Recorder, Script};
use crate::settings::{Loader, LogSettings, Reader, RunnerSettings, Sources, Users, bounds};
use crate::storage::{Bucket, DirectoryStore, Journal, ObjectStore};

const LEASE: Duration = Duration::from_secs(15);

/// A runner over a scripted engine, with its store and its jobs' directories in one place.
struct Fixture {
    root: TempDir,
    engine: Arc<Recorder>,
    runner: Arc<DockerRunner>,
    settings: RunnerSettings,
    logs: LogSettings,
}

/// Notes the states that a run goes through.
#[derive(Default)]
struct States(Mutex<Vec<State>>);

impl RunObserver for States {
    fn state(&self, state: State, _: Option<&str>) {
        self.0.lock().unwrap().push(state);
    }
}

fn zip_of(path: &Path) -> PathBuf {
    let code = path.join("code");
    std::fs::create_dir(&code).unwrap();
    std::fs::write(code.join("main.py"), "def main(id, config): return {}").unwrap();
    let zip = path.join("code.zip");
    crate::job::archive::zip_directory(&code, &zip, ArchiveCaps::new(10, 1000)).unwrap();
    zip
}

impl Fixture {
    async fn new(script: Script) -> Self {
        let root = tempfile::tempdir().unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::new(&root.path().join("s3")));
        store.ensure_buckets().await.unwrap();
        let zip = zip_of(root.path());
        store.upload(Bucket::Code, "code.zip", &zip, "application/zip").await.unwrap();
        let sections = |reader: &Reader<'_>| (reader.runner(), reader.logs());
        let (mut settings, logs) = Loader::new(Sources::default()).read(sections).unwrap();
        settings.temp_dir = root.path().join("jobs");
        let engine = Arc::new(Recorder::new(script));
        let collector = Arc::new(LogCollector::new(Arc::clone(&store), logs.clone()));
        let shared: Arc<dyn ContainerOrchestrator> = Arc::<Recorder>::clone(&engine);
        let runner = DockerRunner::new(Site {
            engine: shared,
            states: Journal::new(Arc::clone(&store), "ns".to_owned()),
            store,
            logs: collector,
            settings: settings.clone(),
            namespace: "ns".to_owned(),
            worker: "w".to_owned(),
            lease: LEASE,
            lock: None,
            metrics: Metrics::default(),
        });
        Self { root, engine, runner: Arc::new(runner), settings, logs }
    }

    fn run(&self, long_running: bool) -> Run {
        let message = json!({
            "id": "job", "run_id": "r1", "runtime": "python3.11", "entrypoint": "bot",
            "entrypoint_files": {"bot": "main.py"}, "file_path": "code.zip", "config": {},
            "is_long_running": long_running, "persist_results": true,
        });
        let executable = parse_executable(message.to_string().as_bytes()).unwrap();
        let job = Job::validate(executable, &bounds(&self.settings, &self.logs), None).unwrap();
        Run { job: Arc::new(job), attempt: 1, segment: 3, is_new: false }
    }

    /// Whether any job has left a directory.
    fn is_clean(&self) -> bool {
        let jobs = self.root.path().join("jobs/ns");
        std::fs::read_dir(jobs).map_or(true, |mut entries| entries.next().is_none())
    }

    /// What the helper in a container notes as soon as it listens.
    fn helper_begins(&self, run: &Run) {
        let root = self.runner.site.directory_of(run).root().to_owned();
        std::fs::write(root.join(EXIT_NOTE), "begun\n").unwrap();
    }

    fn asked(&self, call: &Call) -> bool {
        self.engine.calls().contains(call)
    }
}

fn gives(result: &str) -> Script {
    let frame = Frame {
        stream: Stream::Stdout,
        time: jiff::Timestamp::now(),
        bytes: Bytes::from_static(b"working\n"),
        after_gap: false,
    };
    let files = [("/bot/result.json".to_owned(), Bytes::from(result.to_owned()))];
    Script { frames: vec![frame], files: files.into(), ..Script::default() }
}

#[tokio::test]
async fn a_terminating_run_goes_the_whole_way_and_leaves_nothing() {
    let fixture = Fixture::new(gives(r#"{"sharpe": 1.5}"#)).await;
    let states = States::default();
    let result = fixture.runner.start_container(&fixture.run(false), &states).await.unwrap();
    assert_eq!((result.status, result.verdict), (ResultStatus::Success, Some(Verdict::Succeeded)));
    assert_eq!(result.result.unwrap().as_str(), r#"{"sharpe":1.5}"#);
    assert_eq!(result.output, "working\n");
    assert_eq!(result.objects.result_key.as_deref(), Some("job/analysis.json"));
    assert_eq!(result.objects.output_key.as_deref(), Some("job/logs.txt"));
    assert_eq!(*states.0.lock().unwrap(), [State::Preparing, State::Running]);
    assert_eq!(
        fixture.engine.calls(),
        [
            Call::Pull("python:3.11-slim".to_owned()),
            Call::Start("ns.job.1".to_owned()),
            Call::Follow("ns.job.1".to_owned()),
            Call::Wait("ns.job.1".to_owned()),
            Call::Remove("ns.job.1".to_owned()),
        ]
    );
    assert!(fixture.is_clean());
    assert!(!fixture.runner.is_active(&"job".parse().unwrap()));
}

#[tokio::test]
async fn a_bot_is_up_at_once_and_can_be_asked_about_until_it_is_stopped() {
    let script = Script { runs_until_stopped: true, ..gives("") };
    let fixture = Fixture::new(script).await;
    let (run, id) = (fixture.run(true), "job".parse().unwrap());
    let up = fixture.runner.start_container(&run, &()).await.unwrap();
    assert_eq!((up.status, up.verdict), (ResultStatus::Running, None));
    assert_eq!(up.container_id.as_deref(), Some("ns.job.1"));
    assert!(fixture.runner.get_container_status(&id).await.unwrap().is_some());
    let logs = fixture.runner.get_container_logs(&id, None).await.unwrap();
    assert_eq!(logs.as_deref(), Some("working\n"));

    let reason = Some("enough".to_owned());
    assert!(fixture.runner.stop_container(&id, reason, Duration::ZERO).await.unwrap());
    let ended = fixture.runner.wait(&id, &()).await.unwrap();
    assert_eq!(ended.verdict, Some(Verdict::Stopped));
    assert_eq!((ended.exit_code, ended.result), (Some(143), None));
    fixture.runner.release(&id).await;
    assert!(fixture.asked(&Call::Remove("ns.job.1".to_owned())));
    assert!(fixture.is_clean());
    assert!(!fixture.runner.stop_container(&id, None, Duration::ZERO).await.unwrap());
}

#[tokio::test]
async fn an_overdue_run_is_stopped_and_its_end_reported_without_delay() {
    let fixture = Fixture::new(Script { runs_until_stopped: true, ..gives("") }).await;
    let mut run = fixture.run(false);
    Arc::make_mut(&mut run.job).timeout = Some(Duration::from_mins(1));
    fixture.runner.launch(&run, &()).await.unwrap();
    fixture.helper_begins(&run);
    // From here on time passes only where somebody waits for it.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let ended = fixture.runner.wait(&run.job.id, &()).await.unwrap();
    assert_eq!(ended.verdict, Some(Verdict::TimedOut));
    assert!(begun.elapsed() <= Duration::from_secs(61), "{:?}", begun.elapsed());
    fixture.runner.release(&run.job.id).await;
    assert!(fixture.is_clean());
}

/// Until process 1 has asked for its signals, the kernel drops a SIGTERM for it.
#[tokio::test]
async fn a_stop_waits_until_the_helper_listens_and_not_for_ever() {
    let is_stop = |call: &Call| matches!(call, Call::Stop(..));
    for begins in [true, false] {
        let fixture = Fixture::new(Script { runs_until_stopped: true, ..gives("") }).await;
        let run = fixture.run(true);
        fixture.runner.launch(&run, &()).await.unwrap();
        let grace = if begins { Duration::from_mins(1) } else { Duration::from_millis(400) };
        let begin = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!fixture.engine.calls().iter().any(is_stop), "nobody listens yet");
            if begins {
                fixture.helper_begins(&run);
            }
        };
        let stop = fixture.runner.stop_container(&run.job.id, None, grace);
        let (stopped, ()) = tokio::join!(stop, begin);
        assert!(stopped.unwrap());
        assert!(fixture.engine.calls().iter().any(is_stop));
    }
}

/// compat.md 2: a start without a mark gave two bots.
#[tokio::test]
async fn compat_2_a_second_start_of_an_active_job_touches_nothing() {
    let fixture = Fixture::new(Script { runs_until_stopped: true, ..gives("") }).await;
    let run = fixture.run(true);
    fixture.runner.launch(&run, &()).await.unwrap();
    let calls = fixture.engine.calls().len();
    let second = fixture.runner.launch(&run, &()).await;
    assert!(matches!(second, Err(RunFailure::AlreadyActive)));
    assert_eq!(fixture.engine.calls().len(), calls);
    assert!(fixture.runner.is_active(&run.job.id));
}

/// compat.md 3: a stop that failed was swallowed, then a second instance started.
#[tokio::test]
async fn compat_3_a_failed_stop_is_reported_and_the_job_stays_active() {
    let stop_error = Some(EngineError::Operation {
        operation: "stopping",
        container: "ns.job.1".to_owned(),
        reason: "no answer".to_owned(),
    });
    let script = Script { runs_until_stopped: true, stop_error, ..gives("") };
    let fixture = Fixture::new(script).await;
    let run = fixture.run(true);
    fixture.runner.launch(&run, &()).await.unwrap();
    let stopped = fixture.runner.stop_container(&run.job.id, None, Duration::ZERO).await;
    assert_eq!(stopped.unwrap_err().to_string(), "stopping ns.job.1 failed: no answer");
    assert!(fixture.runner.is_active(&run.job.id));
}

#[tokio::test]
async fn whatever_fails_on_the_way_nothing_is_left_behind() {
    let pull = EngineError::Pull { image: "i".to_owned(), reason: "no".to_owned() };
    let start = EngineError::Operation {
        operation: "starting",
        container: "c".to_owned(),
        reason: "no".to_owned(),
    };
    let scripts = [
        Script { pull_error: Some(pull), ..Script::default() },
        Script { start_error: Some(start), ..Script::default() },
    ];
    for script in scripts {
        let fixture = Fixture::new(script).await;
        let run = fixture.run(false);
        let failure = fixture.runner.start_container(&run, &()).await.unwrap_err();
        assert_eq!(failure.verdict(), Some(Verdict::Unavailable), "{failure}");
        assert!(fixture.is_clean());
        assert!(!fixture.runner.is_active(&run.job.id));
    }
}

#[tokio::test]
async fn missing_code_is_the_publishers_fault_and_asks_nothing_of_the_engine() {
    let fixture = Fixture::new(Script::default()).await;
    let mut run = fixture.run(false);
    Arc::make_mut(&mut run.job).code_key = "absent.zip".to_owned();
    let failure = fixture.runner.start_container(&run, &()).await.unwrap_err();
    assert_eq!(failure.verdict(), Some(Verdict::Rejected));
    assert!(failure.to_string().contains("absent.zip"), "{failure}");
    assert!(fixture.engine.calls().is_empty());
    assert!(fixture.is_clean());
}

#[tokio::test]
async fn a_large_result_travels_by_its_key_alone() {
    let value =
        json!({"curve": "x".repeat(crate::job::judging::result_text::MAX_INLINE_RESULT_BYTES)});
    let fixture = Fixture::new(gives(&value.to_string())).await;
    let result = fixture.runner.start_container(&fixture.run(false), &()).await.unwrap();
    assert_eq!(result.verdict, Some(Verdict::Succeeded));
    assert_eq!(result.result, None);
    let key = result.objects.result_key.unwrap();
    let stored = fixture.root.path().join("s3/test-results").join(key);
    assert_eq!(std::fs::read_to_string(stored).unwrap(), value.to_string());
}

#[tokio::test]
async fn of_an_attempt_whose_removal_was_broken_off_nothing_is_left() {
    let fixture = Fixture::new(Script::default()).await;
    let run = fixture.run(false);
    let directory = fixture.runner.site().directory_of(&run);
    // At whatever point it was: nothing removed, all but half a download, all but the job's folder.
    let (folder, zip) = (directory.root().parent().unwrap(), directory.archive());
    let incoming = zip.parent().unwrap();
    for leftovers in [directory.root(), incoming, folder] {
        std::fs::create_dir_all(leftovers).unwrap();
        if leftovers != folder {
            std::fs::write(leftovers.join(".longshore-x.part"), "x").unwrap();
        }
        fixture.runner.site().remove_leftover_directories(&run, None).await;
        assert!(fixture.is_clean(), "{}", leftovers.display());
    }
    directory.create().await.unwrap();
    fixture.runner.site().remove_leftover_directories(&run, Some(run.attempt)).await;
    assert!(directory.root().exists(), "it is in use");
}

#[tokio::test]
async fn a_user_that_another_container_has_is_changed_for_a_free_one() {
    let info = |uid: u32| ContainerInfo {
        id: uid.to_string(),
        name: uid.to_string(),
        image: String::new(),
        state: ContainerState::Exited,
        created_at: None,
        labels: [("runtime.managed", "true".to_owned()), ("runtime.user", uid.to_string())]
            .map(|(label, value)| (label.to_owned(), value))
            .into(),
    };
    let Users::Range { first, last } = Loader::new(Sources::default())
        .read(|reader: &Reader<'_>| reader.runner().profile.users)
        .unwrap()
    else {
        panic!("the default is a range");
    };
    // Of all users but one there is a container.
    let containers = (first..last).map(info).collect();
    let script = Script { users_taken: 1, containers, ..gives("{}") };
    let fixture = Fixture::new(script).await;
    let result = fixture.runner.start_container(&fixture.run(false), &()).await.unwrap();
    assert_eq!(result.verdict, Some(Verdict::Succeeded));
    let spec = &fixture.engine.specs()[0];
    assert!(spec.is_only_users);
    assert_eq!((spec.user.uid, spec.user.gid), (last, last));
    assert_eq!(spec.labels["runtime.user"], last.to_string());
}

#[tokio::test]
async fn a_job_for_which_no_user_is_free_says_so_and_leaves_nothing() {
    let fixture = Fixture::new(Script { users_taken: usize::MAX, ..gives("{}") }).await;
    let run = fixture.run(false);
    let failure = fixture.runner.start_container(&run, &()).await.unwrap_err();
    assert_eq!(failure.verdict(), Some(Verdict::Unavailable));
    assert!(failure.to_string().contains("BOT_USER"), "{failure}");
    assert!(fixture.is_clean());
}
