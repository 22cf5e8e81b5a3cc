//! The lease of a bot, watched by the helper that the entry script starts: run on this host by each shell that an
//! image may have.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use super::{HELPER, Mount};
use crate::job::Launcher;
use crate::job::judging::exit_note::{EXIT_NOTE, LEASE_EXPIRED};
use crate::runner::lease::{self, Grant, Uptime};

/// The shells of the images; on Debian the second one is dash, which has POSIX and little more.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// The longest that a test waits for anything; reaching it is a failure.
const PATIENCE: Duration = Duration::from_mins(1);

/// Says `tick` many times a second, and ends with code 7 where it is asked to.
const POLITE: &str = r#"
import signal, sys, time
def asked(*_):
    print("asked", flush=True)
    sys.exit(7)
def main(id, config):
    signal.signal(signal.SIGTERM, asked)
    while True:
        print("tick", flush=True)
        time.sleep(0.05)
"#;

/// Says `tick` many times a second, whoever asks it to end.
const DEAF: &str = r#"
import signal, time
def main(id, config):
    signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
    while True:
        print("tick", flush=True)
        time.sleep(0.05)
"#;

/// Ends by itself, in the way that its config says, once it has lived for a moment.
const OWN_END: &str = r#"
import os, signal, sys, time
def main(id, config):
    print("tick", flush=True)
    time.sleep(0.3)
    if config["end"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if config["end"] == "raises":
        raise ValueError("by itself")
    sys.exit(config["end"])
"#;

/// A bot that runs under the entry script, in a process group of its own.
struct Bot {
    mount: Mount,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Bot {
    /// Starts a bot; with a lease where one is given.
    async fn start(shell: &str, source: &str, config: &str, granted: Option<Duration>) -> Self {
        let mount = Mount::new(Launcher::Python, |job| job.is_long_running = true, None).await;
        fs::write(mount.directory.root().join(&mount.job.script), source).unwrap();
        fs::write(mount.config_file(), config).unwrap();
        if let Some(granted) = granted {
            lease::write(mount.directory.root(), "first", from_now(granted)).unwrap();
        }
        let [output, errors] = ["out", "err"].map(|name| mount.directory.root().join(name));
        let child = Command::new(shell)
            .arg(mount.shell_script())
            .envs(mount.command().get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("IS_LONG_RUNNING", "true")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&output).unwrap())
            .stderr(fs::File::create(&errors).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        Self { mount, child, output, errors }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    fn renew(&self, stamp: u32, granted: Duration) {
        self.grant(stamp, from_now(granted));
    }

    fn grant(&self, stamp: u32, grant: Grant) {
        lease::write(self.mount.directory.root(), &stamp.to_string(), grant).unwrap();
    }

    fn said(&self, word: &str) -> usize {
        text(&self.output).lines().filter(|line| *line == word).count()
    }

    fn errors(&self) -> String {
        text(&self.errors)
    }

    fn says_expired(&self) -> bool {
        let note = fs::read_to_string(self.mount.directory.root().join(EXIT_NOTE)).unwrap();
        note.lines().any(|line| line == LEASE_EXPIRED)
    }

    /// How many of its processes are ours: shells that run the entry script, and helpers.
    fn ours(&self) -> usize {
        let helper = self.mount.directory.root().join(HELPER);
        let ours = [self.mount.shell_script(), helper];
        let is_ours = |process: &&PathBuf| {
            fs::read(process.join("cmdline")).is_ok_and(|line| {
                line.split(|byte| *byte == 0).any(|word| ours.iter().any(|our| word == bytes(our)))
            })
        };
        self.processes().iter().filter(is_ours).count()
    }

    /// Its processes that have not ended, as folders of `/proc`.
    fn processes(&self) -> Vec<PathBuf> {
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        all.filter(|process| {
            let Ok(stat) = fs::read_to_string(process.join("stat")) else { return false };
            // After the name, which may hold anything: state, parent, group.
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            let (state, group) = (fields.next(), fields.nth(1));
            state != Some("Z") && group == Some(&self.child.id().to_string())
        })
        .collect()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !is_so(self) {
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}; {}", self.errors());
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it did not end: {}", self.errors());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Bot {
    /// After a failure: nothing of it may stay.
    fn drop(&mut self) {
        if !self.processes().is_empty() {
            killpg(self.group(), Signal::SIGKILL).ok();
        }
        self.child.wait().ok();
    }
}

fn from_now(lifetime: Duration) -> Grant {
    Grant::from(Uptime::now(), lifetime)
}

fn bytes(path: &std::path::Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

fn text(path: &std::path::Path) -> String {
    let mut text = String::new();
    fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text
}

/// Runs a test in all shells at a time, for it mostly waits.
async fn in_each_shell(test: impl AsyncFn(&'static str)) {
    join_all(SHELLS.map(|shell| test(shell))).await;
}

#[tokio::test]
async fn a_lease_keeps_a_bot_for_as_long_as_it_is_renewed_and_then_asks_it_to_end() {
    in_each_shell(async |shell| {
        let granted = Duration::from_secs(7);
        let mut bot = Bot::start(shell, POLITE, "{}", Some(granted)).await;
        bot.until("it runs", |bot| bot.said("tick") > 0).await;
        // More than one lease long by the bot's own account.
        let mut stamp = 0;
        let kept = Instant::now();
        while kept.elapsed() < granted + Duration::from_secs(1) {
            stamp += 1;
            bot.renew(stamp, granted);
            assert!(bot.child.try_wait().unwrap().is_none(), "{shell}: {}", bot.errors());
            sleep(Duration::from_millis(100)).await;
        }
        assert!(!bot.says_expired() && bot.said("asked") == 0, "{shell}: {}", bot.errors());
        // The same stamp again is no renewal, however often it is written.
        let writing = async {
            loop {
                bot.renew(stamp, granted);
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = bot.until("it is asked to end", |bot| bot.said("asked") == 1) => {}
            () = writing => {}
        }
        assert_eq!(bot.end().await.code(), Some(7), "{shell}: its own way to end is kept");
        assert!(bot.says_expired(), "{shell}");
        let lines: Vec<_> = bot.errors().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 1, "{shell}: {lines:?}");
        assert!(lines[0].contains("its worker has not been heard of"), "{shell}: {lines:?}");
        bot.until("nothing of it is left", |bot| bot.processes().is_empty()).await;
    })
    .await;
}

#[tokio::test]
async fn a_bot_that_does_not_listen_is_killed_when_its_lease_has_run_out() {
    in_each_shell(async |shell| {
        let mut bot = Bot::start(shell, DEAF, "{}", Some(Duration::from_mins(10))).await;
        bot.until("it runs", |bot| bot.said("tick") > 0).await;
        bot.renew(1, Duration::from_secs(5));
        let status = bot.end().await;
        assert_eq!(status.code(), Some(137), "{shell}: {status}");
        assert_eq!(bot.said("asked"), 1, "{shell}: it is asked before it is killed");
        assert!(bot.says_expired() && bot.errors().contains("ends itself"), "{shell}");
        bot.until("nothing of it is left", |bot| bot.processes().is_empty()).await;
    })
    .await;
}

/// One that was written late ends with the proof that it was written on; one whose end is told in another
/// clock, or in none, by the time that it grants from when it is seen.
#[tokio::test]
async fn a_lease_counts_from_its_proof_and_from_when_it_is_seen_where_the_clock_is_another() {
    let (short, long) = (Duration::from_secs(5), Duration::from_mins(10));
    let grants = [
        Grant { lifetime: long, ..from_now(short) },
        Grant { lifetime: short, ..from_now(long) },
        Grant::from(None, short),
    ];
    in_each_shell(async |shell| {
        for grant in grants {
            let mut bot = Bot::start(shell, POLITE, "{}", Some(long)).await;
            bot.until("it runs", |bot| bot.said("tick") > 0).await;
            bot.grant(1, grant);
            assert_eq!(bot.end().await.code(), Some(7), "{shell}: {grant:?}");
            assert!(bot.says_expired(), "{shell}: {grant:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_process_of_ours_stands_beside_a_bot_whether_it_is_watched_or_not() {
    in_each_shell(async |shell| {
        for granted in [None, Some(Duration::from_mins(1))] {
            let mut bot = Bot::start(shell, POLITE, "{}", granted).await;
            bot.until("it runs", |bot| bot.said("tick") > 0).await;
            bot.until("only the helper is left of what started it", |bot| bot.ours() == 1).await;
            kill(bot.group(), Signal::SIGTERM).unwrap();
            assert_eq!(bot.end().await.code(), Some(7), "{shell}");
            assert!(!bot.says_expired(), "{shell}");
            assert_eq!(bot.errors(), "", "{shell}");
            bot.until("nothing of it is left", |bot| bot.processes().is_empty()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_bot_that_ends_by_itself_keeps_its_exit_code_and_its_watcher_ends_with_it() {
    in_each_shell(async |shell| {
        for (end, code) in [("0", 0), ("3", 3), (r#""raises""#, 1), (r#""killed""#, 137)] {
            let config = format!("{{\"end\": {end}}}");
            let mut bot = Bot::start(shell, OWN_END, &config, Some(Duration::from_mins(10))).await;
            let status = bot.end().await;
            assert_eq!(status.code(), Some(code), "{shell} {end}: {status} {}", bot.errors());
            assert!(!bot.says_expired(), "{shell} {end}");
            bot.until("nothing of it is left", |bot| bot.processes().is_empty()).await;
        }
    })
    .await;
}
