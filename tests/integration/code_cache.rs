//! Code that is prepared once and shared by the runs of a host, against the real store and engine.

mod bytecode;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use longshore_testing::archive::zip_of;
use longshore_testing::events::PATIENCE;
use longshore_testing::http_proxy::{Deed, HttpProxy};
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST};
use longshore_testing::s3;
use longshore_testing::scene::Scene;

/// A program that says what it is, and how it sees its own file.
fn program(what: &str) -> String {
    format!(
        "import os\n\
         def main(id, config):\n    \
             stat = os.stat(__file__)\n    \
             return {{'what': '{what}', 'inode': stat.st_ino, 'mode': oct(stat.st_mode & 0o7777)}}\n"
    )
}

/// Starts a job of this zip and gives its result.
async fn run(scene: &Scene, name: &str, key: &str, sha256: Option<&str>) -> Value {
    let mut message = PYTHON_BACKTEST.message(&scene.id(name), key);
    if let Some(sha256) = sha256 {
        message["code_sha256"] = json!(sha256);
    }
    let result = scene.run(&message).await;
    result.expect("succeeded")["result"].clone()
}

/// The entries of a cache.
fn entries(cache: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(cache.join("entries")).into_iter().flatten();
    read.map(|entry| entry.unwrap().path()).collect()
}

fn making(cache: &Path) -> usize {
    std::fs::read_dir(cache.join("making")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_zip_is_fetched_once_and_a_changed_one_again() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let worker = scene.worker_with(&[("MINIO_ENDPOINT", &store.endpoint())]).await;
    let zip = |what: &str| zip_of(&[("backtest.py", program(what))]);
    let key = scene.put_zip("shared", zip("one")).await;

    let first = run(&scene, "first", &key, None).await;
    let second = run(&scene, "second", &key, None).await;
    assert_eq!(store.answers_to("GET", "shared.zip"), [200, 304]);
    assert_eq!((&first["what"], &first["inode"]), (&json!("one"), &second["inode"]), "{second}");
    assert_eq!(first["mode"], "0o644");

    scene.put_zip("shared", zip("two")).await;
    assert_eq!(run(&scene, "changed", &key, None).await["what"], "two");
    assert_eq!(store.answers_to("GET", "shared.zip"), [200, 304, 200]);

    // The bytes are pinned, and they are here.
    let sha256 = hex::encode(Sha256::digest(zip("one")));
    assert_eq!(run(&scene, "pinned", &key, Some(&sha256)).await["what"], "one");
    assert_eq!(store.answers_to("GET", "shared.zip").len(), 3, "no request at all");

    // A damaged entry is made again.
    for entry in entries(&scene.temp_dir().join(".cache")) {
        std::fs::write(entry.join("tree/backtest.py"), "def main(id, config): return 'bad'")
            .unwrap();
    }
    assert_eq!(run(&scene, "damaged", &key, None).await["what"], "two");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn jobs_that_come_at_once_fetch_their_zip_once() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let settings = [("MINIO_ENDPOINT", store.endpoint()), ("MAX_TERMINATING", "6".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let worker = scene.worker_with(&settings).await;
    let key = scene.put_code("crowd", &[("backtest.py", &program("one"))]).await;
    store.rule(|asked| {
        if asked.is("GET", "crowd.zip") { Deed::Slow(Duration::from_secs(2)) } else { Deed::Pass }
    });
    let names: Vec<_> = (0..6).map(|number| format!("job-{number}")).collect();
    for name in &names {
        scene.start(&PYTHON_BACKTEST.message(&scene.id(name), &key)).await;
    }
    for name in &names {
        scene.events.result_of(&scene.id(name)).await.expect("succeeded");
    }
    let answers = store.answers_to("GET", "crowd.zip");
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [200, 304].contains(status)), "{answers:?}");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_worker_that_is_killed_while_it_prepares_code_leaves_nothing_to_the_next() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let mut worker = scene.worker_with(&[("MINIO_ENDPOINT", &endpoint)]).await;
    let cache = scene.temp_dir().join(".cache");
    let key = scene.put_code("broken-off", &[("backtest.py", &program("one"))]).await;
    store.rule(|asked| if asked.is("GET", "broken-off.zip") { Deed::Hang } else { Deed::Pass });
    scene.start(&PYTHON_BACKTEST.message(&scene.id("job"), &key)).await;
    let begun = Instant::now();
    while making(&cache) == 0 {
        assert!(begun.elapsed() < PATIENCE, "nothing is being made");
        sleep(Duration::from_millis(20)).await;
    }
    worker.kill();
    worker.wait().await;
    store.restore();
    assert_eq!(making(&cache), 1);
    let next = scene.worker_with(&[("MINIO_ENDPOINT", &endpoint)]).await;
    scene.events.result_of(&scene.id("job")).await.expect("succeeded");
    assert_eq!((entries(&cache).len(), making(&cache)), (1, 0));
    scene.finish([next]).await;
}

#[tokio::test]
async fn two_workers_of_a_host_share_a_cache_that_survives_both() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str()), ("MAX_TERMINATING", "1")];
    let first = scene.worker_with(&settings).await;
    let second = scene.worker_with(&settings).await;
    let source = "import time\ndef main(id, config): time.sleep(3)";
    let key = scene.put_code("both", &[("backtest.py", source)]).await;
    for name in ["one", "two"] {
        scene.start(&PYTHON_BACKTEST.message(&scene.id(name), &key)).await;
    }
    let mut workers = Vec::new();
    for name in ["one", "two"] {
        let result = scene.events.result_of(&scene.id(name)).await;
        workers.push(result.expect("succeeded")["worker"].clone());
    }
    assert_ne!(workers[0], workers[1], "each had one");
    let cache = scene.temp_dir().join(".cache");
    assert_eq!((entries(&cache).len(), making(&cache)), (1, 0));
    for mut worker in [first, second] {
        worker.stop().await;
    }
    let asked = store.answers_to("GET", "both.zip").len();
    let third = scene.worker_with(&settings).await;
    scene.run(&PYTHON_BACKTEST.message(&scene.id("three"), &key)).await.expect("succeeded");
    assert_eq!(store.answers_to("GET", "both.zip")[asked..], [304]);
    scene.finish([third]).await;
}

