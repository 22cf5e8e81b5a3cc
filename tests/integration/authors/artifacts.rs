//! Files that programs leave.

use serde_json::{Value, json};

use super::{ends_with, longshore, write};
use longshore_testing::program::{NODE_BACKTEST, PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

const PYTHON: &str = "import os\n\
    def main(id, config):\n    \
        out = os.environ['ARTIFACTS_DIR']\n    \
        os.makedirs(out + '/report')\n    \
        open(out + '/equity.png', 'wb').write(bytes(range(256)))\n    \
        open(out + '/report/trades.csv', 'w').write('a,b\\n1,2\\n')\n    \
        os.symlink('/etc/passwd', out + '/link')\n    \
        return len(os.listdir(out))\n";

const NODE: &str = "const fs = require('node:fs');\n\
    exports.main = () => {\n    \
        const out = process.env.ARTIFACTS_DIR;\n    \
        fs.mkdirSync(`${out}/report`);\n    \
        fs.writeFileSync(`${out}/equity.png`, Uint8Array.from(Array(256).keys()));\n    \
        fs.writeFileSync(`${out}/report/trades.csv`, 'a,b\\n1,2\\n');\n    \
        fs.symlinkSync('/etc/passwd', `${out}/link`);\n    \
        return fs.readdirSync(out).length;\n\
    };\n";

#[tokio::test]
async fn what_a_program_leaves_is_stored_listed_and_fetched() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    for (name, program, source) in [("py", &PYTHON_BACKTEST, PYTHON), ("js", &NODE_BACKTEST, NODE)]
    {
        let mut message = scene.job(name, program, source).await;
        message["artifacts"] = json!({});
        let id = scene.id(name);
        let result = scene.run(&message).await;
        assert_eq!(result.expect("succeeded")["result"], 3);
        let listed = &result.data()["objects"]["artifacts"];
        let facts: Vec<_> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                (
                    one["path"].as_str().unwrap(),
                    one["bytes"].as_u64().unwrap(),
                    one["content_type"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            facts,
            [("equity.png", 256, "image/png"), ("report/trades.csv", 8, "text/csv")],
            "{listed:#}"
        );
        let run = result.data()["run_id"].as_str().unwrap();
        assert_eq!(listed[0]["key"], format!("{id}/{run}/artifacts/equity.png"));

        let (printed, _) = ends_with(0, longshore(&scene, &["get", &id])).await;
        assert_eq!(
            printed,
            format!("{id}-artifacts/equity.png\n{id}-artifacts/report/trades.csv\n")
        );
        let to = scene.folder().join(format!("{id}-artifacts"));
        let got = |path: &str| std::fs::read(to.join(path)).unwrap();
        assert_eq!(got("equity.png"), (0..=255).collect::<Vec<u8>>());
        let one = longshore(&scene, &["get", &id, "report/trades.csv", "--to", "-"]);
        assert_eq!(ends_with(0, one).await.0, "a,b\n1,2\n");
        let (table, _) = ends_with(0, longshore(&scene, &["get", &id, "--list"])).await;
        assert!(table.starts_with("PATH ") && table.lines().count() == 3, "{table}");
        let (_, told) = ends_with(1, longshore(&scene, &["get", &id, "nothing"])).await;
        assert!(told.contains(&format!("{id} has no artifact nothing; --list shows")), "{told}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn what_is_beyond_the_bounds_is_left_out_with_a_sentence() {
    let scene = Scene::new().await;
    let worker =
        scene.worker_with(&[("ARTIFACTS_MAX_MB", "2"), ("ARTIFACTS_MAX_FILES", "3")]).await;
    let source = "import os\n\
        def main(id, config):\n    \
            for name, size in config.items():\n        \
                open(os.path.join(os.environ['ARTIFACTS_DIR'], name), 'wb').write(bytes(size))\n";
    let mut seen = Vec::new();
    for (name, asked, files) in [
        ("fits", json!({}), json!({"a": 2 << 20, "b": 0, "c": 0})),
        ("large", json!({}), json!({"a": (2 << 20) + 1, "b": 1})),
        ("many", json!({}), json!({"a": 1, "b": 1, "c": 1, "d": 1})),
        ("less", json!({"max_mb": 1, "max_files": 1}), json!({"a": 1, "b": 1})),
    ] {
        let mut message = scene.job(name, &PYTHON_BACKTEST, source).await;
        (message["artifacts"], message["config"]) = (asked, files);
        let result = scene.run(&message).await;
        result.expect("succeeded");
        let data = result.data();
        let names: Vec<_> = data["objects"]["artifacts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["path"].as_str().unwrap().to_owned())
            .collect();
        let told = data["metadata"]["artifacts"].as_str().unwrap_or_default().to_owned();
        seen.push((names.join(" "), told));
    }
    let beyond = |count: usize, mb: usize, files: usize, names: &str| {
        format!(
            "left out: {count} beyond artifacts.max_mb={mb} or artifacts.max_files={files}, or not \
             readable: {names}"
        )
    };
    let expected = [
        ("a b c", String::new()),
        ("b", beyond(1, 2, 3, "a")),
        ("a b c", beyond(1, 2, 3, "d")),
        ("a", beyond(1, 1, 1, "b")),
    ]
    .map(|(names, told)| (names.to_owned(), told));
    assert_eq!(seen, expected);

    for (asked, problem) in [
        (
            json!({"max_mb": 3}),
            "artifacts.max_mb: is 3, not between 1 and 2 (the least of ARTIFACTS_MAX_MB",
        ),
        (
            json!({"max_files": 4}),
            "artifacts.max_files: is 4, not between 1 and 3 (ARTIFACTS_MAX_FILES)",
        ),
        (json!({"max_files": 0}), "artifacts.max_files: is 0, not between"),
    ] {
        let mut message = scene.job("refused", &PYTHON_BACKTEST, source).await;
        message["artifacts"] = asked;
        message["id"] = json!(scene.id(&format!("refused-{}", fastrand::u32(..))));
        let refused = scene.run(&message).await;
        refused.expect("rejected");
        refused.expect_message(&[problem]);
    }
    scene.dead_letters(3).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_bots_artifacts_come_with_its_stop_and_none_of_one_that_was_killed() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let source = "import os, time\n\
        def main(id, config):\n    \
            open(os.environ['ARTIFACTS_DIR'] + '/state.txt', 'w').write('kept')\n    \
            print('written', flush=True)\n    \
            if config.get('kill'): os.kill(os.getpid(), 9)\n    \
            time.sleep(600)\n";
    let start = async |name: &str, config: Value| {
        let mut message = scene.job(name, &PYTHON_BOT, source).await;
        (message["artifacts"], message["config"]) = (json!({}), config);
        scene.start(&message).await;
        scene.id(name)
    };
    let id = start("bot", json!({})).await;
    scene.logged(&id, "written").await;
    scene.stop(&json!({ "id": id })).await;
    let stopped = scene.events.result_of(&id).await;
    assert_eq!(stopped.expect("stopped")["objects"]["artifacts"][0]["path"], "state.txt");

    let killed = start("killed", json!({"kill": true})).await;
    let result = scene.events.result_of(&killed).await;
    let told = result.data()["metadata"]["artifacts"].as_str().unwrap();
    assert!(told.starts_with("none: the program was killed"), "{told}");
    let (_, told) = ends_with(1, longshore(&scene, &["get", &killed])).await;
    assert!(told.contains("has no artifacts"), "{told}");
    scene.finish([worker]).await;
}

/// Also from a directory, and in the layout of the bucket.
#[tokio::test]
async fn a_local_run_keeps_artifacts_with_its_results() {
    let scene = Scene::new().await;
    write(&scene.folder().join("code"), &[("backtest.py", PYTHON)]);
    let arguments = ["run", "code", "--artifacts", "--keep-results", "kept", "--output", "json"];
    let (printed, _) = ends_with(0, longshore(&scene, &arguments)).await;
    let result: Value = serde_json::from_str(&printed).unwrap();
    let key = result["objects"]["artifacts"][0]["key"].as_str().unwrap();
    assert!(scene.folder().join("kept/test-results").join(key).is_file(), "{key}");
    scene.finish([]).await;
}
