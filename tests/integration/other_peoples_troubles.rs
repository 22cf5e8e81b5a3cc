//! Programs as other people write them, with real packages from the registries, zipped as their users zip
//! them. The packages are installed once under `target/packages`, with `pip` and `npm` of this machine.

mod packages;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::packages::{Zipped, node_modules, python_vendor};
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, Program};
use longshore_testing::scene::Scene;

/// How long a job may take, from its upload to its result.
const PATIENCE: Duration = Duration::from_mins(10);

/// Room for the numeric stack, also where this machine is busy.
const ROOMY: [(&str, &str); 3] = [
    ("BOT_MEMORY_LIMIT_MB", "1024"),
    ("CODE_UNPACK_TIMEOUT_SECONDS", "600"),
    ("JOB_TIMEOUT_SECONDS", "600"),
];

/// The data of a job's result, which must have this verdict. Unpacking takes a while where it is not optimised.
async fn result_of(scene: &Scene, id: &str, verdict: &str) -> Value {
    let begun = Instant::now();
    while scene.events.results_of(id).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no result of {id} within {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(200)).await;
    }
    scene.events.results_of(id)[0].expect(verdict).clone()
}

/// Runs one backtest with these packages beside it; gives the data of its result, which must be a success.
async fn run(program: &Program, packages: Zipped, files: &[(&str, &str)]) -> Value {
    run_to(program, packages, files, "succeeded").await
}

async fn run_to(
    program: &Program,
    packages: Zipped,
    files: &[(&str, &str)],
    verdict: &str,
) -> Value {
    let scene = Scene::new().await;
    let worker = scene.worker_with(&ROOMY).await;
    let key = scene.put_zip("code", packages.with(files).await).await;
    let mut message = program.message(&scene.id("job"), &key);
    message["limits"] = json!({ "memory_mb": 1024 });
    scene.start(&message).await;
    let data = result_of(&scene, &scene.id("job"), verdict).await;
    scene.finish([worker]).await;
    data
}

#[tokio::test]
#[ignore = "it installs 200 MB of packages: make test-long"]
async fn scikit_learn_in_parallel_finds_its_packages_in_its_own_processes() {
    let packages = python_vendor("scikit-learn", &["scikit-learn", "joblib"]).await;
    let script = r#"
import joblib
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

def score(seed):
    import sklearn, os
    return os.getpid(), sklearn.__name__

def main(id, config):
    seen = joblib.Parallel(n_jobs=2)(joblib.delayed(score)(n) for n in range(4))
    x, y = make_classification(n_samples=120, random_state=1)
    model = RandomForestClassifier(n_estimators=5, random_state=1)
    scores = cross_val_score(model, x, y, cv=3, n_jobs=2)
    import os
    others = {pid for pid, _ in seen} - {os.getpid()}
    return {"scores": scores, "mean": scores.mean(), "in_children": bool(others)}
"#;
    let data = run(&PYTHON_BACKTEST, packages, &[("backtest.py", script)]).await;
    let result = &data["result"];
    assert_eq!(result["in_children"], true, "{data:#}");
    assert_eq!(result["scores"].as_array().unwrap().len(), 3);
    assert!(result["mean"].as_f64().unwrap() > 0.5);
}

/// The example as it stands in the repository, with the packages that it names.
#[tokio::test]
#[ignore = "it installs 150 MB of packages: make test-long"]
async fn the_pandas_example_measures_draws_and_is_swept() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pandas-momentum");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let wanted = text("requirements.txt");
    let packages: Vec<_> = wanted.lines().collect();
    let packages = python_vendor("pandas-momentum", &packages).await;
    let (code, prices) = (text("backtest.py"), text("prices.csv"));
    let archive = packages.with(&[("backtest.py", &code), ("prices.csv", &prices)]).await;
    let scene = Scene::new().await;
    let worker = scene.worker_with(&ROOMY).await;
    let key = scene.put_zip("code", archive).await;
    let mut message: Value = serde_json::from_str(&text("start.json")).unwrap();
    (message["id"], message["file_path"]) = (json!(scene.id("job")), json!(key));
    message["artifacts"] = json!({});
    scene.start(&message).await;
    let data = result_of(&scene, &scene.id("job"), "succeeded").await;
    assert!(data["result"]["sharpe"].is_number(), "{data:#}");
    let artifacts = &data["objects"]["artifacts"];
    assert_eq!(artifacts[0]["path"], "equity.png", "{data:#}");
    assert!(artifacts[0]["bytes"].as_u64() > Some(10_000), "{data:#}");
    let series = data["objects"]["series"].as_array().unwrap();
    let names: Vec<_> = series.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["progress", "equity", "drawdown"], "{data:#}");
    assert_eq!(series[1]["points"], 152, "every fifth of 756 days");

    message["id"] = json!(scene.id("sweep"));
    message["sweep"] = json!({
        "grid": { "lookback": [20, 60, 2000], "hold": [1, 2] },
        "best": { "by": "sharpe", "goal": "max", "keep": 3 },
    });
    message.as_object_mut().unwrap().remove("artifacts");
    scene.start(&message).await;
    let data = result_of(&scene, &scene.id("sweep"), "succeeded").await;
    let counts = &data["sweep"]["verdicts"];
    assert_eq!((&counts["succeeded"], &counts["failed"]), (&json!(4), &json!(2)), "{data:#}");
    assert!(data["objects"]["series"].is_null(), "{data:#}");
    scene.finish([worker]).await;
}

