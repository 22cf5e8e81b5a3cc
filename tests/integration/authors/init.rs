//! `longshore init`, and directories in the place of messages.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{ends_with, longshore, write};
use longshore_testing::rabbit::within;
use longshore_testing::scene::Scene;

/// The tests that a directory brings pass on this machine.
fn own_tests_pass(scene: &Scene, directory: &str, is_node: bool) {
    let mut command = Command::new(if is_node { "npm" } else { "python3" });
    command.args(if is_node { &["test"][..] } else { &["-m", "unittest"] });
    let output = command.current_dir(scene.folder().join(directory)).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_backtest_of_init_runs_at_once_here_and_on_a_worker() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, flags, script) in
        [("sma", &[][..], "backtest.py on"), ("sma-js", &["--node"], "backtest.mjs on")]
    {
        let name = &scene.id(name);
        let (printed, told) =
            ends_with(0, longshore(&scene, &[&["init", name], flags].concat())).await;
        assert!(printed.contains(&format!("{name}/start.json\n")), "{printed}");
        assert!(told.contains(&format!("Run it with: longshore run {name}\n")), "{told}");
        own_tests_pass(&scene, name, !flags.is_empty());

        let script = script.replace(" on", " as a backtest on");
        let run = longshore(&scene, &["run", name, "--output", "json"]);
        let (printed, told) = ends_with(0, run).await;
        assert!(told.contains(&format!("longshore: by start.json: {script}")), "{told}");
        let here: Value = serde_json::from_str(&printed).unwrap();
        assert!(here["result"]["trades"].as_u64() > Some(0), "{here:#}");

        let start = || longshore(&scene, &["start", name, "--wait", "--output", "json"]);
        let (printed, told) = ends_with(0, start()).await;
        assert!(!told.contains("already"), "{told}");
        let there: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(there["result"], here["result"]);
        assert_eq!(there["id"], json!(name));
        // The same code again.
        let (_, told) = ends_with(0, start()).await;
        assert!(told.contains("the store has this code already"), "{told}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_runtime_that_is_not_there_is_answered_with_those_that_are() {
    let scene = Scene::new().await;
    ends_with(0, longshore(&scene, &["init", "sma"])).await;
    let known = "must be \"python3.11\", \"nodejs20\", \"python3.12\", \"python3.13\", \"nodejs22\", \
                 \"nodejs24\", \"shell\" or \"binary\", not \"pyton3.11\"; did you mean \"python3.11\"?";
    let misspelt = ["--runtime", "pyton3.11"];
    let run = longshore(&scene, &[&["run", "sma"], &misspelt[..]].concat());
    let (_, told) = ends_with(2, run).await;
    assert!(told.contains(&format!("longshore: runtime: {known}\n")), "{told}");
    // The workers may have more than this machine knows.
    let pack = longshore(&scene, &[&["pack", "sma"], &misspelt[..]].concat());
    let (_, told) = ends_with(0, pack).await;
    let warned = format!(
        "longshore: the runtime pyton3.11 is not in the settings here (BOT_RUNTIMES): no packages are installed, \
         and a worker without it rejects the job; it {known}\n"
    );
    assert!(told.contains(&warned), "{told}");
    scene.finish([]).await;
}

#[tokio::test]
async fn a_bot_of_init_runs_until_it_is_stopped() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, flags) in [("bot", &["--bot"][..]), ("bot-js", &["--bot", "--node"])] {
        let name = &scene.id(name);
        ends_with(0, longshore(&scene, &[&["init", name], flags].concat())).await;
        own_tests_pass(&scene, name, flags.len() > 1);

        let mut child = longshore(&scene, &["run", name]).stderr(Stdio::inherit()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within(lines.next_line()).await.unwrap().unwrap();
        assert!(line.starts_with(&format!("{name}: price ")), "{line}");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        assert!(within(child.wait()).await.unwrap().success());

        let (printed, _) = ends_with(0, longshore(&scene, &["start", name, "--wait"])).await;
        assert!(printed.contains(&format!("{name} runs on ")), "{printed}");
        scene.logged(name, ": price ").await;
        scene.stop(&json!({ "id": name })).await;
        scene.events.result_of(name).await.expect("stopped");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn init_touches_no_file_that_is_there() {
    let scene = Scene::new().await;
    write(&scene.folder().join("mine"), &[("README.md", "mine"), ("notes.txt", "")]);
    let (printed, told) = ends_with(2, longshore(&scene, &["init", "mine"])).await;
    assert!(told.contains("mine has README.md already, so nothing was written"), "{told}");
    assert_eq!(printed, "");
    let names = std::fs::read_dir(scene.folder().join("mine")).unwrap().count();
    assert_eq!(names, 2);
    scene.finish([]).await;
}

#[tokio::test]
async fn ignored_files_and_secrets_are_not_sent() {
    let scene = Scene::new().await;
    let lists = "import os\n\
                 def main(id, config):\n    \
                     found = os.walk(os.path.dirname(__file__))\n    \
                     return sorted(os.path.relpath(os.path.join(at, name), os.path.dirname(__file__))\n                  \
                                   for at, _, names in found for name in names if '.longshore' not in at)\n";
    let files = [
        ("strategy.py", lists),
        ("prices.csv", "1"),
        ("big.bin", "1"),
        ("sub/notes.md", ""),
        (".env", "KEY=1"),
        (".env.local", "KEY=1"),
        (".git/config", ""),
        (".gitignore", "*.bin\n"),
        (".longshoreignore", "sub/\n"),
    ];
    write(&scene.folder().join("code"), &files);
    let (printed, told) =
        ends_with(0, longshore(&scene, &["run", "code", "--output", "json"])).await;
    assert!(told.contains("strategy.py as a backtest on python3.11"), "{told}");
    let result: Value = serde_json::from_str(&printed).unwrap();
    let sent: Vec<_> =
        result["result"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(sent.contains(&"prices.csv") && sent.contains(&"strategy.py"), "{sent:?}");
    for (name, _) in files.iter().filter(|(name, _)| *name != "strategy.py") {
        let is_sent = ["prices.csv", ".gitignore", ".longshoreignore"].contains(name);
        assert_eq!(sent.contains(name), is_sent, "{name}: {sent:?}");
    }
    scene.finish([]).await;
}

#[tokio::test]
async fn what_a_directory_lacks_is_said_before_anything_is_sent() {
    let scene = Scene::new().await;
    write(&scene.folder().join("two"), &[("a.py", ""), ("b.py", "")]);
    for verb in ["start", "run"] {
        let (_, told) = ends_with(2, longshore(&scene, &[verb, "two"])).await;
        assert!(told.contains("for example --file a.py. There are a.py and b.py"), "{told}");
    }
    let mut large = longshore(&scene, &["start", "two", "--file", "a.py"]);
    let noise: String = (0..1_600_000).map(|_| fastrand::alphanumeric()).collect();
    write(&scene.folder().join("two"), &[("data.txt", &noise)]);
    large.env("CODE_MAX_ARCHIVE_MB", "1");
    let (_, told) = ends_with(2, large).await;
    assert!(told.contains("more than the 1 MB allowed (CODE_MAX_ARCHIVE_MB)"), "{told}");
    scene.finish([]).await;
}

/// In the order of the page, in a directory of their own.
#[tokio::test]
async fn the_command_lines_of_the_guide_work() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("my-strategy");
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/authors.md"));
    let page = page.unwrap().replace("my-strategy", &id);
    // Keys of this scene, and the data sets that the guide's reader has.
    let page = page.replace("prices/", &format!("{}/", scene.namespace));
    super::write(scene.folder(), &[("btc-1m.parquet", "1,2"), ("prices.csv", "3,4")]);
    let blocks = page.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let mut seen = 0;
    for line in blocks.flat_map(str::lines) {
        let words: Vec<_> = line.split(" #").next().unwrap().split_whitespace().collect();
        assert_eq!(words[0], "longshore", "{line}");
        ends_with(0, longshore(&scene, &words[1..])).await;
        seen += 1;
    }
    assert!(seen >= 4, "only {seen} command lines were found");
    scene.finish([worker]).await;
}
