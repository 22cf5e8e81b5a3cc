//! Sweeps of Node.js: whatever the isolation, a config has one row, and what it breaks is its own.

use std::path::PathBuf;

use longshore::job::Verdict::{Failed, OutOfMemory, Succeeded, TimedOut};
use longshore::storage::Bucket;
use longshore_testing::archive::zip_of_folder;
use longshore_testing::program::NODE_BACKTEST;
use longshore_testing::rabbit::within;
use longshore_testing::scene::Scene;
use longshore_testing::worker::settings_of_a_worker;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{each_once, message_of, verdicts};
use crate::metrics::shows;

/// What a config breaks, by its number.
const BREAKS: &str = r"
const state = { poisoned: false };
exports.main = async (id, { n }) => {
  console.log('config', n);
  if (n === 1) throw new RangeError('no prices');
  if (n === 2) process.exit(3);
  if (n === 3) process.kill(process.pid, 'SIGSEGV');
  if (n === 4) for (const all = []; ; ) all.push(new Array(10_000).fill(n));
  if (n === 6) for (;;) ;
  if (n === 7) { state.poisoned = true; process.env.POISON = '1'; throw new Error('poisoned'); }
  if (n === 8) return 'x'.repeat(100_000);
  if (n === 9) { Promise.reject(new Error('unhandled')); await new Promise((r) => setTimeout(r, 60_000)); }
  if (n === 10) { setInterval(() => {}, 10); return { n, poisoned: false }; }
  if (n === 12) return Buffer.alloc(400 << 20, 1).length;
  if (n === 11) console.error('e'.repeat(50_000));
  return { n, poisoned: state.poisoned || 'POISON' in process.env };
};";

