//! Packages: installed in the runtime's image, kept, and packed. The package indexes of this machine
//! are asked for one small package each.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use bollard::query_parameters::ListContainersOptionsBuilder;
use serde_json::Value;
use tokio::process::Command;

use super::{ends_with, longshore, write};
use longshore_testing::rabbit::within;
use longshore_testing::scene::Scene;

const PYTHON: &[(&str, &str)] = &[
    ("backtest.py", "import six\ndef main(id, config): return six.__version__\n"),
    ("requirements.txt", "six==1.17.0\n"),
];

const LOCK: &str = r#"{
  "name": "code", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": { "name": "code", "dependencies": { "left-pad": "1.3.0" } },
    "node_modules/left-pad": {
      "version": "1.3.0",
      "resolved": "https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz",
      "integrity": "sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA=="
    }
  }
}"#;

const NODE: &[(&str, &str)] = &[
    ("backtest.mjs", "import pad from 'left-pad';\nexport const main = () => pad('7', 3, '0');\n"),
    ("package.json", r#"{ "dependencies": { "left-pad": "1.3.0" } }"#),
    ("package-lock.json", LOCK),
    ("node_modules/left-pad/index.js", "throw new Error('of another machine');"),
];

async fn result_of(command: Command) -> (Value, String) {
    let (printed, told) = ends_with(0, command).await;
    (serde_json::from_str(&printed).unwrap(), told)
}

#[tokio::test]
async fn packages_are_installed_once_for_the_image_and_come_with_the_code() {
    let scene = Scene::new().await;
    let cases =
        [("py", PYTHON, "requirements.txt", "1.17.0"), ("js", NODE, "package-lock.json", "007")];
    for (name, files, lock, expected) in cases {
        write(&scene.folder().join(name), files);
        let run = longshore(&scene, &["run", name, "--output", "json"]);
        let (result, told) = result_of(run).await;
        assert_eq!(result["result"], expected, "{told}");
        let installed = format!("longshore: installed the packages of {lock} for ");
        assert!(told.contains(&installed) && !told.contains("from the cache"), "{told}");

        let pack = || longshore(&scene, &["pack", name, "--output", "json"]);
        let (first, told) = result_of(pack()).await;
        assert!(told.contains(" files, from the cache"), "{told}");
        let zip = std::fs::read(scene.folder().join(format!("{name}.zip"))).unwrap();
        assert_eq!(first["bytes"], zip.len());
        let (second, _) = result_of(pack()).await;
        assert_eq!(first, second);
    }
    assert_eq!(installers(&scene).await, 0);
    scene.finish([]).await;
}

/// How many containers install packages for this scene.
async fn installers(scene: &Scene) -> usize {
    let wanted = vec!["runtime.helper=installer".to_owned()];
    let filters = HashMap::from([("label".to_owned(), wanted)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = scene.docker.list_containers(Some(options)).await.unwrap();
    let ours = scene.folder().join("packages");
    let making = found.iter().filter_map(|one| one.labels.as_ref()?.get("runtime.making"));
    making.filter(|path| Path::new(path).starts_with(&ours)).count()
}

/// What is larger than the bound serves only the run that it was installed for.
#[tokio::test]
async fn packages_are_kept_up_to_a_bound() {
    let scene = Scene::new().await;
    let large =
        [("requirements.txt", "pytz==2024.1\n"), ("main.py", "def main(id, config): pass\n")];
    write(&scene.folder().join("large"), &large);
    write(&scene.folder().join("small"), PYTHON);
    let is_cached = async |name: &str, megabytes: &str| {
        let mut pack = longshore(&scene, &["pack", name]);
        pack.env("PACK_CACHE_MAX_MB", megabytes);
        ends_with(0, pack).await.1.contains(" files, from the cache")
    };
    // The large one takes more than 1 MB.
    for (name, megabytes, expected) in [
        ("large", "1", false),
        ("large", "1", false),
        ("small", "1", false),
        ("small", "1", true),
        ("large", "64", false),
        ("small", "64", true),
        ("large", "64", true),
    ] {
        assert_eq!(is_cached(name, megabytes).await, expected, "{name} with {megabytes} MB");
    }
    scene.finish([]).await;
}

#[tokio::test]
async fn a_vendor_folder_is_taken_as_it_is_and_so_is_everything_without_installing() {
    let scene = Scene::new().await;
    write(&scene.folder().join("code"), PYTHON);
    let run = |flags: &[&str]| {
        let mut command =
            longshore(&scene, &[&["run", "code", "--output", "json"], flags].concat());
        command.env("DOCKER_HOST", scene_host());
        command
    };
    let (_, told) = ends_with(10, run(&["--no-install"])).await;
    assert!(told.contains("ModuleNotFoundError: No module named 'six'"), "{told}");
    write(&scene.folder().join("code"), &[("vendor/six.py", "__version__ = 'mine'\n")]);
    let (result, told) = result_of(run(&[])).await;
    assert_eq!(result["result"], "mine");
    assert!(told.contains("vendor/ is taken as it is, so requirements.txt is not read"), "{told}");
    scene.finish([]).await;
}

fn scene_host() -> String {
    longshore_testing::variable("DOCKER_HOST")
        .unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned())
}

#[tokio::test]
async fn packages_that_cannot_be_had_are_named_with_what_pip_says() {
    let scene = Scene::new().await;
    let code = scene.folder().join("code");
    write(&code, &[PYTHON[0], ("requirements.txt", "six==0.0.999\n")]);
    let (_, told) = ends_with(1, longshore(&scene, &["pack", "code"])).await;
    assert!(told.contains("the packages of requirements.txt could not be installed in"), "{told}");
    assert!(told.contains("No matching distribution found for six==0.0.999"), "{told}");

    let mut without = longshore(&scene, &["pack", "code"]);
    without.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let (_, told) = ends_with(1, without).await;
    assert!(told.contains("cannot be reached") && told.contains("--no-install"), "{told}");
    scene.finish([]).await;
}

/// An address that takes connections and never answers.
async fn silent_index() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/simple", listener.local_addr().unwrap());
    (listener, address)
}

#[tokio::test]
async fn an_installation_that_takes_too_long_or_is_interrupted_leaves_no_container() {
    let scene = Scene::new().await;
    write(&scene.folder().join("code"), PYTHON);
    let (_kept, index) = silent_index().await;
    let pack = || {
        let mut command = longshore(&scene, &["pack", "code"]);
        command.env("PIP_INDEX_URL", &index);
        command
    };
    let ours = async || {
        let cache = scene.folder().join("packages").display().to_string();
        let all = scene.docker.list_containers(None).await.unwrap();
        let is_ours = |labels: &std::collections::HashMap<String, String>| {
            labels.get("runtime.making").is_some_and(|making| making.starts_with(&cache))
        };
        all.iter().filter(|one| one.labels.as_ref().is_some_and(is_ours)).count()
    };
    let mut slow = pack();
    slow.env("PACK_TIMEOUT_SECONDS", "1");
    let (_, told) = ends_with(1, slow).await;
    assert!(told.contains("were not installed within 1 s (PACK_TIMEOUT_SECONDS)"), "{told}");
    assert_eq!(ours().await, 0);

    let child = pack().stdout(Stdio::null()).spawn().unwrap();
    while ours().await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = within(child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(ours().await, 0);
    scene.finish([]).await;
}
