//! The commands of a client against the real broker and the real store.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use longshore::broker::{Broker, BrokerSink, EventSink as _, Flow, Inbox};
use longshore::job::{Event, EventData, Executable, parse_executable, parse_stop, refusal_id};
use longshore::storage::{Bucket, ObjectStore as _, S3Store};
use serde_json::Value;

use super::{longshore, text};
use longshore_testing::rabbit::{Rabbit, within};
use longshore_testing::s3;

/// The program on the namespace of a test.
pub(super) fn on(rabbit: &Rabbit) -> Command {
    let mut command = longshore();
    command
        .env("AMQP_URL", &rabbit.settings.url)
        .env("AMQP_NAMESPACE", &rabbit.settings.namespace)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Waits for the end of a program without holding up the runtime.
async fn output_of(child: Child) -> Output {
    within(tokio::task::spawn_blocking(|| child.wait_with_output().unwrap())).await.unwrap()
}

/// The body of the next message in an inbox, acknowledged.
pub(super) async fn take(
    broker: &Broker,
    inbox: Inbox,
    rabbit: &Rabbit,
) -> (Vec<u8>, Option<String>) {
    let mut consumer = broker.consumer(inbox, Flow::Prefetch(1), rabbit.shutdown.child_token());
    let delivery = within(consumer.next()).await.unwrap();
    within(delivery.ack()).await.unwrap();
    let taken = (delivery.body.to_vec(), delivery.properties.message_id.clone());
    consumer.close().await;
    taken
}

/// An example event with another job and run.
pub(super) fn event(name: &str, executable: &Executable) -> Event {
    let path = format!("{}/schemas/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut event: Event = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    event.subject = Some(executable.id.to_string());
    match &mut event.data {
        EventData::Status(status) => {
            status.id.clone_from(&executable.id);
            status.run_id.clone_from(&executable.run_id);
        }
        EventData::Result(result) => {
            result.id = Some(executable.id.clone());
            result.run_id.clone_from(&executable.run_id);
        }
    }
    event
}

async fn publish(broker: &Broker, rabbit: &Rabbit, event: &Event) {
    let sink = BrokerSink::new(std::sync::Arc::new(broker.clone()), rabbit.shutdown.child_token());
    within(sink.publish(event, None)).await.unwrap();
}

#[tokio::test]
async fn start_with_wait_follows_a_run_and_exits_by_its_verdict() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    for (example, code) in [("result.succeeded", 0), ("result.failed", 10), ("result.lost", 16)] {
        let child = on(&rabbit)
            .args(["start", "--id", "run-1", "--file", "main.py", "--code", "a.zip", "--wait"])
            .spawn()
            .unwrap();
        let (body, message_id) = take(&broker, Inbox::StartTerminating, &rabbit).await;
        let executable = parse_executable(&body).unwrap();
        assert!(message_id.is_some() && executable.run_id.is_some());

        let mut other = event("result.out-of-memory", &executable);
        if let EventData::Result(result) = &mut other.data {
            result.run_id = Some("another-run".parse().unwrap());
        }
        publish(&broker, &rabbit, &other).await;
        publish(&broker, &rabbit, &event("status.running", &executable)).await;
        let result = event(example, &executable);
        publish(&broker, &rabbit, &result).await;

        let output = output_of(child).await;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains("running        run-1"), "{told}");
        let EventData::Result(result) = result.data else { unreachable!("it is a result") };
        assert_eq!(text(&output.stdout), result.output);
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn start_with_wait_takes_no_refusal_of_another_message_for_the_end_of_its_run() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    for is_ours in [false, true] {
        let child = on(&rabbit)
            .args(["start", "--id", "run-1", "--file", "main.py", "--code", "a.zip", "--wait"])
            .args(["--run-id", "known"])
            .spawn()
            .unwrap();
        let inbox = Inbox::StartTerminating;
        let mut consumer = broker.consumer(inbox, Flow::Prefetch(1), rabbit.shutdown.child_token());
        let delivery = within(consumer.next()).await.unwrap();
        within(delivery.ack()).await.unwrap();
        consumer.close().await;
        let executable = parse_executable(&delivery.body).unwrap();
        let trace = delivery.properties.traceparent.clone().expect("the start has a trace");
        let refusal = |trace: Option<String>| {
            let mut event = event("result.rejected", &executable);
            event.traceparent = trace;
            event
        };
        let others = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        publish(&broker, &rabbit, &refusal(Some(others))).await;
        publish(&broker, &rabbit, &event("status.accepted", &executable)).await;
        publish(&broker, &rabbit, &refusal(None)).await;
        // A trace can be read in the events, and copied.
        publish(&broker, &rabbit, &refusal(Some(trace.clone()))).await;
        let (end, code) = if is_ours {
            let mut ours = refusal(Some(trace));
            ours.id = refusal_id(delivery.properties.message_id.as_deref(), &delivery.body);
            (ours, 14)
        } else {
            (event("result.succeeded", &executable), 0)
        };
        publish(&broker, &rabbit, &end).await;
        let output = output_of(child).await;
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn start_of_a_bot_with_wait_ends_when_it_runs_or_is_a_duplicate() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    for (example, code) in [("status.running", 0), ("status.duplicate", 1)] {
        let child = on(&rabbit)
            .args(["start", "--id", "bot-1", "--file", "main.mjs", "--code", "b.zip"])
            .args(["--long-running", "--wait", "--output", "json"])
            .spawn()
            .unwrap();
        let (body, _) = take(&broker, Inbox::StartLongRunning, &rabbit).await;
        let executable = parse_executable(&body).unwrap();
        publish(&broker, &rabbit, &event(example, &executable)).await;
        let output = output_of(child).await;
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        if code == 0 {
            let status: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((&status["id"], &status["state"]), (&"bot-1".into(), &"running".into()));
        } else {
            assert!(told.contains(r#"{"error":{"message":"bot-1 was not started: "#), "{told}");
        }
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn stop_with_wait_ends_with_the_job_or_says_that_there_is_none() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let start =
        std::fs::read(format!("{}/schemas/examples/start.bot.json", env!("CARGO_MANIFEST_DIR")));
    let executable = parse_executable(&start.unwrap()).unwrap();
    for (example, code) in [("result.stopped", 0), ("status.not-running", 1)] {
        let child = on(&rabbit)
            .args(["stop", "grid-bot-7", "--reason", "why not", "--timeout", "7", "--wait"])
            .spawn()
            .unwrap();
        let (body, _) = take(&broker, Inbox::Stop, &rabbit).await;
        let request = parse_stop(&body).unwrap();
        assert_eq!((request.id.as_str(), request.timeout_seconds), ("grid-bot-7", 7));
        assert_eq!(request.reason.as_deref(), Some("why not"));
        publish(&broker, &rabbit, &event(example, &executable)).await;
        let output = output_of(child).await;
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    }
    rabbit.clean_up().await;
}

#[tokio::test]
async fn watch_shows_what_was_asked_for_and_each_event_once() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let start =
        std::fs::read(format!("{}/schemas/examples/start.bot.json", env!("CARGO_MANIFEST_DIR")));
    let executable = parse_executable(&start.unwrap()).unwrap();
    let mut child = on(&rabbit)
        .args(["watch", "--verdict", "failed", "--state", "running"])
        .args(["--id", "grid-bot-7", "--limit", "2", "--output", "json"])
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let lines = tokio::task::spawn_blocking(move || {
        BufReader::new(stdout).lines().map(Result::unwrap).collect::<Vec<_>>()
    });
    let (running, failed) =
        (event("status.running", &executable), event("result.failed", &executable));
    // Until it has subscribed nothing reaches it, so this is said again until it has enough.
    let telling = async {
        loop {
            publish(&broker, &rabbit, &event("status.accepted", &executable)).await;
            publish(&broker, &rabbit, &running).await;
            publish(&broker, &rabbit, &failed).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let lines = tokio::select! {
        lines = within(lines) => lines.unwrap(),
        () = telling => unreachable!("it never ends"),
    };
    let events: Vec<Event> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(output_of(child).await.status.success());
    assert_eq!(events.len(), 2);
    assert!(events.contains(&running) && events.contains(&failed), "{lines:?}");
    rabbit.clean_up().await;
}

#[tokio::test]
async fn a_namespace_without_workers_is_reported() {
    let rabbit = Rabbit::new();
    let child = on(&rabbit).args(["stop", "a"]).spawn().unwrap();
    let output = output_of(child).await;
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("help: a worker declares exchanges and queues") && !told.contains("ERROR"),
        "{told}"
    );
    let child = on(&rabbit).args(["watch"]).spawn().unwrap();
    let output = output_of(child).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("AMQP_NAMESPACE"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn start_with_upload_stores_the_code_first_and_names_its_hash() {
    let rabbit = Rabbit::new();
    let broker = rabbit.declared().await;
    let settings = s3::settings();
    let store = S3Store::new(&settings).unwrap();
    store.ensure_buckets().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("main.py"), "def main(id, config): pass\n").unwrap();
    let id = s3::unique("upload");
    let child = on(&rabbit)
        .envs([
            ("MINIO_ENDPOINT", &settings.endpoint),
            ("MINIO_ACCESS_KEY", &settings.access_key),
            ("MINIO_SECRET_KEY", &settings.secret_key),
            ("MINIO_CODE_BUCKET", &settings.code_bucket),
        ])
        .args(["start", "--id", &id, "--file", "main.py", "--upload"])
        .arg(directory.path())
        .spawn()
        .unwrap();
    let output = output_of(child).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let (body, _) = take(&broker, Inbox::StartTerminating, &rabbit).await;
    let executable = parse_executable(&body).unwrap();
    let hash = executable.code_sha256.unwrap();
    assert_eq!(executable.file_path, format!("code/{hash}.zip"));
    let object = store.get(Bucket::Code, &executable.file_path, 1 << 20).await.unwrap();
    let found = <sha2::Sha256 as sha2::Digest>::digest(&object.bytes);
    assert_eq!(hex::encode(found), hash);
    store.delete(Bucket::Code, &executable.file_path).await.unwrap();
    rabbit.clean_up().await;
}

#[tokio::test]
async fn logs_prints_what_is_stored_and_says_when_there_is_nothing() {
    let settings = s3::settings();
    let store = S3Store::new(&settings).unwrap();
    store.ensure_buckets().await.unwrap();
    let id = s3::unique("logs");
    let key = format!("logs/{id}/20260302.log");
    let lines = "2026-03-02T09:15:03.000000000Z stdout one\n\
                 2026-03-02T09:15:04.000000000Z stderr two\n\
                 2026-03-02T09:15:05.000000000Z stdout three\n";
    let put = store.put(
        Bucket::Logs,
        &key,
        lines.into(),
        "text/plain",
        longshore::storage::Condition::None,
    );
    put.await.unwrap();
    let logs = |arguments: &[&str]| {
        let mut command = longshore();
        command
            .env("MINIO_ENDPOINT", &settings.endpoint)
            .env("MINIO_ACCESS_KEY", &settings.access_key)
            .env("MINIO_SECRET_KEY", &settings.secret_key)
            .env("MINIO_LOGS_BUCKET", &settings.logs_bucket)
            .args(["logs"])
            .args(arguments);
        command.output().unwrap()
    };
    assert_eq!(text(&logs(&[&id]).stdout), lines);
    assert_eq!(text(&logs(&[&id, "--tail", "1", "--bare"]).stdout), "three\n");
    assert_eq!(text(&logs(&[&id, "--stream", "stderr", "--bare"]).stdout), "two\n");
    assert_eq!(text(&logs(&[&id, "--date", "20260303"]).stdout), "");
    assert_eq!(text(&logs(&[&id, "--days"]).stdout), "20260302\n");
    let json: Value =
        serde_json::from_slice(&logs(&[&id, "--tail", "1", "--output", "json"]).stdout).unwrap();
    assert_eq!((&json["text"], &json["stream"]), (&"three".into(), &"stdout".into()));
    let unknown = logs(&[&s3::unique("none")]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("there is no log of none-"));
    store.delete(Bucket::Logs, &key).await.unwrap();
}

/// compat.md 9: the logs bucket that the variable names is the one that is read.
#[tokio::test]
async fn compat_9_logs_come_from_the_bucket_that_minio_logs_bucket_names() {
    let settings = s3::settings();
    let output = longshore()
        .env("MINIO_ENDPOINT", &settings.endpoint)
        .env("MINIO_ACCESS_KEY", &settings.access_key)
        .env("MINIO_SECRET_KEY", &settings.secret_key)
        .env("MINIO_LOGS_BUCKET", "longshore-tests-nowhere")
        .args(["logs", "any"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("longshore-tests-nowhere"), "{told}");
}