async fn what_a_config_breaks_is_its_own(isolation: &str) {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let n: Vec<_> = (0..16).collect();
    // While 6 runs until it is late, all that follow run one by one: 4 and 12 never share the memory.
    let mut sweep = json!({ "grid": {"n": n}, "parallel": 2, "timeout_seconds": 8 });
    if isolation != "isolate" {
        sweep["isolation"] = json!(isolation);
    }
    let message = message_of(&scene, &NODE_BACKTEST, "breaks", BREAKS, json!({}), sweep).await;
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    let rows = each_once(&scene, &scene.id("breaks"), data, 16).await;
    let mut expected = vec![Succeeded; 16];
    for index in [1, 2, 3, 7, 8, 9] {
        expected[index] = Failed;
    }
    (expected[4], expected[12], expected[6]) = (OutOfMemory, OutOfMemory, TimedOut);
    assert_eq!(verdicts(&rows), expected, "{isolation}: {rows:#?}");
    for (index, said) in [
        (1, "RangeError: no prices"),
        (2, "exit code 3"),
        (3, "SIGSEGV"),
        (4, "ran out of its 96 MiB of JavaScript's heap"),
        (12, "ran out of its 256 MiB of memory"),
        (6, "ran longer than its 8 s"),
        (8, "SWEEP_RESULT_MAX_KB"),
        (9, "Error: unhandled"),
    ] {
        assert!(rows[index].message.contains(said), "{isolation}: {:?}", rows[index]);
    }
    assert!(rows[1].output.contains("no prices") && rows[13].output.contains("config 13"));
    assert_eq!(rows[11].output.len(), 4096);
    for row in [14, 15] {
        let text = rows[row].result.as_ref().unwrap().as_str();
        assert!(text.contains(r#""poisoned":false"#), "{isolation}: {text}");
    }
    assert_eq!(data["sweep"]["verdicts"]["out_of_memory"], 2, "{data:#}");
    let counted = [("succeeded", 7.0), ("failed", 6.0), ("timed_out", 1.0), ("out_of_memory", 2.0)];
    let series = |verdict| format!("longshore_sweep_rows_total{{verdict=\"{verdict}\"}}");
    let expected = counted.map(|(verdict, count)| (series(verdict), count));
    let expected: Vec<_> = expected.iter().map(|(series, is)| (series.as_str(), *is)).collect();
    shows(&worker, &expected).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn what_a_config_breaks_in_its_isolate_is_its_own() {
    what_a_config_breaks_is_its_own("isolate").await;
}

#[tokio::test]
async fn what_a_config_breaks_in_a_shared_isolate_is_its_own() {
    what_a_config_breaks_is_its_own("shared").await;
}

#[tokio::test]
async fn what_a_config_breaks_in_its_process_is_its_own() {
    what_a_config_breaks_is_its_own("process").await;
}

#[tokio::test]
async fn many_configs_share_an_isolate_and_a_script_that_cannot_be_loaded_fails_them_all() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "export const main = (id, { n }) => ({ score: n % 100 });";
    let sweep = json!({
        "grid": {"n": {"from": 1, "to": 1000, "step": 1}},
        "best": {"by": "score", "keep": 2}, "isolation": "shared",
    });
    let program = longshore_testing::program::Program { script: "backtest.mjs", ..NODE_BACKTEST };
    let message = message_of(&scene, &program, "many", source, json!({}), sweep.clone()).await;
    let result = scene.run(&message).await;
    let data = result.expect("succeeded");
    each_once(&scene, &scene.id("many"), data, 1000).await;
    let best = &data["sweep"]["best"];
    assert_eq!((&best[0]["index"], &best[0]["value"]), (&json!(98), &json!(99.0)), "{best:#}");
    let source = "require('nowhere'); exports.main = () => 1;";
    let message = message_of(&scene, &NODE_BACKTEST, "broken", source, json!({}), sweep).await;
    let result = scene.run(&message).await;
    result.expect("failed");
    result.expect_message(&["nowhere", "0 of 1000 configs are done"]);
    scene.finish([worker]).await;
}

/// A thread that cannot be had would end a config that has done nothing wrong.
#[tokio::test]
async fn fewer_configs_run_at_a_time_where_there_are_few_threads() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "exports.main = () => new Promise((done) => setTimeout(done, 300, 1));";
    let sweep = json!({ "grid": {"n": {"from": 1, "to": 12, "step": 1}}, "parallel": 8 });
    let mut message = message_of(&scene, &NODE_BACKTEST, "few", source, json!({}), sweep).await;
    message["limits"] = json!({ "pids": 40 });
    let result = scene.run(&message).await;
    let rows = each_once(&scene, &scene.id("few"), result.expect("succeeded"), 12).await;
    assert_eq!(verdicts(&rows), [Succeeded; 12], "{rows:#?}");
    let log = scene.read_object(Bucket::Results, &format!("{}/logs.txt", scene.id("few"))).await;
    assert!(log.contains("2 configs run at a time, not 8") && log.contains("limits.pids"), "{log}");
    scene.finish([worker]).await;
}

/// What a command that succeeds prints as JSON.
async fn printed(scene: &Scene, words: &[&str]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.env_clear().current_dir(env!("CARGO_MANIFEST_DIR")).kill_on_drop(true);
    command.envs(settings_of_a_worker(&scene.namespace, "client", &scene.temp_dir()));
    let output = within(command.args(words).output()).await.unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The example's own sweep, by its message and by the command of docs/sweeps.md.
#[tokio::test]
async fn the_example_runs_by_its_message_and_by_the_command_here_and_in_the_queue() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/mean-reversion-js");
    let text = std::fs::read_to_string(folder.join("sweep.json")).unwrap();
    let mut message: Value = serde_json::from_str(&text).unwrap();
    message["file_path"] = json!(scene.put_zip("example", zip_of_folder(&folder)).await);
    message["id"] = json!(scene.id("example"));
    let result = scene.run(&message).await;
    let data = result.expect("succeeded").clone();
    let told = data["sweep"].clone();
    assert_eq!(told["verdicts"], json!({"succeeded": 12}));
    let page =
        std::fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/sweeps.md"));
    let page = page.unwrap();
    let shown =
        page.lines().find(|line| line.starts_with("longshore sweep examples/mean-reversion-js"));
    let asked = scene.id("example");
    let kept = printed(&scene, &["result", &asked]).await;
    assert_eq!(kept["sweep"], told, "{kept:#}");
    for key in ["rows_key", "csv_key"] {
        assert_eq!(kept[key], data["objects"][key], "{kept:#}");
    }
    for more in [&["--output", "json"][..], &["--output", "json", "--queue"]] {
        let words: Vec<_> = shown.unwrap().split_whitespace().skip(1).collect();
        let result = printed(&scene, &[&words, more].concat()).await;
        assert_eq!(result["sweep"]["verdicts"], told["verdicts"], "{result:#}");
        let first = |sweep: &Value| sweep["best"][0]["value"].clone();
        assert_eq!(first(&result["sweep"]), first(&told));
    }
    scene.finish([worker]).await;
}
