//! What the jobs run, and what may come of it.

use serde_json::{Value, json};

use super::plan::{Language, PlannedJob, Stop, Work};
use longshore_testing::program::{NODE_BACKTEST, NODE_BOT, PYTHON_BACKTEST, PYTHON_BOT, Program};

/// The exit code of a backtest that fails.
const EXIT_CODE: i64 = 3;

/// What a bot's line begins with; then come its process's own word, a number and the wall clock in
/// milliseconds.
pub(crate) const STAMP: &str = "stamp ";

/// A bot that says when it is alive. What it says last, it says while it still runs.
const PYTHON_STAMPS: &str = r#"
import time, uuid
def main(id, config):
    nonce, number = uuid.uuid4().hex[:12], 0
    while True:
        number += 1
        print("stamp", nonce, number, int(time.time() * 1000), flush=True)
        time.sleep(0.25)
"#;

const NODE_STAMPS: &str = r"
const nonce = require('crypto').randomUUID().slice(0, 12);
let number = 0;
exports.main = async () => {
  setInterval(() => console.log('stamp', nonce, ++number, Date.now()), 250);
};
";

const PYTHON_WORKS: &str = r#"
import sys, time
def main(id, config):
    time.sleep(config["seconds"])
    if config["fails"]:
        print("no luck with", config["token"], flush=True)
        sys.exit(3)
    return {"id": id, "token": config["token"]}
"#;

const NODE_WORKS: &str = r"
exports.main = async (id, config) => {
  await new Promise((done) => setTimeout(done, config.seconds * 1000));
  if (config.fails) {
    console.log('no luck with', config.token);
    process.exit(3);
  }
  return { id, token: config.token };
};
";

/// The archives that there are: name, script, source.
pub(crate) const ARCHIVES: [(&str, &Program, &str); 4] = [
    ("python-stamps", &PYTHON_BOT, PYTHON_STAMPS),
    ("node-stamps", &NODE_BOT, NODE_STAMPS),
    ("python-works", &PYTHON_BACKTEST, PYTHON_WORKS),
    ("node-works", &NODE_BACKTEST, NODE_WORKS),
];

/// Which of them a job runs.
fn archive(job: PlannedJob) -> (&'static str, &'static Program) {
    let place = match (job.work, job.language) {
        (Work::Stamps, Language::Python) => 0,
        (Work::Stamps, Language::Node) => 1,
        (_, Language::Python) => 2,
        (_, Language::Node) => 3,
    };
    let (name, program, _) = ARCHIVES[place];
    (name, program)
}

/// The key of an archive.
pub(crate) fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}.zip")
}

/// The start message of a job.
pub(crate) fn message(namespace: &str, job: PlannedJob, id: &str, token: &str) -> Value {
    let (name, program) = archive(job);
    let mut message = program.message(id, &key(namespace, name));
    let seconds = if let Work::ReturnsAfter { seconds } = job.work { seconds } else { 0 };
    message["config"] =
        json!({ "token": token, "seconds": seconds, "fails": job.work == Work::Fails });
    if job.work == Work::IsRefused {
        message["runtime"] = json!("cobol85");
    }
    message
}

/// What is wrong with the result of a job, if anything is.
pub(crate) fn fault_of_result(
    job: PlannedJob,
    id: &str,
    token: &str,
    data: &Value,
) -> Option<String> {
    let verdict = data["verdict"].as_str().unwrap_or_default();
    let allowed: &[&str] = match (job.work, job.stop) {
        (Work::Stamps, _) => &["stopped"],
        (Work::IsRefused, _) => &["rejected"],
        (Work::Fails, _) => &["failed"],
        (_, Stop::Never) => &["succeeded"],
        // Which of the two messages a worker gets first, and whether in time, is a matter of luck.
        (_, Stop::After | Stop::Before) => &["succeeded", "stopped", "cancelled"],
    };
    if !allowed.contains(&verdict) {
        return Some(format!(
            "the verdict {verdict:?} is none of {allowed:?}: {}",
            data["message"]
        ));
    }
    let proof = json!({ "id": id, "token": token });
    if verdict == "succeeded" && data["result"] != proof {
        return Some(format!("the result {} is not {proof}", data["result"]));
    }
    if verdict == "failed" && data["exit_code"] != EXIT_CODE {
        return Some(format!("the exit code is {}, not {EXIT_CODE}", data["exit_code"]));
    }
    None
}

/// Whether a backtest failed for it could write nothing more, which a full disk explains.
pub(crate) fn blames_the_disk(data: &Value) -> bool {
    let text = data.to_string();
    text.contains("No space left") || text.contains("ENOSPC")
}
