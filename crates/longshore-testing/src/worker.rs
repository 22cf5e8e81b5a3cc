//! The real program as a child process: `longshore worker`.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::{program, s3, servers, variable};

/// How long a worker may take until it is ready, and to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// Lines of a worker's log that a failing test prints.
const SHOWN_LINES: usize = 60;

/// The environment of a worker: real servers, short intervals, and nothing from the machine's
/// environment.
pub fn settings_of_a_worker(
    namespace: &str,
    name: &str,
    temp_dir: &Path,
) -> BTreeMap<String, String> {
    let spool_dir = temp_dir.with_file_name("spool");
    let (amqp_url, store, temp_dir) =
        (servers::amqp_url(), s3::settings(), temp_dir.to_string_lossy());
    let settings = [
        ("AMQP_URL", amqp_url.as_str()),
        ("AMQP_NAMESPACE", namespace),
        ("AMQP_RECONNECT_MAX_SECONDS", "1"),
        ("RETRY_DELAYS_SECONDS", "1,2"),
        ("MINIO_ENDPOINT", &store.endpoint),
        ("MINIO_ACCESS_KEY", &store.access_key),
        ("MINIO_SECRET_KEY", &store.secret_key),
        ("MINIO_CODE_BUCKET", &store.code_bucket),
        ("MINIO_INPUTS_BUCKET", &store.inputs_bucket),
        ("MINIO_BACKTESTS_BUCKET", &store.results_bucket),
        ("MINIO_LOGS_BUCKET", &store.logs_bucket),
        ("MINIO_STATE_BUCKET", &store.state_bucket),
        ("TEMP_DIR", &temp_dir),
        ("LOG_SPOOL_DIR", &spool_dir.to_string_lossy()),
        ("BOT_MEMORY_LIMIT_MB", "256"),
        // Most tests look at a container from its beginning.
        ("WARM_CONTAINERS", &variable("WARM_CONTAINERS").unwrap_or_else(|| "0".to_owned())),
        ("STOP_TIMEOUT_SECONDS", "5"),
        // A busy machine must not end bots.
        ("SEGMENT_GRACE_SECONDS", "60"),
        ("WORKER_NAME", name),
        ("DRAIN_GRACE_SECONDS", "20"),
        ("LOG_INTERVAL_SECONDS", "1"),
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("LOG_FORMAT", "json"),
        ("LOG_LEVEL", "info,longshore=debug"),
    ];
    let engine = variable("DOCKER_HOST").map(|host| ("DOCKER_HOST".to_owned(), host));
    let owned = settings.map(|(variable, value)| (variable.to_owned(), value.to_owned()));
    owned.into_iter().chain(engine).collect()
}

/// A running worker. Dropping it kills it. If a test panics, it prints the end of the worker's log.
pub struct Worker {
    child: Child,
    log: PathBuf,
    http: Option<SocketAddr>,
}

impl Worker {
    /// Starts a worker with `env` and nothing else in its environment. `log` receives its log.
    pub fn spawn(env: &BTreeMap<String, String>, log: PathBuf) -> Self {
        let file = File::create(&log).unwrap();
        let child = Command::new(program())
            .arg("worker")
            .env_clear()
            .envs(env)
            .current_dir(log.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { child, log, http: None }
    }

    /// Waits until it reports that it is ready.
    pub async fn ready(&mut self) {
        let begun = Instant::now();
        let mut said = String::new();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the worker ended with {status} before it was ready");
            }
            if self.http.is_none() {
                self.http = find_address(&self.log);
            }
            if let Some(address) = self.http {
                match reqwest::get(format!("http://{address}/readyz")).await {
                    Ok(answer) if answer.status().is_success() => return,
                    Ok(answer) => said = answer.text().await.unwrap_or_default(),
                    Err(error) => said = error.to_string(),
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("the worker was not ready within {} s: {said}", PATIENCE.as_secs());
    }

    /// Waits until it logs the address of its health checks, ready or not.
    pub async fn listens(&mut self) -> SocketAddr {
        let begun = Instant::now();
        loop {
            self.http = find_address(&self.log);
            if let Some(address) = self.http {
                return address;
            }
            assert!(begun.elapsed() < PATIENCE, "the worker does not listen: {}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The address of its health checks.
    pub fn http(&self) -> SocketAddr {
        self.http.unwrap()
    }

    /// Its process id, until it has ended and was waited for.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The most memory that its process has had, in KiB, without what is mapped of its program's
    /// file: of a debug build that is more than what the worker takes.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap()
        };
        kib("VmHWM:").saturating_sub(kib("RssFile:"))
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends SIGKILL.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.pid() {
            kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
        }
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> ExitStatus {
        let Ok(status) = timeout(PATIENCE, self.child.wait()).await else {
            panic!("the worker did not end within {} s", PATIENCE.as_secs());
        };
        status.unwrap()
    }

    /// Sends SIGTERM and waits for its end, which must be a success.
    pub async fn stop(&mut self) {
        self.terminate();
        let status = self.wait().await;
        assert!(status.success(), "the worker ended with {status}");
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        eprintln!("--- the last {} lines of {}", shown.len(), self.log.display());
        for line in shown {
            eprintln!("{}", line.chars().take(2000).collect::<String>());
        }
        eprintln!("---");
    }
}

/// The address in the log line with the field `http.address`.
fn find_address(log: &Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(log).ok()?;
    text.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let flat = &line["http.address"];
        let address = if flat.is_null() { &line["fields"]["http.address"] } else { flat };
        address.as_str()?.parse().ok()
    })
}