#[tokio::test]
#[ignore = "it installs many packages: make test-long"]
async fn ccxt_for_python_is_imported_and_computes() {
    let packages = python_vendor("ccxt", &["ccxt"]).await;
    let script = r#"
import asyncio
import ccxt
import ccxt.async_support as live
from ccxt.base.precise import Precise

async def main(id, config):
    exchange = ccxt.binance({"enableRateLimit": True})
    other = live.kraken()
    await other.close()
    wei = Precise.string_mul("123456789012345678901234567890", "10")
    return {
        "name": exchange.describe()["name"],
        "time": exchange.iso8601(1700000000000),
        "wei": wei,
    }
"#;
    let data = run(&PYTHON_BACKTEST, packages, &[("backtest.py", script)]).await;
    assert_eq!(data["result"]["name"], "Binance");
    assert_eq!(data["result"]["time"], "2023-11-14T22:13:20.000Z");
    assert_eq!(data["result"]["wei"], "1234567890123456789012345678900");
}

#[tokio::test]
async fn ccxt_for_node_is_required_from_node_modules() {
    let packages = node_modules("ccxt", &["ccxt"]).await;
    let script = r"
const ccxt = require('ccxt');
module.exports = async () => {
  const exchange = new ccxt.binance();
  return { name: exchange.name, time: exchange.iso8601(1700000000000), many: ccxt.exchanges.length > 50 };
};
";
    let data = run(&NODE_BACKTEST, packages, &[("backtest.js", script)]).await;
    let expected = json!({ "name": "Binance", "time": "2023-11-14T22:13:20.000Z", "many": true });
    assert_eq!(data["result"], expected);
}

#[tokio::test]
#[ignore = "it installs 100 MB of packages: make test-long"]
async fn a_backtesting_library_draws_its_plot_and_its_statistics_are_kept() {
    let packages = python_vendor("backtesting", &["backtesting"]).await;
    let script = r#"
import os
from backtesting import Backtest, Strategy
from backtesting.lib import crossover
from backtesting.test import GOOG, SMA

class Cross(Strategy):
    fast, slow = 10, 20
    def init(self):
        self.a = self.I(SMA, self.data.Close, self.fast)
        self.b = self.I(SMA, self.data.Close, self.slow)
    def next(self):
        if crossover(self.a, self.b):
            self.buy()
        elif crossover(self.b, self.a):
            self.sell()

def main(id, config):
    test = Backtest(GOOG.iloc[:300], Cross, cash=10_000, commission=.002)
    stats = test.run()
    test.plot(filename="/tmp/plot.html", open_browser=False)
    assert os.path.getsize("/tmp/plot.html") > 10_000
    return stats
"#;
    // The statistics hold the strategy itself, which is no value: it is named, and the rest is kept.
    let data = run_to(&PYTHON_BACKTEST, packages, &[("backtest.py", script)], "failed").await;
    let message = data["message"].as_str().unwrap();
    assert!(message.contains("result._strategy is of type Cross"), "{data:#}");
    let result = &data["result"]["result"];
    assert!(result["# Trades"].as_u64().unwrap() > 0, "{data:#}");
    assert!(result["Start"].as_str().unwrap().starts_with("2004-08-19"), "{data:#}");
    assert!(result["Return [%]"].is_number(), "{data:#}");
}

