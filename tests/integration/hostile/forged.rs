//! What a program writes about its own end decides about nobody else: not about the image, not about the
//! worker that takes jobs, and not about how often it may run.

use serde_json::json;
use tokio::process::Command;

use crate::clients::must_run;
use longshore_testing::program::{PYTHON_BACKTEST, PYTHON_BOT};
use longshore_testing::scene::Scene;

/// `python` as an image without a program to start would end, with no note that it ever began.
const BLAMES_THE_IMAGE: &str = r"
import os
def main(id, config):
    open('/backtest/.longshore/exit-note', 'w').close()
    os.utime('/backtest/.longshore/exit-note', (0, 0))
    os._exit(127)
";

const SAYS_THAT_ITS_LEASE_RAN_OUT: &str = r"
import os
def main(id, config):
    with open('/bot/.longshore/exit-note', 'a') as note: note.write('lease expired\n')
    os._exit(1)
";

const CLAIMS_TO_HAVE_USED_MUCH: &str = r"
import os
def main(id, config):
    with open('/backtest/.longshore/exit-note', 'w') as note:
        note.write('begun\nmemory.peak 99999999999999\ncpu.stat usage_usec 18446744073709551615\n')
    os._exit(1)
";

#[tokio::test]
async fn a_program_that_empties_its_note_fails_by_itself_and_not_by_its_image() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("blames", &PYTHON_BACKTEST, BLAMES_THE_IMAGE).await;
    let result = scene.run(&message).await;
    let data = result.expect("failed");
    assert_eq!((data["exit_code"].as_i64(), data["attempt"].as_i64()), (Some(127), Some(1)));
    scene.finish([worker]).await;
}

/// The other way round: nothing has run here, and the note says so.
#[tokio::test]
async fn an_image_without_the_shell_is_still_the_images_fault() {
    let scene = Scene::new().await;
    let image = format!("{}:empty", scene.namespace);
    let import = format!("tar --create --files-from /dev/null | docker import - {image}");
    must_run(Command::new("sh").args(["-c", &import])).await;
    let worker = scene.worker_with(&[("PYTHON_IMAGE", &image)]).await;
    let mut message = scene.job("shell", &PYTHON_BACKTEST, "def main(id, config): return 1").await;
    message["max_attempts"] = json!(1);
    let result = scene.run(&message).await;
    result.expect("unavailable");
    result.expect_message(&[&format!("{image} cannot run a job")]);
    must_run(Command::new("docker").args(["rmi", &image])).await;
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_bot_that_says_its_lease_ran_out_is_restarted_no_more_often_than_its_message_allows() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let mut message = scene.job("lapsed", &PYTHON_BOT, SAYS_THAT_ITS_LEASE_RAN_OUT).await;
    message["restart"] = json!({ "when": "on_failure", "max_restarts": 1, "backoff_seconds": 1 });
    let result = scene.run(&message).await;
    let data = result.expect("failed");
    assert_eq!((data["exit_code"].as_i64(), data["attempt"].as_i64()), (Some(1), Some(2)));
    scene.finish([worker]).await;
}

#[tokio::test]
async fn figures_that_no_container_can_reach_are_left_out() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let message = scene.job("claims", &PYTHON_BACKTEST, CLAIMS_TO_HAVE_USED_MUCH).await;
    let result = scene.run(&message).await;
    let data = result.expect("failed");
    let used = &data["resources"];
    let within = |figure: &str, most: f64| used[figure].as_f64().is_none_or(|value| value <= most);
    assert!(within("cpu_seconds", 1e6) && within("peak_memory_bytes", 1e9), "{used}");
    scene.finish([worker]).await;
}
