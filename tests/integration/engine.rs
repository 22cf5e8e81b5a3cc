//! `DockerOrchestrator` against the real engine.

mod output;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use longshore::job::HealthCheck;
use longshore::logs::Frame;
use longshore::metrics::Metrics;
use longshore::runner::Progress;
use longshore::runner::container::{Bind, ContainerSpec};
use longshore::runner::docker::DockerOrchestrator;
use longshore::runner::orchestrator::{ContainerOrchestrator, ContainerState, EngineError};
use longshore::settings::{RunnerSettings, User};

use longshore_testing::bench::{Bench, EngineProxy, NODE, settings};

/// Waits for the first line, so that the program is known to be past what comes before it.
async fn first_line(bench: &Bench, id: &str) -> Frame {
    bench.engine.follow_logs(id).next().await.unwrap().unwrap()
}

#[tokio::test]
async fn the_engine_reports_its_version() {
    let bench = Bench::new().await;
    let version = bench.engine.check().await.unwrap();
    assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable_and_says_where() {
    for host in ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"] {
        let settings = RunnerSettings { docker_host: Some(host.to_owned()), ..settings() };
        let error = DockerOrchestrator::connect(&settings, Progress::Log, &Metrics::default())
            .await
            .err()
            .unwrap();
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(host), "{error}");
    }
}

#[tokio::test]
async fn a_run_gives_exit_code_output_and_result_and_leaves_nothing() {
    let bench = Bench::new().await;
    let directory = tempfile::tempdir().unwrap();
    let script = "echo out; echo err >&2; pwd; echo '{\"a\":1}' > /bot/result.json; exit 3";
    let mut spec = bench.shell("run", script);
    let bind = Bind {
        host: directory.path().to_path_buf(),
        container: "/bot".to_owned(),
        read_only: false,
    };
    spec.binds = vec![bind];
    let run = bench.engine.run_and_wait(&spec, Some("/bot/result.json")).await.unwrap();
    assert_eq!(run.status.exit_code, Some(3));
    assert_eq!(run.status.state, ContainerState::Exited);
    // The engine stamps the start when it has heard of it: of a short run perhaps after its end.
    assert!(run.status.finished_at.is_some() && run.status.started_at.is_some());
    assert!(!run.status.oom_killed);
    assert!(["out\n", "err\n", "/tmp\n"].iter().all(|line| run.output.contains(line)));
    assert_eq!(run.result.unwrap(), "{\"a\":1}\n");
    assert_eq!(bench.count().await, 0);
}

#[tokio::test]
async fn both_images_run_with_every_exit_code() {
    let bench = Bench::new().await;
    for (suffix, image, command, code) in [
        ("ok", NODE, ["node", "-e", "process.exit(0)"], 0),
        ("node", NODE, ["node", "-e", "process.exit(9)"], 9),
        (
            "python",
            longshore_testing::bench::PYTHON,
            ["python", "-c", "raise SystemExit(255)"],
            255,
        ),
    ] {
        let spec = ContainerSpec { image: image.to_owned(), ..bench.spec(suffix, &command) };
        let id = bench.start(&spec).await;
        assert_eq!(bench.engine.wait(&id).await.unwrap().exit_code, Some(code));
        // Once more, for the one who comes late.
        assert_eq!(bench.engine.wait(&id).await.unwrap().exit_code, Some(code));
        assert_eq!(bench.engine.get_status(&id).await.unwrap().exit_code, Some(code));
    }
}

#[tokio::test]
async fn compat_6_running_out_of_memory_differs_from_a_kill() {
    let bench = Bench::new().await;
    // Docker 20.10 hears of the end and of its reason in two messages. On a busy machine the reason may come too
    // late to be told; what the helper notes in a job's container does not depend on that.
    let mut is_told = false;
    for number in 0..10 {
        let name = format!("oom-{number}");
        let mut spec = bench.spec(&name, &["python", "-c", "b'x' * (256 << 20)"]);
        spec.limits.memory_mb = 24;
        let id = bench.start(&spec).await;
        let status = bench.engine.wait(&id).await.unwrap();
        assert_eq!(status.exit_code, Some(137));
        is_told = status.oom_killed;
        if is_told {
            break;
        }
    }
    assert!(is_told, "the engine never told that a container ran out of memory");

    let id =
        bench.start(&bench.shell("kill", "kill -9 $$; python -c 'import os; os.abort()'")).await;
    assert!(!bench.engine.wait(&id).await.unwrap().oom_killed);
}

#[tokio::test]
async fn compat_13_a_container_whose_start_failed_is_removed() {
    let bench = Bench::new().await;
    let error = bench.engine.create_and_start(&bench.spec("bad", &["/no/such/program"])).await;
    let error = error.unwrap_err();
    assert!(matches!(error, EngineError::Operation { operation: "starting", .. }), "{error}");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    assert_eq!(bench.count().await, 0);

    let mut spec = bench.shell("nowhere", "true");
    let host = Path::new("/no/such/directory").to_path_buf();
    spec.binds = vec![Bind { host, container: "/bot".to_owned(), read_only: false }];
    let error = bench.engine.create_and_start(&spec).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/directory"), "{error}");
    assert_eq!(bench.count().await, 0);
    assert!(!Path::new("/no/such/directory").exists());
}

