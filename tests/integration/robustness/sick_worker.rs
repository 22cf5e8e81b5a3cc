//! Workers that are there, take messages and cannot run anything. Whoever fails fast always has room: such a
//! worker must not take what another one could run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use longshore_testing::http_proxy::{Deed, HttpProxy};
use longshore_testing::program::PYTHON_BACKTEST;
use longshore_testing::s3;
use longshore_testing::scene::Scene;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::QUICK;

/// Jobs that wait when the sick worker comes.
const JOBS: usize = 30;

/// Slots of each worker.
const SLOTS: usize = 2;

/// Attempts that a sick worker may begin: those that it has in hand when the first one fails, and two to find
/// out whether it is well again.
const MAX_BEGUN: usize = SLOTS + 2;

/// A file system that is full, until it is dropped.
struct FullDisk(PathBuf);

impl FullDisk {
    fn at(path: &Path) -> Self {
        fs::create_dir(path).unwrap();
        let options = Some("size=64k,mode=700");
        mount(Some("none"), path, Some("tmpfs"), MsFlags::empty(), options).unwrap();
        fs::write(path.join("filling"), vec![0; 1 << 20]).unwrap_err();
        Self(path.to_owned())
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

/// Starts jobs, and waits until each has succeeded once, whoever ran it.
async fn all_succeed(scene: &Scene) {
    let key = scene.put_code("quick", &[(PYTHON_BACKTEST.script, QUICK)]).await;
    for job in 0..JOBS {
        scene.start(&PYTHON_BACKTEST.message(&scene.id(&format!("job-{job}")), &key)).await;
    }
    for job in 0..JOBS {
        scene.events.result_of(&scene.id(&format!("job-{job}"))).await.expect("succeeded");
    }
}

/// The attempts that a worker began.
fn begun_by(scene: &Scene, worker: usize) -> BTreeSet<(String, u64)> {
    let name = format!("{}-worker-{worker}", scene.namespace);
    let all = scene.events.all();
    let by_it = all.iter().filter(|seen| seen.data()["worker"] == name.as_str());
    by_it
        .filter(|seen| seen.state() == Some("preparing"))
        .map(|seen| {
            let id = seen.data()["id"].as_str().unwrap().to_owned();
            (id, seen.data()["attempt"].as_u64().unwrap())
        })
        .collect()
}

/// A healthy worker and one that these settings make sick: the healthy one runs everything.
async fn leaves_the_jobs_to_the_healthy_one(scene: Scene, sick: &[(&str, &str)]) {
    let slots = SLOTS.to_string();
    let slots = ("MAX_TERMINATING", slots.as_str());
    let sick: Vec<_> = [slots].iter().chain(sick).copied().collect();
    let sick = scene.worker_with(&sick).await;
    let healthy = scene.worker_with(&[slots]).await;
    all_succeed(&scene).await;
    let begun = begun_by(&scene, 0);
    assert!(begun.len() <= MAX_BEGUN, "the sick worker began {}: {begun:?}", begun.len());
    scene.finish([sick, healthy]).await;
}

#[tokio::test]
async fn a_worker_whose_disk_is_full_leaves_the_jobs_to_others() {
    let scene = Scene::new().await;
    let disk = FullDisk::at(&scene.folder().join("full"));
    let directory = disk.0.join("runtime");
    let directory = directory.to_str().unwrap();
    leaves_the_jobs_to_the_healthy_one(scene, &[("TEMP_DIR", directory)]).await;
}

#[tokio::test]
async fn a_worker_whose_engine_starts_no_container_leaves_the_jobs_to_others() {
    let scene = Scene::new().await;
    leaves_the_jobs_to_the_healthy_one(scene, &[("BOT_OCI_RUNTIME", "not-installed")]).await;
}

#[tokio::test]
async fn a_worker_that_may_not_write_to_the_store_leaves_the_jobs_to_others() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let results = s3::settings().results_bucket;
    store.rule(move |asked| {
        let is_refused = asked.is_write() && asked.target.starts_with(&format!("/{results}/"));
        if is_refused { Deed::Refuse(403) } else { Deed::Pass }
    });
    leaves_the_jobs_to_the_healthy_one(scene, &[("MINIO_ENDPOINT", &endpoint)]).await;
    drop(store);
}

/// Nothing that a worker tries by itself shows this one.
#[tokio::test]
async fn a_worker_that_cannot_fetch_code_leaves_the_jobs_to_others() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    store.rule(|asked| if asked.is("GET", ".zip") { Deed::Refuse(403) } else { Deed::Pass });
    leaves_the_jobs_to_the_healthy_one(scene, &[("MINIO_ENDPOINT", &endpoint)]).await;
    drop(store);
}

#[tokio::test]
async fn jobs_wait_while_the_store_takes_no_writes_and_all_succeed_afterwards() {
    let scene = Scene::new().await;
    let store = HttpProxy::start(s3::addr().await).await;
    let endpoint = store.endpoint();
    let slots = SLOTS.to_string();
    let settings = [("MINIO_ENDPOINT", endpoint.as_str()), ("MAX_TERMINATING", slots.as_str())];
    let worker = scene.worker_with(&settings).await;
    store.rule(|asked| if asked.is_write() { Deed::Refuse(403) } else { Deed::Pass });
    let restored = async {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        let begun = begun_by(&scene, 0);
        assert!(begun.len() <= MAX_BEGUN, "the worker began {}: {begun:?}", begun.len());
        store.restore();
    };
    tokio::join!(all_succeed(&scene), restored);
    scene.finish([worker]).await;
}
