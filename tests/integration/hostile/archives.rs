//! Hostile archives, from the bucket to the rejection.

use serde_json::json;

use super::witness::Before;
use longshore_testing::hostile::archives::{
    self, Archive, MAX_DEPTH, MAX_ENTRIES, MAX_NAME_BYTES, MAX_RATIO,
};
use longshore_testing::hostile::zips::{file, zip};
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::scene::Scene;

/// Settings that the archives of the corpus exceed.
pub(super) fn caps() -> Vec<(&'static str, String)> {
    vec![
        ("CODE_MAX_ENTRIES", MAX_ENTRIES.to_string()),
        ("CODE_MAX_EXTRACTED_MB", (archives::MAX_BYTES >> 20).to_string()),
        ("CODE_MAX_DEPTH", MAX_DEPTH.to_string()),
        ("CODE_MAX_NAME_BYTES", MAX_NAME_BYTES.to_string()),
        ("CODE_MAX_RATIO", MAX_RATIO.to_string()),
        ("CODE_MAX_ARCHIVE_MB", "16".to_owned()),
    ]
}

/// An archive in the bucket and a message that names it; gives the job's id.
async fn start(scene: &Scene, name: &str, bytes: Vec<u8>) -> String {
    let key = scene.put_zip(name, bytes).await;
    let id = scene.id(name);
    scene.start(&PYTHON_BACKTEST.message(&id, &key)).await;
    id
}

#[tokio::test]
async fn every_hostile_archive_is_rejected_once_for_its_reason_and_harms_nothing() {
    let scene = Scene::new().await;
    let before = Before::plant(&scene);
    let caps = caps();
    let caps: Vec<_> = caps.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut worker = scene.worker_with(&caps).await;
    let odd = archives::odd().into_iter();
    // None of them holds the script, however harmless.
    let odd = odd.map(|archive| Archive { reason: "\"backtest.py\" is not a file in", ..archive });
    let cases: Vec<_> = archives::all().into_iter().chain(odd).collect();
    assert!(cases.len() >= 60);
    let mut ids = Vec::new();
    for Archive { name, bytes, .. } in &cases {
        ids.push(start(&scene, name, bytes.clone()).await);
    }
    let mut wrong = Vec::new();
    for (Archive { name, reason, .. }, id) in cases.iter().zip(&ids) {
        let result = scene.events.result_of(id).await;
        let data = result.expect("rejected");
        let said = data["message"].as_str().unwrap();
        if !said.contains(reason) || said.len() > 1000 || data.get("container_id").is_some() {
            wrong.push(format!("{name}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    scene.dead_letters(cases.len()).await;
    for id in &ids {
        assert_eq!(scene.events.results_of(id).len(), 1, "results of {id}");
    }
    before.nothing_has_happened(&scene, &mut worker).await;
    scene.finish([worker]).await;
}

/// What takes long, not what is large: the other caps are as wide as they go.
#[tokio::test]
async fn an_archive_that_keeps_the_worker_busy_is_rejected_when_its_time_is_over() {
    let scene = Scene::new().await;
    let before = Before::plant(&scene);
    let caps = [("CODE_UNPACK_TIMEOUT_SECONDS", "1"), ("CODE_MAX_RATIO", "1000000")];
    let mut worker =
        scene.worker_with(&[&caps[..], &[("CODE_MAX_EXTRACTED_MB", "65536")]].concat()).await;
    let id = start(&scene, "slow", archives::slow()).await;
    let result = scene.events.result_of(&id).await;
    result.expect("rejected");
    result.expect_message(&["was not unpacked within the 1 s allowed"]);
    scene.dead_letters(1).await;
    before.nothing_has_happened(&scene, &mut worker).await;
    scene.finish([worker]).await;
}

/// Under the settings that hold where nobody sets any: as many entries as they allow, with the
/// longest names, and several such archives at once.
#[tokio::test]
async fn the_largest_directories_of_entries_do_not_fill_the_memory() {
    let scene = Scene::new().await;
    let before = Before::plant(&scene);
    let mut worker = scene.worker().await;
    let cases = [
        ("many", archives::crowd(50_001, 60), "more than the 50000 files or folders"),
        ("long", archives::crowd(18_000, 1000), ""),
        ("longest", archives::crowd(300, 60_000), ""),
        ("talkers", archives::talkers(400), ""),
    ];
    let mut ids = Vec::new();
    for (name, bytes, _) in &cases {
        ids.push(start(&scene, name, bytes.clone()).await);
    }
    for ((_, _, reason), id) in cases.iter().zip(&ids) {
        let result = scene.events.result_of(id).await;
        result.expect("rejected");
        result.expect_message(&[reason]);
    }
    scene.dead_letters(cases.len()).await;
    before.nothing_has_happened(&scene, &mut worker).await;
    scene.finish([worker]).await;
}

/// The hash decides before anything is unpacked.
#[tokio::test]
async fn an_archive_that_is_not_the_one_that_is_meant_is_not_unpacked() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let key = scene.put_zip("other", zip(&[file("../x", "x")])).await;
    let id = scene.id("other");
    let mut message = PYTHON_BACKTEST.message(&id, &key);
    message["code_sha256"] = json!("0".repeat(64));
    scene.start(&message).await;
    let result = scene.events.result_of(&id).await;
    result.expect("rejected");
    result.expect_message(&["has the SHA-256"]);
    scene.dead_letters(1).await;
    scene.finish([worker]).await;
}