#[tokio::test]
async fn a_missing_image_is_a_pull_that_has_to_be_done_again() {
    let bench = Bench::new().await;
    let image = "longshore-no-such-image:1".to_owned();
    let spec = ContainerSpec { image, ..bench.shell("missing", "true") };
    let error = bench.engine.create_and_start(&spec).await.unwrap_err();
    assert!(matches!(error, EngineError::Pull { .. }) && error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_name_clash_is_reported_and_leaves_the_first_alone() {
    let bench = Bench::new().await;
    let spec = bench.shell("same", "sleep 60");
    let id = bench.start(&spec).await;
    let error = bench.engine.create_and_start(&spec).await.unwrap_err();
    assert_eq!(error, EngineError::NameTaken { name: spec.name.clone() });
    assert_eq!(bench.engine.get_status(&id).await.unwrap().state, ContainerState::Running);
    assert_eq!(bench.engine.get_status(&spec.name).await.unwrap().id, id);
}

#[tokio::test]
async fn compat_3_a_program_that_heeds_sigterm_ends_by_itself_however_long_it_may_take() {
    let bench = Bench::new().await;
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done";
    let id = bench.start(&bench.shell("stop", script)).await;
    first_line(&bench, &id).await;
    // Longer than the client waits for any answer.
    bench.engine.stop(&id, Duration::from_mins(10)).await.unwrap();
    let status = bench.engine.get_status(&id).await.unwrap();
    assert_eq!((status.state, status.exit_code), (ContainerState::Exited, Some(7)));
    assert_eq!(bench.engine.get_logs(&id, None).await.unwrap(), "ready\nbye\n");
    bench.engine.stop(&id, Duration::from_secs(1)).await.unwrap();
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed() {
    let bench = Bench::new().await;
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let id = bench.start(&bench.shell("deaf", script)).await;
    first_line(&bench, &id).await;
    bench.engine.stop(&id, Duration::from_millis(300)).await.unwrap();
    let status = bench.engine.get_status(&id).await.unwrap();
    assert_eq!((status.exit_code, status.oom_killed), (Some(137), false));
}

#[tokio::test]
async fn a_missing_container_is_reported_and_its_removal_is_no_error() {
    let bench = Bench::new().await;
    let engine = &bench.engine;
    let missing = |error| matches!(error, EngineError::NoContainer { .. });
    assert!(missing(engine.stop("longshore-nobody", Duration::ZERO).await.unwrap_err()));
    assert!(missing(engine.wait("longshore-nobody").await.unwrap_err()));
    assert!(missing(engine.get_status("longshore-nobody").await.unwrap_err()));
    assert!(missing(engine.get_logs("longshore-nobody", None).await.unwrap_err()));
    assert!(missing(engine.follow_logs("longshore-nobody").next().await.unwrap().unwrap_err()));
    assert!(missing(engine.copy_from_container("longshore-nobody", "/x", 1).await.unwrap_err()));
    engine.remove("longshore-nobody").await.unwrap();
}

#[tokio::test]
async fn several_may_remove_a_running_container_at_once() {
    let bench = Bench::new().await;
    let id = bench.start(&bench.shell("rm", "sleep 60")).await;
    let removals = (0..4).map(|_| bench.engine.remove(&id));
    futures_util::future::try_join_all(removals).await.unwrap();
    assert_eq!(bench.count().await, 0);
}

#[tokio::test]
async fn a_file_is_copied_from_a_running_and_from_an_ended_container() {
    let bench = Bench::new().await;
    let script = "cd /tmp; head -c 100000 /dev/zero > big; mkdir dir; ln -s big link; \
        mkfifo pipe; : > empty; echo ready; read -r line < pipe";
    let mut spec = bench.shell("copy", script);
    spec.profile.read_only_root = false;
    let id = bench.start(&spec).await;
    first_line(&bench, &id).await;
    let copy = |path, max| bench.engine.copy_from_container(&id, path, max);
    for round in ["running", "ended"] {
        assert_eq!(copy("/tmp/big", 100_000).await.unwrap().unwrap(), vec![0; 100_000], "{round}");
        assert_eq!(copy("/tmp/empty", 0).await.unwrap().unwrap(), "");
        assert_eq!(copy("/tmp/nothing", 10).await.unwrap(), None);
        assert_eq!(copy("/no/such/directory/file", 10).await.unwrap(), None);
        for (path, max, problem) in [
            ("/tmp/big", 99_999, "has 100000 bytes, more than the 99999 allowed"),
            ("/tmp/dir", 10, "is a directory, not a regular file"),
            ("/", 10, "is a directory, not a regular file"),
            ("/tmp/link", 200_000, "is a symbolic link, not a regular file"),
            ("/tmp/pipe", 10, "is of type Fifo, not a regular file"),
        ] {
            let error = copy(path, max).await.unwrap_err();
            assert!(matches!(error, EngineError::BadFile { .. }), "{error}");
            assert!(error.to_string().ends_with(problem), "{round}: {error}");
        }
        bench.engine.stop(&id, Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn compat_1_a_list_shows_only_what_carries_every_label() {
    let (mine, other) = (Bench::new().await, Bench::new().await);
    let id = mine.start(&mine.shell("a", "sleep 60")).await;
    let ended = mine.start(&mine.shell("b", "true")).await;
    other.start(&other.shell("c", "sleep 60")).await;
    mine.engine.wait(&ended).await.unwrap();
    let mut found = mine.engine.list_containers(&mine.labels()).await.unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let found: Vec<_> = found.iter().map(|c| (c.id.as_str(), c.state)).collect();
    let expected =
        [(id.as_str(), ContainerState::Running), (ended.as_str(), ContainerState::Exited)];
    assert_eq!(found, expected);
    let mut both = mine.labels();
    both.insert("runtime.managed".to_owned(), "true".to_owned());
    assert_eq!(mine.engine.list_containers(&both).await.unwrap(), []);
}

#[tokio::test]
async fn a_failing_health_check_is_seen() {
    let bench = Bench::new().await;
    let mut spec = bench.shell("health", "sleep 60");
    spec.health_check = Some(HealthCheck {
        command: vec!["test".to_owned(), "-e".to_owned(), "/tmp/a b".to_owned()],
        interval_seconds: 1,
        timeout_seconds: 5,
        retries: 1,
        start_period_seconds: 0,
    });
    let id = bench.start(&spec).await;
    let spoken = async {
        loop {
            if let Some(healthy) = bench.engine.get_status(&id).await.unwrap().healthy {
                break healthy;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(!tokio::time::timeout(Duration::from_mins(1), spoken).await.unwrap());
}

#[tokio::test]
async fn compat_15_a_program_has_no_capabilities_and_can_be_another_user() {
    let bench = Bench::new().await;
    let script = "id -u; id -g; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status";
    let mut spec = bench.shell("caps", script);
    spec.user = User { uid: 10_001, gid: 10_002 };
    let run = bench.engine.run_and_wait(&spec, None).await.unwrap();
    let words: Vec<_> = run.output.split_whitespace().collect();
    let none = "0000000000000000";
    let expected = ["10001", "10002", "CapEff:", none, "CapBnd:", none, "NoNewPrivs:", "1"];
    assert_eq!(words, expected);
}

#[tokio::test]
async fn a_user_that_another_container_has_is_not_given_to_a_second_one() {
    let bench = Bench::new().await;
    let user = User { uid: 1_234_567, gid: 1_234_567 };
    let [mut first, mut second] = ["1", "2"].map(|name| bench.shell(name, "sleep 60"));
    for spec in [&mut first, &mut second] {
        spec.run_as(user, true);
    }
    let id = bench.start(&first).await;
    let taken = EngineError::UserTaken { user: user.uid };
    assert_eq!(bench.engine.create_and_start(&second).await, Err(taken.clone()));
    // Also of one that has ended, until it is removed.
    bench.engine.stop(&id, Duration::from_secs(1)).await.unwrap();
    assert_eq!(bench.engine.create_and_start(&second).await, Err(taken));
    assert_eq!(bench.count().await, 1, "what is refused leaves nothing");
    bench.engine.remove(&id).await.unwrap();
    bench.start(&second).await;
}

#[tokio::test]
async fn only_so_many_containers_are_started_at_a_time() {
    let proxy = EngineProxy::new().await;
    let settings = RunnerSettings { max_concurrent_starts: 2, ..proxy.settings() };
    let bench = Bench::with(&settings).await;
    let specs: Vec<_> = (0..8).map(|n| bench.shell(&n.to_string(), "sleep 60")).collect();
    futures_util::future::join_all(specs.iter().map(|spec| bench.start(spec))).await;
    assert_eq!(bench.count().await, 8);
    assert!((1..=2).contains(&proxy.most_starts()), "{}", proxy.most_starts());
}

#[tokio::test]
async fn a_wait_outlives_an_engine_that_goes_away_and_comes_back() {
    let mut proxy = EngineProxy::new().await;
    let bench = Bench::with(&proxy.settings()).await;
    let id = bench.start(&bench.shell("outage", "sleep 3; exit 5")).await;
    let engine = Arc::clone(&bench.engine);
    let waited = {
        let id = id.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move { engine.wait(&id).await });
        tasks
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.cut();
    let error = bench.engine.get_status(&id).await.unwrap_err();
    assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.restore();
    let statuses = waited.join_all().await;
    assert_eq!(statuses[0].as_ref().unwrap().exit_code, Some(5));
}
