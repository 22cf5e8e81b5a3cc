//! What is on this host and its engine.

use super::asked::What;
use super::report::{NO_SETTING, Part};
use crate::cli::ps::SHORT_ID;
use crate::metrics::Metrics;
use crate::runner::orchestrator::{ContainerInfo, ContainerOrchestrator, EngineError};
use crate::runner::{self, Progress, labels, unused_images};
use crate::settings::RunnerSettings;
use crate::worker::{LeftRun, LeftRuns, look_for_left_runs, remove_left_run};

const RUNS: &str = "runs";
const IMAGES: &str = "images";

/// Looks at what was asked for.
pub(super) async fn all(asked: &[What], settings: &RunnerSettings, is_dry: bool) -> Vec<Part> {
    let wanted = [(What::Runs, RUNS), (What::Images, IMAGES)];
    let wanted = wanted.into_iter().filter(|(what, _)| asked.contains(what));
    let engine = runner::connect(settings, Progress::Log, &Metrics::default()).await;
    let mut parts = Vec::new();
    for (what, name) in wanted {
        let part = match (&engine, what) {
            (Err(error), _) => Err(error.clone()),
            (Ok(engine), What::Images) => images(&**engine, settings, is_dry).await,
            (Ok(engine), _) => runs(&**engine, settings, is_dry).await,
        };
        let broken = |error: EngineError| Part::broken(name, NO_SETTING, error.to_string());
        parts.push(part.unwrap_or_else(broken));
    }
    parts
}

async fn runs(
    engine: &dyn ContainerOrchestrator,
    settings: &RunnerSettings,
    is_dry: bool,
) -> Result<Part, EngineError> {
    let host = settings.docker_host.as_deref();
    let LeftRuns { left, alive, unknown } =
        look_for_left_runs(engine, host, &settings.temp_dir).await?;
    let mut part = Part {
        what: RUNS,
        rule: NO_SETTING,
        stays: alive as u64,
        left_alone: unknown,
        goes_bytes: Some(0),
        ..Part::default()
    };
    for run in left {
        // Any image with a shell can remove what only root may remove.
        let image = run.containers.first().map_or_else(
            || settings.runtimes.image_with_shell(),
            |container| container.image.as_str(),
        );
        let removed = if is_dry { Ok(()) } else { remove_left_run(&run, engine, image).await };
        match removed {
            Ok(()) => {
                part.goes += 1;
                part.goes_bytes = part.goes_bytes.map(|bytes| bytes + run.bytes);
                part.items.extend(items(&run));
            }
            Err(error) => {
                part.failed += 1;
                part.left_alone.push(format!("{}: {error}", run.namespace));
            }
        }
    }
    Ok(part)
}

fn items(run: &LeftRun) -> Vec<String> {
    let container = |info: &ContainerInfo| {
        let job = info.labels.get(labels::ID).map_or("-", String::as_str);
        format!("container {:.SHORT_ID$} of the job {job}", info.id)
    };
    let directories = run.directories.iter().map(|path| format!("directory {}", path.display()));
    run.containers.iter().map(container).chain(directories).collect()
}

async fn images(
    engine: &dyn ContainerOrchestrator,
    settings: &RunnerSettings,
    is_dry: bool,
) -> Result<Part, EngineError> {
    let mut part = Part { what: IMAGES, rule: NO_SETTING, goes_bytes: Some(0), ..Part::default() };
    for image in unused_images(engine.list_images().await?, &settings.runtimes) {
        let mut removed = Ok(());
        for name in image.names.iter().filter(|_| !is_dry) {
            removed = removed.and(engine.remove_image(name).await);
        }
        match removed {
            Ok(()) => {
                part.goes += 1;
                part.goes_bytes = part.goes_bytes.map(|bytes| bytes + image.bytes);
                part.items.push(image.names.join(", "));
            }
            Err(error) => {
                part.failed += 1;
                part.left_alone.push(error.to_string());
            }
        }
    }
    Ok(part)
}