#[tokio::test]
async fn what_a_program_may_write_to_is_no_other_runs() {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&[("BOT_READ_ONLY_CODE", "false")]).await;
    let source = "\
def main(id, config):
    with open('/backtest/data.txt', 'r+') as file:
        before = file.read()
        file.write('changed')
    return before
";
    let files = [("backtest.py", source), ("data.txt", "as it was")];
    let key = scene.put_code("writes", &files).await;
    for name in ["one", "two"] {
        assert_eq!(run(&scene, name, &key, None).await, json!("as it was"), "{name}");
    }
    scene.finish([worker]).await;
}

/// Copies carry the modes of what they are copied from: a shared file must look like one of the job's own.
#[tokio::test]
async fn a_program_may_change_what_it_copied_from_its_code_and_not_the_code() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let python = "\
import os, shutil
def main(id, config):
    shutil.copytree('/backtest/data', '/tmp/data')
    with open('/tmp/data/table.txt', 'a') as file:
        file.write(' and more')
    try:
        open('/backtest/data/table.txt', 'a')
    except OSError as error:
        refused = error.errno
    try:
        os.chmod('/backtest/data/table.txt', 0o666)
    except OSError as error:
        return [open('/tmp/data/table.txt').read(), refused, error.errno]
";
    let node = "\
const fs = require('fs');
exports.main = () => {
  fs.cpSync('/backtest/data', '/tmp/data', { recursive: true });
  fs.appendFileSync('/tmp/data/table.txt', ' and more');
  return [fs.readFileSync('/tmp/data/table.txt', 'utf8')];
};
";
    let data = ("data/table.txt", "rows");
    for (name, program, source) in [("py", PYTHON_BACKTEST, python), ("js", NODE_BACKTEST, node)] {
        let key = scene.put_code(name, &[(program.script, source), data]).await;
        for round in ["first", "second"] {
            let message = program.message(&scene.id(&format!("{name}-{round}")), &key);
            let result = scene.run(&message).await;
            let value = result.expect("succeeded")["result"].clone();
            assert_eq!(value[0], "rows and more", "{name} {round}");
            if name == "py" {
                // Not permitted, and read-only.
                assert_eq!((&value[1], &value[2]), (&json!(13), &json!(30)));
            }
        }
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_cache_that_is_switched_off_is_not_there() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let settings = [("MINIO_ENDPOINT", store.endpoint()), ("CODE_CACHE_MAX_MB", "0".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let worker = scene.worker_with(&settings).await;
    let key = scene.put_code("off", &[("backtest.py", &program("one"))]).await;
    for name in ["one", "two"] {
        assert_eq!(run(&scene, name, &key, None).await["what"], "one");
    }
    assert_eq!(store.answers_to("GET", "off.zip"), [200, 200]);
    assert!(!scene.temp_dir().join(".cache").exists());
    scene.finish([worker]).await;
}
