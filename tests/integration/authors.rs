//! What the authors of programs need: a directory that runs at once, with its packages.

mod artifacts;
mod care;
mod init;
mod pack;
mod progress;
mod series;

use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::cli::text;
use longshore_testing::rabbit::within;
use longshore_testing::scene::Scene;
use longshore_testing::worker::settings_of_a_worker;

/// The program in a scene's folder, with the settings of its workers.
pub(crate) fn longshore(scene: &Scene, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.env_clear().current_dir(scene.folder()).kill_on_drop(true).args(arguments);
    command.envs(settings_of_a_worker(&scene.namespace, "client", &scene.temp_dir()));
    command.env_remove("LOG_LEVEL");
    command.env("PACK_CACHE_DIR", scene.folder().join("packages")).env("PACK_NETWORK", "host");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program to its end.
async fn output_of(mut command: Command) -> Output {
    within(command.output()).await.unwrap()
}

/// Runs the program, which must end with this code; gives both of its outputs.
pub(crate) async fn ends_with(code: i32, command: Command) -> (String, String) {
    let output = output_of(command).await;
    let (printed, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{printed}{told}");
    (printed, told)
}

/// Writes files below a directory, which is made.
pub(crate) fn write(root: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}
