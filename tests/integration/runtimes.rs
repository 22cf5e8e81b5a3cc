//! Programs in any language, in any image: the runtimes that are built in, and those of an operator.

use std::path::{Path, PathBuf};

use longshore::storage::Bucket;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::clients::must_run;
use longshore_testing::archive::zip_of;
use longshore_testing::bench::{NODE, PYTHON};
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;

/// A bot of the standard library: it says what it finds, and ticks until it is stopped.
const RUST_BOT: &str = r#"
use std::time::Duration;
fn main() {
    let name = |variable: &str| std::env::var(variable).unwrap_or_default();
    println!("{} {} {}", name("BOT_ID"), name("BOT_CONFIG"), std::env::current_dir().unwrap().display());
    println!("{} files", std::fs::read_dir(".").unwrap().count());
    loop {
        println!("tick");
        std::thread::sleep(Duration::from_millis(100));
    }
}
"#;

const SHELL_BACKTEST: &str = r#"
numbers=(1 2 3)
echo "$BACKTEST_ID counts ${#numbers[@]}, and $GREETING"
read -r line < data.txt
[ "$line" = stop ] && { echo '{"status": "error", "message": "there is no data"}' > result.json; exit 3; }
printf '{"count": %s, "line": "%s", "config": %s}' "${#numbers[@]}" "$line" "$CONFIG" > result.json
"#;

const SHELL_BOT: &str = r"
trap 'echo goodbye; exit 0' TERM
while :; do echo tick; sleep 0.1 & wait $!; done
";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ma-crossover-rs")
}

/// Compiles a program that needs no library of any image.
async fn compiled(source: &Path, program: &Path) -> Vec<u8> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static", "-C", "strip=symbols"]);
    must_run(rustc.arg("-o").args([program, source])).await;
    std::fs::read(program).unwrap()
}

/// The compiled example.
async fn crossover() -> &'static [u8] {
    static PROGRAM: OnceCell<Vec<u8>> = OnceCell::const_new();
    let compiling = async || {
        let folder = tempfile::tempdir().unwrap();
        compiled(&example().join("backtest.rs"), &folder.path().join("backtest")).await
    };
    PROGRAM.get_or_init(compiling).await
}

/// The start message of the example, with its code in the bucket. Nothing in the zip says that it can be executed.
async fn crossover_job(scene: &Scene, name: &str) -> Value {
    let prices = std::fs::read(example().join("prices.csv")).unwrap();
    let files = [("backtest", crossover().await), ("prices.csv", &prices)];
    let key = scene.put_zip(name, zip_of(&files)).await;
    let text = std::fs::read_to_string(example().join("start.json")).unwrap();
    let mut message: Value = serde_json::from_str(&text).unwrap();
    (message["id"], message["file_path"]) = (json!(scene.id(name)), json!(key));
    message
}

async fn job(
    scene: &Scene,
    name: &str,
    runtime: &str,
    script: &str,
    files: &[(&str, &str)],
) -> Value {
    let key = scene.put_code(name, files).await;
    let mut message = PYTHON_BACKTEST.message(&scene.id(name), &key);
    message["runtime"] = json!(runtime);
    message["entrypoint_files"]["backtest"] = json!(script);
    message
}

fn as_bot(mut message: Value) -> Value {
    message["entrypoint_files"] = json!({ "bot": message["entrypoint_files"]["backtest"] });
    for (field, value) in [
        ("entrypoint", json!("bot")),
        ("is_long_running", json!(true)),
        ("persist_results", json!(false)),
    ] {
        message[field] = value;
    }
    message
}

/// An image with nothing in it at all, which names a program to begin with nevertheless.
async fn empty_image(scene: &Scene) -> String {
    let image = format!("{}:nothing", scene.namespace);
    let import = format!(
        "tar --create --files-from /dev/null | docker import --change 'ENTRYPOINT [\"/none\"]' - {image}"
    );
    must_run(Command::new("sh").args(["-c", &import])).await;
    image
}

async fn remove_image(image: &str) {
    must_run(Command::new("docker").args(["rmi", image])).await;
}

