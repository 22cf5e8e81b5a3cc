//! `longshore data`, and inputs on the command line.

use serde_json::{Value, json};

use super::{READER, put, sha256};
use crate::authors::{ends_with, longshore, write};
use longshore_testing::http_proxy::HttpProxy;
use longshore_testing::s3;
use longshore_testing::scene::Scene;

#[tokio::test]
async fn data_sets_are_stored_once_and_listed_with_their_hashes() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let folder = format!("{}/", scene.namespace);
    // More than one part of an upload.
    let large = vec![b'x'; 9 << 20];
    std::fs::write(scene.folder().join("large.bin"), &large).unwrap();
    write(scene.folder(), &[("prices.csv", "1,2"), ("other/prices.csv", "3")]);
    let data = |arguments: &[&str]| {
        let mut command = longshore(&scene, &[&["data"], arguments].concat());
        command.env("MINIO_ENDPOINT", store.endpoint());
        command
    };
    let both = ["put", "prices.csv", "large.bin", "--key", &folder];
    let (printed, _) = ends_with(0, data(&both)).await;
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = |name: &str, bytes: &[u8]| json!({"key": format!("{folder}{name}"), "path": format!("data/{name}"), "sha256": sha256(bytes)});
    assert_eq!(lines, [expected("prices.csv", b"1,2"), expected("large.bin", &large)]);
    let writes = || store.asked().iter().filter(|asked| asked.is_write()).count();
    let before = writes();
    let (again, told) = ends_with(0, data(&both)).await;
    assert_eq!((again, writes()), (printed, before));
    for name in ["prices.csv", "large.bin"] {
        assert!(told.contains(&format!("{folder}{name} with these bytes already")), "{told}");
    }
    let key = format!("{folder}prices.csv");
    let (_, told) = ends_with(0, data(&["put", "other/prices.csv", "--key", &key])).await;
    assert!(told.contains("gets other bytes"), "{told}");
    // Of what others stored, no hash is known.
    put(&scene, "foreign.csv", "4").await;

    let (listed, _) = ends_with(0, data(&["ls", &folder, "--output", "json"])).await;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let facts: Vec<_> =
        listed.iter().map(|one| json!([one["key"], one["bytes"], one["sha256"]])).collect();
    let row =
        |name: &str, bytes: usize, hash: Value| json!([format!("{folder}{name}"), bytes, hash]);
    assert_eq!(
        facts,
        [
            row("foreign.csv", 1, Value::Null),
            row("large.bin", 9 << 20, json!(sha256(&large))),
            row("prices.csv", 1, json!(sha256(b"3"))),
        ]
    );
    assert!(listed.iter().all(|one| one["written_at"].is_string()), "{listed:?}");
    let (table, told) = ends_with(0, data(&["ls", &folder, "--limit", "2"])).await;
    assert!(table.starts_with("KEY ") && table.lines().count() == 3, "{table}");
    assert!(told.contains("more than 2"), "{told}");

    for (arguments, said) in [
        (&["put", "nothing.csv"][..], "nothing.csv is no file"),
        (&["put", "prices.csv", "large.bin", "--key", "x"], "--key names one object"),
        (&["put", "prices.csv", "--key", "../x"], "has a '.' or '..' part"),
    ] {
        let (_, told) = ends_with(2, data(arguments)).await;
        assert!(told.contains(said), "{told}");
    }
    scene.finish([]).await;
}

fn project(scene: &Scene, start: &Value) {
    let start = start.to_string();
    write(scene.folder(), &[("code/backtest.py", READER), ("code/start.json", &start)]);
    write(scene.folder(), &[("prices.csv", "here")]);
}

