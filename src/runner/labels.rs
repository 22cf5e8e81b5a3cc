//! The labels of a container, which say whose it is. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use crate::job::{Entrypoint, Job, JobId, RunId};

/// The job's id.
pub const ID: &str = "runtime.id";
/// The script's file name, such as `main.py`.
pub const ENTRYPOINT: &str = "runtime.entrypoint";
/// `true` on every container of ours.
pub const MANAGED: &str = "runtime.managed";
/// The segment that owns the container.
pub const SEGMENT: &str = "runtime.segment";
/// `bot` or `backtest`.
pub const TYPE: &str = "runtime.type";
/// The namespace, which separates workers that share an engine.
pub const NAMESPACE: &str = "runtime.namespace";
/// The run.
pub const RUN: &str = "runtime.run";
/// The attempt within the run.
pub const ATTEMPT: &str = "runtime.attempt";
/// The number of the user that the container runs as.
pub const USER: &str = "runtime.user";
/// What a helper container is there for.
pub const HELPER: &str = "runtime.helper";
/// The folder in which whoever started a compiler makes an entry of the code cache.
pub const MAKING: &str = "runtime.making";

/// The file that the `longshore run` of a container holds locked as long as it lives.
pub const LOCK: &str = "runtime.lock";

/// The directory of a container that was started before there was a job for it. Its labels name no
/// job: see [`stand_in`](super::warm).
pub const WARM: &str = "runtime.warm";

/// What [`HELPER`] says of a container that compiles.
const COMPILER: &str = "compiler";

/// What [`HELPER`] says of a container that installs packages for the author of a program.
const INSTALLER: &str = "installer";

/// The owner of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The segment that owns the run.
    pub segment: u32,
    /// The attempt within the run; the first is 1.
    pub attempt: u32,
    /// The file that a `longshore run` holds locked; a worker has none.
    pub lock: Option<&'a Path>,
}

/// What a container's labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The namespace.
    pub namespace: String,
    /// The segment that owned the run when the container was made.
    pub segment: u32,
    /// The job.
    pub id: JobId,
    /// The run.
    pub run_id: RunId,
    /// The attempt within the run; the first is 1.
    pub attempt: u32,
    /// The kind of program.
    pub entrypoint: Entrypoint,
    /// The script's file name.
    pub script: String,
    /// Whether the attempt has begun in it. One that was started before there was a job for it may have
    /// been given the attempt's name only.
    pub has_begun: bool,
}

/// Why labels do not say whose a container is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A label is not there.
    #[error("the label {label} is missing")]
    Missing {
        /// Its name.
        label: &'static str,
    },
    /// A label has a value that Longshore does not write.
    #[error("the label {label} has the value {value:?}, which is none of ours")]
    Invalid {
        /// Its name.
        label: &'static str,
        /// Its value.
        value: String,
    },
}

/// The filter for our containers: those of one segment, or of the whole namespace.
///
/// The namespace is always part of it, so other work with the same labels on the same engine is
/// never seen.
#[must_use]
pub fn managed(namespace: &str, segment: Option<u32>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (MANAGED.to_owned(), "true".to_owned()),
        (NAMESPACE.to_owned(), namespace.to_owned()),
    ]);
    if let Some(segment) = segment {
        labels.insert(SEGMENT.to_owned(), segment.to_string());
    }
    labels
}

/// The filter for the containers of jobs of every namespace.
#[must_use]
pub fn managed_by_anybody() -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED.to_owned(), "true".to_owned())])
}

/// The filter for the containers that run as a user.
#[must_use]
pub fn run_as(uid: u32) -> BTreeMap<String, String> {
    BTreeMap::from([(USER.to_owned(), uid.to_string())])
}

/// The user of a container, if its labels name one.
#[must_use]
pub fn user(labels: &BTreeMap<String, String>) -> Option<u32> {
    labels.get(USER)?.parse().ok()
}

/// The labels of a helper container. Searches for jobs do not find it.
#[must_use]
pub fn helper(namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(NAMESPACE.to_owned(), namespace.to_owned())])
}

/// The labels of a container that compiles code for the entry that is made in `making`.
#[must_use]
pub fn compiler(namespace: &str, making: &Path) -> BTreeMap<String, String> {
    let mut labels = compilers(namespace);
    labels.insert(MAKING.to_owned(), making.to_string_lossy().into_owned());
    labels
}

/// The filter for the containers that compile.
#[must_use]
pub fn compilers(namespace: &str) -> BTreeMap<String, String> {
    let mut labels = helper(namespace);
    labels.insert(HELPER.to_owned(), COMPILER.to_owned());
    labels
}

/// The labels of a container that installs packages for the entry that is made in `making`. It is no
/// worker's, so they name no namespace.
#[must_use]
pub fn installer(making: &Path) -> BTreeMap<String, String> {
    let mut labels = installers();
    labels.insert(MAKING.to_owned(), making.to_string_lossy().into_owned());
    labels
}