#[tokio::test]
async fn a_binary_in_the_zip_gives_the_figures_of_the_same_strategy_in_python() {
    let scene = Scene::new().await;
    // Any image with this machine's processor will do.
    let runtimes = json!({ "binary": { "image": PYTHON } }).to_string();
    let worker = scene.worker_with(&[("BOT_RUNTIMES", &runtimes)]).await;
    let message = crossover_job(&scene, "crossover").await;
    let data = scene.run(&message).await.expect("succeeded").clone();
    let python = json!({ "trades": 9, "total_return": 0.010_174, "final_equity": 10_101.74 });
    assert_eq!(data["result"], python);
    assert_eq!(data["metadata"]["image"], PYTHON);

    let mut wrong = message;
    wrong["id"] = json!(scene.id("wrong"));
    wrong["config"] = json!({ "fast": 30, "slow": 10 });
    let result = scene.run(&wrong).await;
    assert_eq!(result.expect("failed")["exit_code"], 1);
    result.expect_message(&["fast must be above 0 and below slow"]);
    scene.finish([worker]).await;
}

#[tokio::test]
async fn an_image_with_nothing_in_it_runs_a_backtest_and_a_bot_until_it_is_stopped() {
    let scene = Scene::new().await;
    let image = empty_image(&scene).await;
    let runtimes = json!({ "nothing": { "image": image, "launcher": "exec" } }).to_string();
    let worker = scene.worker_with(&[("BOT_RUNTIMES", &runtimes)]).await;
    let mut backtest = crossover_job(&scene, "backtest").await;
    backtest["runtime"] = json!("nothing");
    assert_eq!(scene.run(&backtest).await.expect("succeeded")["result"]["trades"], 9);

    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("bot.rs"), folder.path().join("bot"));
    std::fs::write(&source, RUST_BOT).unwrap();
    let key = scene.put_zip("bot", zip_of(&[("bin/bot", compiled(&source, &program).await)])).await;
    let mut bot = as_bot(PYTHON_BACKTEST.message(&scene.id("bot"), &key));
    bot["runtime"] = json!("nothing");
    bot["entrypoint_files"] = json!({ "bot": "bin/bot" });
    bot["config"] = json!({ "a": 1 });
    scene.start(&bot).await;
    let id = scene.id("bot");
    scene.events.wait_state(&id, "running").await;
    scene.logged(&id, "tick").await;
    scene.stop(&json!({ "id": id })).await;
    let result = scene.events.result_of(&id).await;
    // Ended by the signal, to which it does not listen.
    assert_eq!(result.expect("stopped")["exit_code"], 143);
    let first = format!("{id} {{\"a\":1}} /bot");
    assert_eq!(result.output().lines().next(), Some(first.as_str()), "{:#}", result.event);
    scene.finish([worker]).await;
    remove_image(&image).await;
}

#[tokio::test]
async fn a_shell_script_gives_a_result_and_says_why_it_failed() {
    let scene = Scene::new().await;
    // Any image with bash will do.
    let runtimes = json!({ "shell": { "image": PYTHON } }).to_string();
    let worker = scene.worker_with(&[("BOT_RUNTIMES", &runtimes)]).await;
    let files = |data| [("run.sh", SHELL_BACKTEST), ("data.txt", data)];
    let mut good = job(&scene, "good", "shell", "run.sh", &files("go\n")).await;
    good["env"] = json!({ "GREETING": "hello" });
    good["config"] = json!({ "fast": 1.50 });
    let result = scene.run(&good).await;
    let data = result.expect("succeeded");
    assert_eq!(data["result"], json!({ "count": 3, "line": "go", "config": { "fast": 1.50 } }));
    assert_eq!(result.output(), format!("{} counts 3, and hello\n", scene.id("good")));
    let key = data["objects"]["result_key"].as_str().unwrap();
    assert!(scene.read_object(Bucket::Results, key).await.contains("\"line\": \"go\""));

    let bad = job(&scene, "bad", "shell", "run.sh", &files("stop\n")).await;
    let result = scene.run(&bad).await;
    assert_eq!(result.expect("failed")["exit_code"], 3);
    result.expect_message(&["there is no data"]);

    let silent = job(&scene, "silent", "shell", "run.sh", &[("run.sh", "true")]).await;
    let result = scene.run(&silent).await;
    result.expect("failed");
    result.expect_message(&["exited with code 0 but wrote no result.json"]);

    let slow = job(&scene, "bot", "shell", "run.sh", &[("run.sh", SHELL_BOT)]).await;
    scene.start(&as_bot(slow)).await;
    let id = scene.id("bot");
    scene.logged(&id, "tick").await;
    scene.stop(&json!({ "id": id })).await;
    let result = scene.events.result_of(&id).await;
    assert_eq!(result.expect("stopped")["exit_code"], 0);
    assert!(result.output().ends_with("goodbye\n"), "{:#}", result.event);
    scene.finish([worker]).await;
}

