//! What README.md shows is what works.

use std::path::Path;

use clap::Parser as _;
use longshore::cli::Arguments;
use longshore::job::{State, Verdict, parse_executable};
use serde_json::Value;
use tokio::process::Command;

use crate::cli::commands;
use crate::clients::{must_run, python_with_pika};
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::rabbit::within;
use longshore_testing::scene::Scene;
use longshore_testing::servers;
use longshore_testing::worker::settings_of_a_worker;

/// The fenced blocks of a language in a page of the project.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let fence = format!("```{language}\n");
    let rest = text.split(&fence).skip(1);
    let found: Vec<_> =
        rest.filter_map(|block| block.split_once("```")).map(|(block, _)| block.into()).collect();
    assert!(!found.is_empty(), "{page} has no block of {language}");
    found
}

#[test]
fn the_start_message_is_one_that_a_worker_takes() {
    for block in blocks("README.md", "json") {
        parse_executable(block.as_bytes()).unwrap();
    }
}

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_tables_have_every_verdict_and_every_state() {
    let page = readme();
    let (_, table) = page.split_once("| verdict | meaning |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    for verdict in Verdict::ALL {
        assert!(table.contains(&format!("`{verdict}`")), "{verdict} is missing in{table}");
    }
    let states = page.lines().find(|line| line.starts_with("| `longshore.status` |")).unwrap();
    for state in State::ALL {
        assert!(states.contains(&format!("`{}`", state.as_str())), "{}: {states}", state.as_str());
    }
}

#[test]
fn every_command_is_shown() {
    let page = readme();
    for command in commands() {
        assert!(page.contains(&format!("longshore {command}")), "longshore {command}");
    }
}

#[test]
fn every_command_line_is_one_that_the_program_understands() {
    let mut seen = 0;
    let pages = [
        "README.md",
        "docs/jobs.md",
        "docs/authors.md",
        "docs/state.md",
        "docs/sweeps.md",
        "docs/tutorial.md",
    ];
    for block in pages.into_iter().flat_map(|page| blocks(page, "sh")) {
        for line in block.lines().filter(|line| line.starts_with("longshore ")) {
            let command = line.split(" #").next().unwrap();
            // What is quoted is one word.
            let parts = command.split('"').enumerate();
            let joined = |(number, part): (usize, &str)| {
                if number % 2 == 1 { part.replace(' ', "-") } else { part.to_owned() }
            };
            let command: String = parts.map(joined).collect();
            let parsed = Arguments::try_parse_from(command.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 12, "only {seen} command lines were found");
}

/// The program with the words of a command line of the page, in a scene: its jobs are called as a test's.
fn as_shown(line: &str, scene: &Scene) -> Command {
    let root = env!("CARGO_MANIFEST_DIR");
    let (backtest, bot) = (scene.id("backtest"), scene.id("bot"));
    let line = line.split(" #").next().unwrap().replace('"', "");
    let line = line.replace("my-backtest-1", &backtest).replace("ticker-demo", &bot);
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.env_clear().current_dir(scene.folder()).kill_on_drop(true);
    command.envs(settings_of_a_worker(&scene.namespace, "client", &scene.temp_dir()));
    command.args(line.split_whitespace().skip(1).map(
        |word| match word.strip_prefix("examples/") {
            Some(example) => format!("{root}/examples/{example}"),
            None => word.to_owned(),
        },
    ));
    if line.contains("start examples/ma-crossover") {
        command.args(["--id", &backtest]);
    } else if line.contains("start examples/") {
        command.args(["--id", &bot]);
    } else if line.contains("start my-strategy") {
        command.args(["--id", &scene.id("my-strategy")]);
    }
    command
}

#[tokio::test]
async fn the_command_lines_start_follow_and_stop_jobs() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let page = blocks("README.md", "sh").concat();
    let lines = |verb: &str| -> Vec<String> {
        let verb = format!("longshore {verb} ");
        page.lines().filter(|line| line.starts_with(&verb)).map(str::to_owned).collect()
    };
    for line in [lines("init"), lines("run"), lines("start")].concat() {
        must_run(&mut as_shown(&line, &scene)).await;
    }
    let bot = scene.id("bot");
    scene.events.wait_state(&bot, "running").await;
    let following: Vec<_> = lines("logs")
        .iter()
        .map(|line| as_shown(line, &scene).stdout(std::process::Stdio::piped()).spawn().unwrap())
        .collect();
    for line in lines("stop") {
        must_run(&mut as_shown(&line, &scene)).await;
    }
    let result = scene.events.result_of(&bot).await;
    result.expect("stopped");
    result.expect_message(&["enough"]);
    for child in following {
        let output = within(child.wait_with_output()).await.unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{output:?}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn the_command_lines_about_jobs_work() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "def main(id, config): return {'seen': True}";
    scene.run(&scene.job("backtest", &PYTHON_BACKTEST, source).await).await.expect("succeeded");
    let verbs = ["jobs", "show", "result", "queue", "dead"];
    let mut seen = 0;
    for line in
        ["README.md", "docs/jobs.md"].map(|page| blocks(page, "sh").concat()).concat().lines()
    {
        if verbs.iter().any(|verb| line.split_whitespace().take(2).eq(["longshore", verb])) {
            must_run(&mut as_shown(line, &scene)).await;
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} command lines were found");
    scene.finish([worker]).await;
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    let pages =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"]
            .map(|page| root.join(page));
    let docs = ["docs", "docs/decisions"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        // The site's table of contents: `make book` checks it.
        .filter(|path| path.is_file() && !path.ends_with("SUMMARY.md"));
    for page in pages.into_iter().chain(docs) {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap();
            assert!(page.with_file_name(file).exists(), "{link} in {}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} links were found");
}

#[tokio::test]
async fn the_python_publisher_starts_a_job() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "def main(id, config): return {'seen': True}";
    let message: Value = scene.job("readme", &PYTHON_BACKTEST, source).await;
    std::fs::write(scene.folder().join("start.json"), message.to_string()).unwrap();
    let jobs = format!("{}.jobs", scene.namespace);
    let block = blocks("README.md", "python").remove(0).replace("longshore.jobs", &jobs);
    let mut python = Command::new(python_with_pika().await);
    python.args(["-c", &block]).current_dir(scene.folder()).env("AMQP_URL", servers::amqp_url());
    must_run(&mut python).await;
    let result = scene.events.result_of(message["id"].as_str().unwrap()).await;
    assert_eq!(result.expect("succeeded")["result"]["seen"], true);
    scene.finish([worker]).await;
}