/// What a run of hours returns is told as text, null, a value or a list, and never lost.
#[tokio::test]
async fn a_result_may_have_dates_and_numbers_of_numpy_and_pandas() {
    let packages = python_vendor("backtesting", &["backtesting"]).await;
    let script = r#"
import datetime, enum
import numpy as np
import pandas as pd

class Side(enum.Enum):
    BUY = "buy"

def main(id, config):
    days = pd.to_datetime(["2024-01-02", "2024-01-03"])
    frame = pd.DataFrame({"price": [1.5, None], "side": [Side.BUY, None]}, index=days)
    return {
        "missing": [pd.NaT, pd.NA, np.nan, np.datetime64("NaT")],
        "dates": [datetime.date(2024, 1, 2), days[0], np.datetime64("2024-01-02"), pd.Timedelta("90s")],
        "keys": {np.int64(1): np.float32(0.5), days[0]: {3, 1}, Side.BUY: np.bool_(True)},
        "series": pd.Series([1, 2], index=days),
        "months": pd.Series([1], index=pd.period_range("2024-01", periods=1, freq="M")),
        "bins": [pd.Interval(0, 1), pd.Period("2024-01", "M"), pd.Categorical(["a"])],
        "frame": frame,
        "array": np.array([[1, 2], [3, 4]], dtype=np.int8),
        "moments": np.array(["2024-01-02T00:00:00.5"], dtype="M8[ns]"),
        "while": np.timedelta64(90, "s"),
        "gaps": pd.Series([1.5, np.nan]),
        "twice": pd.Series([1, 2], index=["a", "a"]),
        "levels": pd.Series([1], index=pd.MultiIndex.from_tuples([("BTC", 1)])),
        "row": pd.DataFrame({"a": [1]}).iloc[-1],
    }
"#;
    let data = run(&PYTHON_BACKTEST, packages, &[("backtest.py", script)]).await;
    let [first, second] = ["2024-01-02T00:00:00", "2024-01-03T00:00:00"];
    let expected = json!({
        "missing": [null, null, null, null],
        "dates": ["2024-01-02", first, first, "P0DT0H1M30S"],
        "keys": { "1": 0.5, first: [1, 3], "buy": true },
        "series": { first: 1, second: 2 },
        "months": { "2024-01": 1 },
        "bins": ["(0, 1]", "2024-01", ["a"]],
        "frame": [
            { "index": first, "price": 1.5, "side": "buy" },
            { "index": second, "price": null, "side": null },
        ],
        "array": [[1, 2], [3, 4]],
        "moments": ["2024-01-02T00:00:00.500000"],
        "while": "PT90S",
        "gaps": [1.5, null],
        "twice": [["a", 1], ["a", 2]],
        "levels": { "[\"BTC\",1]": 1 },
        "row": { "a": 1 },
    });
    assert_eq!(data["result"], expected, "{data:#}");
}

#[tokio::test]
async fn an_npm_tree_with_its_links_runs_its_programs() {
    let packages = node_modules("links", &["semver", "mkdirp@3", "uuid"]).await.with_links();
    let script = r"
const { execFileSync } = require('node:child_process');
const path = require('node:path');
const run = (name, ...args) =>
  execFileSync(path.join(__dirname, 'node_modules/.bin', name), args, { encoding: 'utf8' }).trim();
exports.main = () => ({ next: run('semver', '-i', 'minor', '1.2.3'), id: run('uuid').length });
";
    let data = run(&NODE_BACKTEST, packages, &[("backtest.js", script)]).await;
    assert_eq!(data["result"], json!({ "next": "1.3.0", "id": 36 }), "{data:#}");
}

#[tokio::test]
async fn a_program_that_writes_its_own_result_file_is_taken_at_its_word() {
    let python = r#"
import json, os
def main(id, config):
    with open(os.path.join("/", os.environ["CODE_MOUNT_DIR"], "result.json"), "w") as file:
        json.dump({"status": "success", "results": {"metrics": {"total_return": 0.12}}}, file)
"#;
    let data = run(&PYTHON_BACKTEST, Zipped::none(), &[("backtest.py", python)]).await;
    assert_eq!(data["result"]["results"]["metrics"]["total_return"], 0.12, "{data:#}");
    let node = r"
const fs = require('node:fs');
exports.main = async () => {
  const file = `/${process.env.CODE_MOUNT_DIR}/result.json`;
  fs.writeFileSync(file, JSON.stringify({ status: 'success', results: { trades: 7 } }));
};
";
    let data = run(&NODE_BACKTEST, Zipped::none(), &[("backtest.js", node)]).await;
    assert_eq!(data["result"]["results"]["trades"], 7, "{data:#}");
}
