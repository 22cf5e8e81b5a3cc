//! A worker whose disk hangs, beside one that is well.

use serde_json::json;

use super::{STAMPER, assert_no_overlap, output_of, runs_under};
use crate::robustness::{assert_one_result, nothing_is_left};
use longshore_testing::own_disk::OwnDisk;
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::scene::Scene;
use longshore_testing::second_engine::SecondEngine;

#[tokio::test]
async fn bots_of_a_worker_whose_disk_hangs_run_elsewhere_and_never_twice() {
    let scene = Scene::new().await;
    let (other, mut disk) = (SecondEngine::shared().await, OwnDisk::new(scene.folder()));
    let grace = ("SEGMENT_GRACE_SECONDS", "10");
    let temp_dir = disk.folder().join("runtime");
    let (engine, temp_dir) = (other.docker_host(), temp_dir.to_str().unwrap());
    let settings =
        [("DOCKER_HOST", engine.as_str()), ("TEMP_DIR", temp_dir), grace, ("WORKER_NAME", "sick")];
    let sick = scene.worker_with(&settings).await;
    scene.start(&scene.job("bot", &PYTHON_BOT, STAMPER).await).await;
    let id = scene.id("bot");
    let before = runs_under(&scene, &id, "sick").await;
    let well = scene.worker_with(&[grace, ("WORKER_NAME", "well")]).await;

    disk.hang();
    let after = runs_under(&scene, &id, "well").await;
    // A start while it hangs goes to the one that can run it.
    scene.start(&scene.job("later", &PYTHON_BOT, STAMPER).await).await;
    let later = scene.id("later");
    runs_under(&scene, &later, "well").await;
    let output = output_of(other.docker(), &before).await + &output_of(&scene.docker, &after).await;
    assert_eq!(assert_no_overlap(&output), 2, "the bot ran once on each worker");

    disk.recover();
    for id in [&id, &later] {
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(id).await.expect("stopped");
        assert_one_result(&scene, id, "stopped");
    }
    nothing_is_left(scene, [sick, well]).await;
    drop(disk);
}
