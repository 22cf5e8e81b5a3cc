//! Messages and archives as clients and tools of all kinds make them: each is followed.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use lapin::BasicProperties;
use serde_json::json;

use longshore_testing::hostile::zips::{RawEntry, file, folder, link, zip};
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST};
use longshore_testing::scene::Scene;

const QUICK: &str = "def main(id, config):\n    return config\n";

type Pack = fn(&[u8]) -> Vec<u8>;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Seconds since 1970, some seconds ahead: later than a stop that was published now.
fn soon() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap() + 60
}

#[tokio::test]
async fn a_message_is_followed_however_its_client_packs_and_dates_it() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let plain = || BasicProperties::default().with_delivery_mode(2);
    let marked: Pack = |text| [b"\xef\xbb\xbf", text].concat();
    let cases: [(&str, Pack, BasicProperties); 6] = [
        ("gzip", gzip, plain().with_content_encoding("gzip".into())),
        ("gzip-unsaid", gzip, plain()),
        ("charset", <[u8]>::to_vec, plain().with_content_encoding("utf-8".into())),
        ("byte-order-mark", marked, plain()),
        ("milliseconds", <[u8]>::to_vec, plain().with_timestamp(soon() * 1_000)),
        ("nanoseconds", <[u8]>::to_vec, plain().with_timestamp(soon() * 1_000_000_000)),
    ];
    // A stop that finds nothing cancels what was published before it, and nothing else.
    for id in ["milliseconds", "nanoseconds"].map(|name| scene.id(name)) {
        let stop = gzip(json!({ "id": id }).to_string().as_bytes());
        scene.publish("stop", &stop, plain().with_content_encoding("gzip".into())).await;
        let answer = scene.events.wait_state(&id, "not_running").await;
        let said = answer.data()["message"].as_str().unwrap();
        assert!(said.contains("one without a timestamp if it comes within 60 s"), "{said}");
    }
    for (name, pack, properties) in cases {
        let mut message = scene.job(name, &PYTHON_BACKTEST, QUICK).await;
        message["config"] = json!({ "name": name });
        let body = pack(message.to_string().as_bytes());
        scene.publish("start.terminating", &body, properties).await;
        let result = scene.events.result_of(&scene.id(name)).await;
        let data = result.expect("succeeded");
        assert_eq!(data["result"]["name"], name, "{data:#}");
        assert!(data["duration_seconds"].as_f64().unwrap() > 0.0, "{data:#}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_start_without_a_time_is_told_which_stop_cancelled_it_and_why() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("quick", &PYTHON_BACKTEST, QUICK).await;
    let id = scene.id("quick");
    scene.stop(&json!({ "id": id, "reason": "enough" })).await;
    scene.events.wait_state(&id, "not_running").await;
    scene.start(&message).await;
    let result = scene.events.result_of(&id).await;
    result.expect("cancelled");
    result.expect_message(&["by a stop of 20", "(enough)", "no AMQP timestamp", "60 s"]);
    scene.finish([worker]).await;
}

/// As `zip -y` packs an installed npm package and a folder of pnpm, and as old .NET packs a folder.
#[tokio::test]
async fn an_archive_runs_whichever_tool_packed_it() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let dos = |name: &str, data: &str| RawEntry { mode: 0, system: 0, ..file(name, data) };
    let npm = zip(&[
        link("node_modules/.bin/tool", "../tool/bin/tool.js"),
        folder("node_modules/"),
        file("node_modules/tool/bin/tool.js", "exports.answer = 21;"),
        link("lib", "node_modules/tool"),
        folder("node_modules/"),
        file(
            "backtest.js",
            "const [a, b] = ['./lib/bin/tool.js', './node_modules/.bin/tool'].map(require);\n\
             exports.main = () => ({ answer: a.answer + b.answer });",
        ),
    ]);
    let windows = zip(&[
        dos("lib\\a.py", "answer = 42"),
        dos(
            "backtest.py",
            "from lib.a import answer\ndef main(id, config):\n    return {'answer': answer}\n",
        ),
        dos("lib\\A.py", ""),
    ]);
    // As pnpm lays packages out: each finds those that it needs beside its own place alone.
    let pnpm = zip(&[
        link("node_modules/a", ".pnpm/a@1/node_modules/a"),
        file("node_modules/.pnpm/a@1/node_modules/a/index.js", "exports.half = require('b').half;"),
        link("node_modules/.pnpm/a@1/node_modules/b", "../../b@1/node_modules/b"),
        file("node_modules/.pnpm/b@1/node_modules/b/index.js", "exports.half = require('c');"),
        link("node_modules/.pnpm/b@1/node_modules/c", "../../c@1/node_modules/c"),
        file("node_modules/.pnpm/c@1/node_modules/c/index.js", "module.exports = 21;"),
        file("backtest.js", "exports.main = () => ({ answer: 2 * require('a').half });"),
    ]);
    for (name, program, bytes) in [
        ("npm", &NODE_BACKTEST, npm),
        ("windows", &PYTHON_BACKTEST, windows),
        ("pnpm", &NODE_BACKTEST, pnpm),
    ] {
        let key = scene.put_zip(name, bytes).await;
        let result = scene.run(&program.message(&scene.id(name), &key)).await;
        assert_eq!(result.expect("succeeded")["result"]["answer"], 42, "{name}");
    }
    scene.finish([worker]).await;
}