#[tokio::test]
async fn a_run_on_this_machine_takes_files_that_are_here_without_a_server() {
    let scene = Scene::new().await;
    project(&scene, &json!({"id": "a", "config": {"read": ["data/prices.csv"]}}));
    let run = |arguments: &[&str]| {
        let mut command =
            longshore(&scene, &[&["run", "code", "--output", "json"], arguments].concat());
        for name in ["AMQP_URL", "MINIO_ENDPOINT", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"] {
            command.env_remove(name);
        }
        command
    };
    let result = |printed: &str| {
        let result: Value = serde_json::from_str(printed).unwrap();
        result["result"]["data/prices.csv"].clone()
    };
    let kept = ["--input", "./prices.csv=data/prices.csv", "--keep-results", "kept"];
    let (printed, _) = ends_with(0, run(&kept)).await;
    assert_eq!(result(&printed), "here");
    let left = std::fs::read_dir(scene.folder().join("kept/inputs")).unwrap().count();
    assert_eq!(left, 0, "what its user has is not kept again");
    let (_, told) = ends_with(2, run(&["--input", "elsewhere.csv=data/prices.csv"])).await;
    assert!(told.contains("is no file here, and there is no store to fetch it from"), "{told}");
    let (_, told) = ends_with(14, run(&["--input", "./prices.csv=data/"])).await;
    assert!(told.contains("it is neither a zip nor a tar"), "{told}");

    let sweep = [
        "sweep",
        "code",
        "--grid",
        "n=1,2",
        "--output",
        "json",
        "--input",
        "prices.csv=data/prices.csv",
    ];
    let (printed, _) = ends_with(0, longshore(&scene, &sweep)).await;
    let swept: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(swept["sweep"]["verdicts"]["succeeded"], 2, "{swept:#}");
    scene.finish([]).await;
}

#[tokio::test]
async fn inputs_of_a_project_are_fetched_here_and_by_a_worker() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let key = put(&scene, "stored.csv", "stored").await;
    let inputs = json!([{"key": key, "path": "data/prices.csv"}]);
    let id = scene.id("project");
    project(&scene, &json!({"id": id, "config": {"read": ["data/prices.csv"]}, "inputs": inputs}));
    for command in [&["run", "code"][..], &["start", "code", "--wait"]] {
        let (printed, _) =
            ends_with(0, longshore(&scene, &[command, &["--output", "json"]].concat())).await;
        let result: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(result["result"]["data/prices.csv"], "stored", "{command:?}");
    }
    // A flag takes the place of the file's input.
    let other = put(&scene, "other.csv", "other").await;
    let flag = format!("{other}=data/prices.csv");
    let start = ["start", "code", "--wait", "--output", "json", "--input", &flag];
    let (printed, _) = ends_with(0, longshore(&scene, &start)).await;
    let result: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(result["result"]["data/prices.csv"], "other");
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_start_sends_a_file_that_is_here_and_only_once() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let id = scene.id("sent");
    project(&scene, &json!({"id": id, "config": {"read": ["data/prices.csv"]}}));
    let content = format!("only of {}", scene.namespace);
    write(scene.folder(), &[("here/prices.csv", &content)]);
    let flag = "./here/prices.csv=data/prices.csv";
    let start = ["start", "code", "--wait", "--output", "json", "--input", flag];
    let (printed, _) = ends_with(0, longshore(&scene, &start)).await;
    let result: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(result["result"]["data/prices.csv"], content.as_str(), "{result:#}");
    let (_, told) = ends_with(0, longshore(&scene, &start)).await;
    let key = format!("sha256/{}/prices.csv", sha256(content.as_bytes()));
    assert!(told.contains(&format!("the store has {key} with these bytes already")), "{told}");

    let sweep =
        ["sweep", "code", "--queue", "--grid", "n=1,2", "--output", "json", "--input", flag];
    let (printed, _) = ends_with(0, longshore(&scene, &sweep)).await;
    let swept: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(swept["sweep"]["verdicts"]["succeeded"], 2, "{swept:#}");

    let missing = ["start", "code", "--input", "./nothing.csv=data/prices.csv"];
    let (_, told) = ends_with(2, longshore(&scene, &missing)).await;
    assert!(told.contains("the input ./nothing.csv is no file here"), "{told}");
    scene.finish([worker]).await;
}