/// One with a program of the image, and one with the launcher for Python, of which a container waits.
#[tokio::test]
async fn an_operators_own_runtimes_are_read_from_the_file_and_counted_by_name() {
    let scene = Scene::new().await;
    let file = scene.folder().join("longshore.toml");
    let text = format!(
        "[runtimes.\"node-plain\"]\nimage = \"{NODE}\"\nlauncher = \"exec\"\n\
         command = [\"node\", \"--no-warnings\"]\nextensions = [\"cts\"]\n\
         [runtimes.\"python-ours\"]\nimage = \"{PYTHON}\"\nlauncher = \"python\"\nwarm = 1\n"
    );
    std::fs::write(&file, text).unwrap();
    let worker = scene.worker_with(&[("LONGSHORE_CONFIG", &file.to_string_lossy())]).await;
    let waiting = crate::warm::waiting(&scene, &worker, 1).await;

    let script =
        "require('fs').writeFileSync('result.json', JSON.stringify(process.argv.slice(1)))";
    let plain = job(&scene, "plain", "node-plain", "main.js", &[("main.js", script)]).await;
    let result = scene.run(&plain).await;
    assert_eq!(result.expect("succeeded")["result"], json!(["/backtest/main.js"]));

    let script = "def main(id, config):\n    return id\n";
    let ours = job(&scene, "ours", "python-ours", "main.py", &[("main.py", script)]).await;
    let result = scene.run(&ours).await;
    let data = result.expect("succeeded");
    assert_eq!(data["result"], json!(scene.id("ours")));
    assert_eq!(data["container_id"], json!(waiting[0]), "it ran cold");

    let unknown = job(&scene, "unknown", "ruby3", "main.rb", &[("main.rb", "")]).await;
    let result = scene.run(&unknown).await;
    result.expect("rejected");
    result.expect_message(&[
        "runtime: must be \"python3.11\", ",
        "\"node-plain\" or \"python-ours\"",
    ]);

    let label =
        "longshore_runs_total{kind=\"terminating\",runtime=\"node-plain\",verdict=\"succeeded\"}";
    crate::metrics::shows(&worker, &[(label, 1.0)]).await;
    assert_eq!(scene.dead_letters(1).await.len(), 1);
    scene.finish([worker]).await;
}

/// What only a launcher can do is refused before anything runs.
#[tokio::test]
async fn a_program_of_its_own_is_refused_what_needs_a_launcher() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = job(&scene, "artifacts", "shell", "run.sh", &[("run.sh", "true")]).await;
    message["artifacts"] = json!({});
    let result = scene.run(&message).await;
    result.expect("rejected");
    result.expect_message(&["artifacts: is not for the runtime shell"]);
    assert_eq!(scene.dead_letters(1).await.len(), 1);
    scene.finish([worker]).await;
}

/// Packed by its author, whose ignore files say that the program is sent and its source is not.
#[tokio::test]
async fn the_example_runs_on_its_authors_machine() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(example()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::write(folder.path().join("backtest"), crossover().await).unwrap();
    let mut longshore = Command::new(env!("CARGO_BIN_EXE_longshore"));
    longshore.env("BOT_RUNTIMES", json!({ "binary": { "image": PYTHON } }).to_string());
    longshore.args(["run", "--output", "json"]).arg(folder.path());
    let output = longshore.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("backtest as a backtest on binary"), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["result"]["trades"], 9, "{result:#}");
}
