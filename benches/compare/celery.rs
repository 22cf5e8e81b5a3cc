//! Through Celery: a task that runs a zip from the store by docker-py (`celery/tasks.py`), with its default pool.

use std::collections::VecDeque;
use std::process::Stdio;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Consumer};
use longshore::storage::Bucket;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::bare::{Bare, body};
use crate::code::Code;
use crate::contender::Contender;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;
use longshore_testing::{s3, servers};

/// How long the worker may take until it takes tasks.
const READY: Duration = Duration::from_mins(1);

const TASK: &str = "bench.run";

/// A worker of Celery, and a client that publishes as Celery's own does.
pub(crate) struct Celery {
    scene: Scene,
    worker: Child,
    channel: Channel,
    queue: String,
    replies: String,
    results: Consumer,
    ready: VecDeque<Value>,
    made: usize,
}

impl Celery {
    /// A worker with so many processes.
    pub(crate) async fn new(concurrency: usize) -> Self {
        let scene = Scene::new().await;
        let queue = format!("{}-celery", scene.namespace);
        let replies = format!("{queue}-replies");
        let channel = scene.connection.create_channel().await.unwrap();
        for name in [&queue, &replies] {
            let options = QueueDeclareOptions { durable: name == &queue, ..Default::default() };
            let arguments = FieldTable::default();
            channel.queue_declare(name.as_str().into(), options, arguments).await.unwrap();
        }
        let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
        let consumed = channel.basic_consume(
            replies.as_str().into(),
            "".into(),
            options,
            FieldTable::default(),
        );
        let results = consumed.await.unwrap();
        let worker = spawn(&scene, &queue, concurrency).await;
        let ready = VecDeque::new();
        let mut celery = Self { scene, worker, channel, queue, replies, results, ready, made: 0 };
        celery.wait_until_ready().await;
        celery
    }

    async fn upload(&mut self, zip: Vec<u8>) -> String {
        self.made += 1;
        let key = format!("{}/code-{}.zip", self.scene.namespace, self.made);
        self.scene.put_object(Bucket::Code, &key, zip).await;
        key
    }

    /// A first job: the worker has connected to everything.
    async fn wait_until_ready(&mut self) {
        self.prepare(&Code::trivial(), 1, false).await;
        self.submit().await;
        let first = tokio::time::timeout(READY, self.ended()).await;
        if first.is_err() {
            let log = std::fs::read_to_string(self.scene.folder().join("celery.log"));
            panic!("Celery runs nothing: {}", log.unwrap_or_default());
        }
    }
}

async fn spawn(scene: &Scene, queue: &str, concurrency: usize) -> Child {
    let store = s3::settings();
    let bare = Bare::new(1).await;
    let like = bare.prepare_one().await;
    let mut profile = serde_json::to_value(body(&like.spec)).unwrap();
    // What is the same for all jobs. The others are the task's.
    for own in ["Cmd", "Env", "Labels"] {
        profile.as_object_mut().unwrap().remove(own);
    }
    profile["HostConfig"].as_object_mut().unwrap().remove("Mounts");
    let log = std::fs::File::create(scene.folder().join("celery.log")).unwrap();
    let celery = longshore_testing::measured().join("venv/bin/celery");
    assert!(celery.exists(), "{} is missing: run `make bench`", celery.display());
    Command::new(celery)
        .args(["--app", "tasks", "worker", "--queues", queue, "--loglevel", "warning"])
        .args(["--concurrency", &concurrency.to_string(), "--without-gossip", "--without-mingle"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare/celery"))
        .env("BENCH_BROKER", servers::amqp_url())
        .env("BENCH_QUEUE", queue)
        .env("BENCH_PROFILE", profile.to_string())
        .env("BENCH_STORE", format!("http://{}", store.endpoint))
        .env("BENCH_ACCESS_KEY", &store.access_key)
        .env("BENCH_SECRET_KEY", &store.secret_key)
        .env("BENCH_CODE_BUCKET", &store.code_bucket)
        .env("BENCH_RESULTS_BUCKET", &store.results_bucket)
        .env("BENCH_LOGS_BUCKET", &store.logs_bucket)
        .env("BENCH_FOLDER", scene.folder())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[async_trait(?Send)]
impl Contender for Celery {
    fn name(&self) -> &'static str {
        "Celery + docker-py"
    }

    async fn prepare(&mut self, code: &Code, jobs: usize, are_distinct: bool) {
        let mut key = self.upload(code.zip(0)).await;
        for job in 0..jobs {
            if are_distinct && job > 0 {
                key = self.upload(code.zip(job)).await;
            }
            let id = format!("{}-{}", self.scene.namespace, uuid::Uuid::new_v4().simple());
            self.ready.push_back(PYTHON_BACKTEST.message(&id, &key));
        }
    }

    /// As version 2 of Celery's protocol for tasks has it.
    async fn submit(&mut self) -> String {
        let job = self.ready.pop_front().unwrap();
        let id = job["id"].as_str().unwrap().to_owned();
        let mut headers = FieldTable::default();
        let texts = [("lang", "py"), ("task", TASK), ("id", &id), ("root_id", &id)];
        for (name, text) in texts {
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        }
        for name in ["parent_id", "group"] {
            headers.insert(name.into(), AMQPValue::Void);
        }
        let properties = BasicProperties::default()
            .with_correlation_id(id.as_str().into())
            .with_reply_to(self.replies.as_str().into())
            .with_content_type("application/json".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(2)
            .with_headers(headers);
        let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
        let body = json!([[job], {}, embed]).to_string();
        let options = BasicPublishOptions::default();
        let key = self.queue.as_str().into();
        let sent = self.channel.basic_publish("".into(), key, options, body.as_bytes(), properties);
        sent.await.unwrap();
        id
    }

    async fn ended(&mut self) -> String {
        let delivery = self.results.next().await.unwrap().unwrap();
        let result: Value = serde_json::from_slice(&delivery.data).unwrap();
        assert_eq!(result["status"], "SUCCESS", "{result:#}");
        result["task_id"].as_str().unwrap().to_owned()
    }

    /// The worker and the processes of its pool.
    fn processes(&self) -> Vec<u32> {
        let main = self.worker.id().expect("Celery has ended");
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children"));
        let children = children.unwrap_or_default();
        let pool = children.split_whitespace().map(|pid| pid.parse().unwrap());
        std::iter::once(main).chain(pool).collect()
    }

    async fn stop(mut self: Box<Self>) {
        let main = i32::try_from(self.worker.id().unwrap()).unwrap();
        let (main, term) = (nix::unistd::Pid::from_raw(main), nix::sys::signal::Signal::SIGTERM);
        nix::sys::signal::kill(main, term).unwrap();
        let begun = Instant::now();
        while self.worker.try_wait().unwrap().is_none() && begun.elapsed() < READY {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for queue in [&self.queue, &self.replies] {
            let options = QueueDeleteOptions::default();
            self.channel.queue_delete(queue.as_str().into(), options).await.unwrap();
        }
        self.scene.finish([]).await;
    }
}
