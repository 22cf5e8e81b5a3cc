//! What README.md shows is what works.

use std::path::Path;

use clap::Parser as _;
use longshore::cli::Arguments;
use longshore::job::parse_executable;
use serde_json::Value;
use tokio::process::Command;

use crate::clients::{must_run, python_with_pika};
use crate::support::program::PYTHON_BACKTEST;
use crate::support::scene::Scene;
use crate::support::servers;

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

#[test]
fn every_command_line_is_one_that_the_program_understands() {
    let mut seen = 0;
    for block in blocks("README.md", "sh") {
        for line in block.lines().filter(|line| line.starts_with("longshore ")) {
            let command = line.split(" #").next().unwrap().replace('"', "");
            // A quoted reason is one word in all of these.
            let parsed = Arguments::try_parse_from(command.split_whitespace());
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} command lines were found");
}

#[test]
fn every_link_within_the_project_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "examples/README.md"]
        .into_iter()
        .map(|page| root.join(page))
        .chain(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()))
    {
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