/// The filter for the containers that install packages.
#[must_use]
pub fn installers() -> BTreeMap<String, String> {
    BTreeMap::from([(HELPER.to_owned(), INSTALLER.to_owned())])
}

/// The labels of a container that waits for a job in this directory.
#[must_use]
pub fn warm(namespace: &str, directory: &Path) -> BTreeMap<String, String> {
    let mut labels = managed(namespace, None);
    labels.insert(WARM.to_owned(), directory.to_string_lossy().into_owned());
    labels
}

/// The labels of a job's container.
#[must_use]
pub fn of(job: &Job, assignment: &Assignment<'_>) -> BTreeMap<String, String> {
    let script = job.script.rsplit('/').next().unwrap_or(&job.script);
    let mut labels = managed(assignment.namespace, Some(assignment.segment));
    for (label, value) in [
        (ID, job.id.as_str()),
        (RUN, job.run_id.as_str()),
        (TYPE, job.entrypoint.as_str()),
        (ENTRYPOINT, script),
    ] {
        labels.insert(label.to_owned(), value.to_owned());
    }
    labels.insert(ATTEMPT.to_owned(), assignment.attempt.to_string());
    if let Some(lock) = assignment.lock {
        labels.insert(LOCK.to_owned(), lock.to_string_lossy().into_owned());
    }
    labels
}

/// Reads the owner of a container from its labels.
pub fn identity(labels: &BTreeMap<String, String>) -> Result<Identity, LabelError> {
    let entrypoint = text(labels, TYPE)?;
    Ok(Identity {
        namespace: text(labels, NAMESPACE)?.to_owned(),
        segment: parsed(labels, SEGMENT)?,
        id: parsed(labels, ID)?,
        run_id: parsed(labels, RUN)?,
        attempt: parsed(labels, ATTEMPT)?,
        entrypoint: [Entrypoint::Bot, Entrypoint::Backtest]
            .into_iter()
            .find(|known| known.as_str() == entrypoint)
            .ok_or_else(|| LabelError::Invalid { label: TYPE, value: entrypoint.to_owned() })?,
        script: text(labels, ENTRYPOINT)?.to_owned(),
        has_begun: true,
    })
}

fn text<'a>(
    labels: &'a BTreeMap<String, String>,
    label: &'static str,
) -> Result<&'a str, LabelError> {
    labels.get(label).map(String::as_str).ok_or(LabelError::Missing { label })
}

fn parsed<T: FromStr>(
    labels: &BTreeMap<String, String>,
    label: &'static str,
) -> Result<T, LabelError> {
    let value = text(labels, label)?;
    value.parse().map_err(|_| LabelError::Invalid { label, value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::container::tests::job;

    const ASSIGNMENT: Assignment<'static> =
        Assignment { namespace: "longshore", segment: 7, attempt: 2, lock: None };

    #[test]
    fn compat_1_the_filter_always_names_the_namespace() {
        for segment in [None, Some(3)] {
            assert_eq!(managed("ns", segment).get(NAMESPACE).map(String::as_str), Some("ns"));
        }
        assert_eq!(managed("ns", Some(3)).get(SEGMENT).map(String::as_str), Some("3"));
        assert!(!managed("ns", None).contains_key(SEGMENT));
    }

    #[test]
    fn a_job_is_found_by_its_filters_and_read_back_whole() {
        let labels = of(&job("bots/main.py"), &ASSIGNMENT);
        for filter in [managed("longshore", None), managed("longshore", Some(7))] {
            assert!(filter.iter().all(|(label, value)| labels.get(label) == Some(value)));
        }
        let expected = Identity {
            namespace: "longshore".to_owned(),
            segment: 7,
            id: "my-job".parse().unwrap(),
            run_id: "run-1".parse().unwrap(),
            attempt: 2,
            entrypoint: Entrypoint::Bot,
            script: "main.py".to_owned(),
            has_begun: true,
        };
        assert_eq!(identity(&labels), Ok(expected));
    }

    #[test]
    fn a_label_that_is_missing_or_strange_is_named() {
        let whole = of(&job("main.py"), &ASSIGNMENT);
        for label in [ID, RUN, TYPE, ATTEMPT, SEGMENT, NAMESPACE, ENTRYPOINT] {
            let mut labels = whole.clone();
            labels.remove(label);
            assert_eq!(identity(&labels), Err(LabelError::Missing { label }));
        }
        for (label, value) in [(ID, "../x"), (SEGMENT, "-1"), (ATTEMPT, "two"), (TYPE, "Bot")] {
            let mut labels = whole.clone();
            labels.insert(label.to_owned(), value.to_owned());
            let value = value.to_owned();
            assert_eq!(identity(&labels), Err(LabelError::Invalid { label, value }));
        }
    }
}
