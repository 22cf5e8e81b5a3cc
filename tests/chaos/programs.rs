//! What the jobs run, and what may come of it.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::plan::{Extra, Language, PlannedJob, Stop, Work};
use longshore_testing::program::{NODE_BACKTEST, NODE_BOT, PYTHON_BACKTEST, PYTHON_BOT, Program};

/// The exit code of a backtest that fails.
const EXIT_CODE: i64 = 3;

/// What a bot's line begins with; then come its process's own word, a number and the wall clock in
/// milliseconds, and the count if it has a state.
pub(crate) const STAMP: &str = "stamp ";

/// A bot that says when it is alive. What it says last, it says while it still runs. A full disk may
/// keep it from saving its state.
const PYTHON_STAMPS: &str = r#"
import longshore, time, uuid
def main(id, config):
    nonce, number, state = uuid.uuid4().hex[:12], 0, longshore.state
    while True:
        number += 1
        count = []
        if config["counts"]:
            state["n"] = state.get("n", 0) + 1
            count = [state["n"]]
            try:
                state.save()
            except OSError:
                pass
        print("stamp", nonce, number, int(time.time() * 1000), *count, flush=True)
        time.sleep(0.25)
"#;

const NODE_STAMPS: &str = r"
const { state } = require('longshore');
const nonce = require('crypto').randomUUID().slice(0, 12);
let number = 0;
function count() {
  state.n = (state.n ?? 0) + 1;
  try {
    state.save();
  } catch (error) {
    if (error.code !== 'ENOSPC') throw error;
  }
  return [state.n];
}
exports.main = async (id, config) => {
  setInterval(() => {
    const counted = config.counts ? count() : [];
    console.log('stamp', nonce, ++number, Date.now(), ...counted);
  }, 250);
};
";

/// The input that there is, and what it holds.
const INPUT: &str = "prices.csv";
pub(crate) const PRICES: &str = "date,close\n2026-11-26,100.5\n";

/// What a backtest leaves, with its token in each.
pub(crate) const LEFT: [&str; 2] = ["token.txt", "more/again.txt"];

const PYTHON_WORKS: &str = r#"
import longshore, sys, time
def main(id, config):
    time.sleep(config["seconds"])
    if config["fails"]:
        print("no luck with", config["token"], flush=True)
        sys.exit(3)
    for path in config["leaves"]:
        with open(longshore.artifact(path), "w") as file:
            file.write(config["token"])
    found = {"id": id, "token": config["token"]}
    if config["reads"]:
        with open("data/prices.csv") as file:
            found["read"] = file.read()
    return found
"#;

const NODE_WORKS: &str = r"
const fs = require('node:fs');
const { artifact } = require('longshore');
exports.main = async (id, config) => {
  await new Promise((done) => setTimeout(done, config.seconds * 1000));
  if (config.fails) {
    console.log('no luck with', config.token);
    process.exit(3);
  }
  for (const path of config.leaves) fs.writeFileSync(artifact(path), config.token);
  const found = { id, token: config.token };
  if (config.reads) found.read = fs.readFileSync('data/prices.csv', 'utf8');
  return found;
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

/// The key of the input.
pub(crate) fn input_key(namespace: &str) -> String {
    format!("{namespace}/{INPUT}")
}

/// The start message of a job.
pub(crate) fn message(namespace: &str, job: PlannedJob, id: &str, token: &str) -> Value {
    let (name, program) = archive(job);
    let mut message = program.message(id, &key(namespace, name));
    let seconds = if let Work::ReturnsAfter { seconds } = job.work { seconds } else { 0 };
    message["config"] = json!({
        "token": token,
        "seconds": seconds,
        "fails": job.work == Work::Fails,
        "counts": job.extra == Extra::State,
        "reads": job.extra == Extra::Inputs,
        "leaves": if job.extra == Extra::Artifacts { &LEFT[..] } else { &[] },
    });
    match job.extra {
        Extra::Nothing => (),
        Extra::State => message["state"] = json!({}),
        Extra::Artifacts => message["artifacts"] = json!({}),
        Extra::Inputs => {
            let mut input = json!({ "key": input_key(namespace), "path": "data/prices.csv" });
            if job.language == Language::Python {
                input["sha256"] = hex::encode(Sha256::digest(PRICES)).into();
            }
            message["inputs"] = json!([input]);
        }
    }
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
    let mut proof = json!({ "id": id, "token": token });
    if job.extra == Extra::Inputs {
        proof["read"] = PRICES.into();
    }
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
