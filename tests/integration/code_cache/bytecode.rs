//! Byte code that is made once for later runs.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::entries;
use longshore_testing::archive::zip_of;
use longshore_testing::engine;
use longshore_testing::events::PATIENCE;
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;
use std::time::Duration;

/// A module of many functions, which take longer to compile than to load.
fn large_module(functions: usize) -> String {
    let mut text =
        String::from("import sys\ndef where(): return sys._getframe().f_code.co_filename\n");
    for number in 0..functions {
        writeln!(
            text,
            "def f{number}(a, b=1, *rest, key={number}, **more):\n    \
             total = [x * a + key for x in range(b) if x % 3]\n    \
             return {{'total': sum(total), 'rest': rest, **more}} if total else None"
        )
        .unwrap();
    }
    text
}

/// A program that says how its modules were loaded.
const PROGRAM: &str = "\
import os, time
begun = time.perf_counter()
import big, broken_late
took = time.perf_counter() - begun
def look(module):
    if not os.path.exists(module.__cached__): return None
    with open(module.__cached__, 'rb') as file: return list(file.read(8)[4:])
def main(id, config):
    return {'big': look(big), 'script': os.path.exists(__cached__), 'where': big.where(),
            'took': took, 'own': look(broken_late), 'seen': sorted(os.listdir('/backtest/vendor'))}
";

/// Waits until there is byte code in the cache.
async fn compiled(scene: &Scene) {
    let begun = Instant::now();
    loop {
        let found = entries(&scene.temp_dir().join(".cache"));
        if found.iter().any(|path| path.to_string_lossy().contains("-bytecode")) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing was compiled: {found:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

async fn compilers(scene: &Scene) -> usize {
    let labels = [("runtime.namespace", scene.namespace.as_str()), ("runtime.helper", "compiler")];
    engine::with_labels(&scene.docker, &labels).await.len()
}

async fn compiler_appears(scene: &Scene) {
    let begun = Instant::now();
    while compilers(scene).await == 0 {
        assert!(begun.elapsed() < PATIENCE, "no compiler was started");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn later_runs_find_their_modules_compiled() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    // Byte code that counts by the times of files, which unpacking changes, and such as counts always.
    let by_time = [&b"\xa7\r\r\n\0\0\0\0"[..], &[1; 40]].concat();
    let by_hash = [&b"\xa7\r\r\n\x03\0\0\0"[..], &[1; 40]].concat();
    let zip = zip_of(&[
        ("backtest.py", PROGRAM.as_bytes().to_vec()),
        ("vendor/big.py", large_module(4000).into_bytes()),
        ("vendor/__pycache__/big.cpython-311.pyc", by_time),
        ("vendor/broken_late.py", b"x = 1".to_vec()),
        ("vendor/__pycache__/broken_late.cpython-311.pyc", by_hash.clone()),
        ("vendor/wrong.py", b"def (".to_vec()),
    ]);
    let key = scene.put_zip("modules", zip).await;
    let run = async |name: &str| -> Value {
        let result = scene.run(&PYTHON_BACKTEST.message(&scene.id(name), &key)).await;
        result.expect("succeeded")["result"].clone()
    };
    let first = run("first").await;
    assert_eq!((&first["big"], &first["script"]), (&json!([0, 0, 0, 0]), &json!(false)), "{first}");
    compiled(&scene).await;
    let second = run("second").await;
    // By the hash of the source, which is not checked.
    assert_eq!(
        (&second["big"], &second["script"]),
        (&json!([1, 0, 0, 0]), &json!(true)),
        "{second}"
    );
    assert_eq!(second["own"], first["own"], "the zip's own byte code stays");
    assert_eq!(second["where"], "/backtest/vendor/big.py");
    assert_eq!(second["seen"], first["seen"]);
    let ratio = second["took"].as_f64().unwrap() / first["took"].as_f64().unwrap();
    println!("importing compiled modules took {ratio:.2} of the time of compiling them");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn of_a_compiler_nothing_is_left_however_its_worker_ends() {
    let scene = Scene::new().await;
    let mut worker = scene.worker().await;
    let module = large_module(60_000);
    let source = "def main(id, config): return 1";
    let files = [("backtest.py", source), ("a.py", &module), ("b.py", &module)];
    let key = scene.put_code("large", &files).await;
    let message = |name: &str| PYTHON_BACKTEST.message(&scene.id(name), &key);

    scene.run(&message("ends-well")).await.expect("succeeded");
    compiler_appears(&scene).await;
    worker.stop().await;
    assert_eq!(compilers(&scene).await, 0);

    let mut worker = scene.worker().await;
    scene.run(&message("is-killed")).await.expect("succeeded");
    compiler_appears(&scene).await;
    worker.kill();
    worker.wait().await;
    let next = scene.worker().await;
    let cache = scene.temp_dir().join(".cache");
    assert_eq!(super::making(&cache), 0);
    scene.finish([next]).await;
}

#[tokio::test]
async fn nothing_is_compiled_where_that_is_switched_off_or_the_code_can_be_changed() {
    for setting in [("CODE_COMPILE_TIMEOUT_SECONDS", "0"), ("BOT_READ_ONLY_CODE", "false")] {
        let scene = Scene::new().await;
        let worker = scene.worker_with(&[setting]).await;
        let module = large_module(4000);
        let source = "import time\ndef main(id, config): time.sleep(2)";
        let key = scene.put_code("plain", &[("backtest.py", source), ("big.py", &module)]).await;
        let message = PYTHON_BACKTEST.message(&scene.id("job"), &key);
        scene.run(&message).await.expect("succeeded");
        assert_eq!(compilers(&scene).await, 0, "{setting:?}");
        assert_eq!(entries(&scene.temp_dir().join(".cache")).len(), 1, "{setting:?}");
        scene.finish([worker]).await;
    }
}
