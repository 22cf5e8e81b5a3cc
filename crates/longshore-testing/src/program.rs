//! The four kinds of program, and start messages for them.

use serde_json::{Value, json};

/// A kind of program: language, entrypoint, script and way to run.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub runtime: &'static str,
    pub entrypoint: &'static str,
    pub script: &'static str,
    pub is_long_running: bool,
}

pub const PYTHON_BACKTEST: Program = Program {
    runtime: "python3.11",
    entrypoint: "backtest",
    script: "backtest.py",
    is_long_running: false,
};

pub const NODE_BACKTEST: Program = Program {
    runtime: "nodejs20",
    entrypoint: "backtest",
    script: "backtest.js",
    is_long_running: false,
};

pub const PYTHON_BOT: Program =
    Program { runtime: "python3.11", entrypoint: "bot", script: "main.py", is_long_running: true };

pub const NODE_BOT: Program =
    Program { runtime: "nodejs20", entrypoint: "bot", script: "main.js", is_long_running: true };

impl Program {
    /// A start message with only the required fields.
    pub fn message(&self, id: &str, file_path: &str) -> Value {
        json!({
            "id": id,
            "runtime": self.runtime,
            "entrypoint": self.entrypoint,
            "entrypoint_files": { self.entrypoint: self.script },
            "file_path": file_path,
            "config": {},
            "is_long_running": self.is_long_running,
            "persist_results": !self.is_long_running,
        })
    }
}

/// A Python bot that prints `up` and then numbers until it is stopped.
pub const PYTHON_TICKER: &str = r#"
import time
def main(id, config):
    print("up", flush=True)
    tick = 0
    while True:
        tick += 1
        print("tick", tick, flush=True)
        time.sleep(0.2)
"#;

/// The same in Node.js.
pub const NODE_TICKER: &str = r"
let tick = 0;
exports.main = async () => {
  console.log('up');
  setInterval(() => console.log('tick', ++tick), 200);
};
";
