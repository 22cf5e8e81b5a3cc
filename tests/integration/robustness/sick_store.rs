//! An object store that is not away but sick: slow, refusing, or silent about what it has done.

use std::time::Duration;

use longshore_testing::http_proxy::{Asked, Deed, HttpProxy};
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use tokio::time::sleep;

/// More than what is between two looks of a worker at its own segments.
const BEYOND_A_LOOK: Duration = Duration::from_secs(7);

/// How long the answer to a listing is on its way.
const LISTING: Duration = Duration::from_secs(10);

/// Whether this lists what a segment has.
fn lists_a_segment(asked: &Asked) -> bool {
    asked.is("GET", "list-type=2") && asked.target.contains("segments")
}

/// A listing tells what was there when it was made. Two runs end while two listings are under way: the first
/// one makes the worker look for leftovers, and the second one has the other run among them.
#[tokio::test]
async fn a_published_end_is_not_published_again_because_of_an_old_listing() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str()), ("STORE_TIMEOUT_SECONDS", "60")];
    let worker = scene.worker_with(&settings).await;
    let mut is_begun = false;
    store.rule(move |asked| match asked {
        asked if asked.is("GET", "first.zip") => {
            is_begun = true;
            Deed::Slow(BEYOND_A_LOOK)
        }
        asked if asked.is("GET", "second.zip") => Deed::Slow(BEYOND_A_LOOK + LISTING),
        asked if is_begun && lists_a_segment(asked) => Deed::HoldAnswer(LISTING),
        _ => Deed::Pass,
    });
    for name in ["second", "first"] {
        // There is no such code, so the end is a dead letter and an event.
        let key = format!("{}/{name}.zip", scene.namespace);
        scene.start(&PYTHON_BACKTEST.message(&scene.id(name), &key)).await;
    }
    for name in ["first", "second"] {
        scene.events.result_of(&scene.id(name)).await.expect("rejected");
    }
    store.restore();
    // The second listing is answered, and what it names is looked at.
    sleep(LISTING).await;
    for name in ["first", "second"] {
        assert_eq!(scene.events.results_of(&scene.id(name)).len(), 1, "{name}");
    }
    scene.dead_letters(2).await;
    scene.finish([worker]).await;
}
