//! `longshore top` against a real fleet, once and on a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::json;

use super::{json_of, longshore, text};
use crate::robustness::until;
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::scene::Scene;
use longshore_testing::worker::settings_of_a_worker;

/// Says how far it is, again and again, with what would move the cursor.
const BOT: &str = "import longshore, time\n\
    def main(id, config):\n    \
        while True:\n        \
            longshore.progress(42, 'half\\x1b[2J\\x1b[Hway')\n        \
            time.sleep(0.2)\n        \
            longshore.progress(41, 'half\\x1b[2J\\x1b[Hway')\n        \
            time.sleep(0.2)\n";

fn top(scene: &Scene, words: &[&str]) -> Command {
    let mut command = longshore();
    command
        .envs(settings_of_a_worker(&scene.namespace, "client", &scene.temp_dir()))
        .env_remove("LOG_LEVEL")
        .arg("top")
        .args(words);
    command
}

#[tokio::test]
async fn top_shows_workers_queues_and_jobs_once_and_again_and_again() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let (name, id) = (format!("{}-worker-0", scene.namespace), scene.id("bot"));
    scene.start(&scene.job("bot", &PYTHON_BOT, BOT).await).await;
    scene.events.wait_state(&id, "running").await;

    let said = json_of(&top(&scene, &["--output", "json"]).output().unwrap());
    assert_eq!(
        (&said["workers"], &said["fleet"][0]["worker"]),
        (&json!(1), &json!(name)),
        "{said:#}"
    );
    let job = &said["jobs"][0];
    assert_eq!(
        (&job["id"], &job["kind"], &job["worker"]),
        (&json!(id), &json!("bot"), &json!(name))
    );
    assert_eq!((&said["more"], &job["state"]), (&json!(0), &json!("active")), "{said:#}");
    let once = top(&scene, &[]).output().unwrap();
    assert!(once.status.success(), "{}", text(&once.stderr));
    let frame = text(&once.stdout);
    assert!(!frame.contains('\u{1b}') && frame.contains(&id) && frame.contains(&name), "{frame}");
    assert!(
        frame.contains("start.terminating") && frame.contains("1 worker is connected"),
        "{frame}"
    );
    let other = json_of(
        &top(&scene, &["--once", "--filter", "nobody", "--output", "json"]).output().unwrap(),
    );
    assert_eq!(other["jobs"], json!([]));

    on_a_terminal(&scene, &id).await;
    scene.stop(&json!({ "id": id })).await;
    scene.events.result_of(&id).await.expect("stopped");
    scene.finish([worker]).await;
}

/// The live view: it draws, draws again, obeys keys, and gives the terminal back as it was.
async fn on_a_terminal(scene: &Scene, id: &str) {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(Some(&size), None).unwrap();
    let before = tcgetattr(&terminal.slave).unwrap();
    let end = || Stdio::from(terminal.slave.try_clone().unwrap());
    let mut command = top(scene, &["--interval", "1"]);
    command.env("TERM", "xterm-256color").stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut keys = File::from(terminal.master.try_clone().unwrap());
    let sent: Arc<Mutex<Vec<u8>>> = Arc::default();
    let heard = Arc::clone(&sent);
    let mut master = File::from(terminal.master);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            heard.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    let seen = || text(&sent.lock().unwrap());
    // Ids lose their middle.
    let ends = &id[id.len() - 6..];
    until("a frame with the job and how far it is", async || {
        let seen = seen();
        seen.contains(ends) && seen.contains("42") && seen.contains("JOB")
    })
    .await;
    let raw = tcgetattr(&terminal.slave).unwrap();
    assert!(
        !raw.local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON),
        "keys come one by one"
    );
    let frames = |text: &str| text.matches("longshore top").count();
    let drawn = frames(&seen());
    until("more frames", async || frames(&seen()) > drawn + 1).await;
    keys.write_all(b"/zzz").unwrap();
    until("the filter is told", async || seen().contains("filter: zzz_")).await;
    keys.write_all(b"\r").unwrap();
    let at = seen().len();
    until("a frame without the job", async || {
        let last = seen().split_off(at);
        let last = last.rsplit("longshore top").nth(1).unwrap_or_default().to_owned();
        last.contains("JOB") && !last.contains(ends)
    })
    .await;
    keys.write_all(b"q").unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap().unwrap().code(),
        Some(0)
    );
    let seen = seen();
    assert!(seen.starts_with("\u{1b}[?1049h"), "{:?}", &seen[..40]);
    let last = &seen[seen.len() - 40..];
    assert!(last.contains("\u{1b}[?25h") && last.contains("\u{1b}[?1049l"), "{last:?}");
    assert!(!seen.contains("\u{1b}[2J\u{1b}[H"), "no text of a program moves the cursor");
    assert_eq!(tcgetattr(&terminal.slave).unwrap().local_flags, before.local_flags);
}
