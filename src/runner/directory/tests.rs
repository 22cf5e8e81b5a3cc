use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use futures_util::FutureExt as _;
use nix::libc::{EACCES, EBUSY, EIO, EPERM};
use proptest::prelude::*;

use super::{DirectoryError, JobDirectory, remove};
use crate::job::{JobId, RunId};

fn directory(temp_dir: &Path, attempt: u32) -> JobDirectory {
    JobDirectory::new(temp_dir, "ns", &"bot-1".parse().unwrap(), &"r-1".parse().unwrap(), attempt)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_path_names_namespace_job_attempt_and_run() {
    let directory = directory(Path::new("/tmp/runtime"), 2);
    assert_eq!(directory.root(), Path::new("/tmp/runtime/ns/bot-1/2-r-1"));
    assert_eq!(directory.archive(), Path::new("/tmp/runtime/ns/bot-1/2-r-1.incoming/code.zip"));
}

proptest! {
    #[test]
    fn compat_4_no_id_leaves_its_directory_or_meets_another(
        (job, run) in (".{1,140}", ".{1,140}"),
        (other_job, other_run) in ("[a-b1-]{1,3}", "[a-b1-]{1,3}"),
        (attempt, other_attempt) in (1..20u32, 1..20u32),
    ) {
        let temp = Path::new("/tmp/runtime");
        let path = |job: &str, run: &str, attempt| {
            let ids = (job.parse::<JobId>().ok()?, run.parse::<RunId>().ok()?);
            let directory = JobDirectory::new(temp, "ns", &ids.0, &ids.1, attempt);
            Some(directory.root().to_owned())
        };
        for (job, run) in [(&job, &run), (&other_job, &other_run)] {
            let Some(root) = path(job, run, attempt) else { continue };
            let below = root.strip_prefix("/tmp/runtime/ns").unwrap();
            prop_assert_eq!(below.components().count(), 2);
            let plain = |part| matches!(part, std::path::Component::Normal(_));
            prop_assert!(below.components().all(plain));
            let (Some(one), Some(two)) =
                (path(&other_job, run, attempt), path(job, &other_run, other_attempt)) else { continue };
            prop_assert_eq!(one == root, *job == other_job);
            prop_assert_eq!(two == root, (run, attempt) == (&other_run, other_attempt));
        }
    }
}

#[tokio::test]
async fn what_a_runs_attempts_left_is_found_and_no_other_runs() {
    let temp = tempfile::tempdir().unwrap();
    let (job, run) = ("bot-1".parse().unwrap(), "r-1".parse().unwrap());
    let attempts = || JobDirectory::attempts(temp.path(), "ns", &job, &run);
    assert!(attempts().is_empty());
    for attempt in [1, 12] {
        directory(temp.path(), attempt).create().await.unwrap();
    }
    let folder = temp.path().join("ns").join("bot-1");
    for other in ["3-r-1.incoming", "4-r-1.partial", "5-r-10", "6-r", "7-r-1-r-1", "x-r-1", "r-1"] {
        fs::write(folder.join(other), "").unwrap();
    }
    assert_eq!(attempts().into_iter().collect::<Vec<_>>(), [1, 3, 4, 12]);
}

#[tokio::test]
async fn compat_4_an_attempt_never_finds_an_older_ones_files() {
    let temp = tempfile::tempdir().unwrap();
    let first = directory(temp.path(), 1);
    first.create().await.unwrap();
    fs::write(first.root().join("old"), "x").unwrap();
    let again = first.create().await;
    assert!(matches!(again, Err(DirectoryError::Taken { path }) if path == first.root()));
    let second = directory(temp.path(), 2);
    second.create().await.unwrap();
    assert_eq!(fs::read_dir(second.root()).unwrap().count(), 0);
    assert_eq!(mode(second.root()), 0o755);
    // Others pass, but see nothing.
    assert_eq!(mode(second.root().parent().unwrap()), 0o711);
}

#[tokio::test]
async fn a_directory_that_is_opened_can_be_written_by_all_but_for_what_is_ours() {
    let temp = tempfile::tempdir().unwrap();
    let job = directory(temp.path(), 1);
    job.create().await.unwrap();
    let root = job.root();
    for folder in ["lib", ".longshore"] {
        fs::create_dir(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("file"), "x").unwrap();
    }
    let run = fs::Permissions::from_mode(0o755);
    fs::set_permissions(root.join("lib/file"), run).unwrap();
    let before = [".longshore", ".longshore/file"].map(|name| mode(&root.join(name)));
    job.open_to_all().await.unwrap();
    assert_eq!(mode(root), 0o1777);
    assert_eq!(["lib", "lib/file"].map(|name| mode(&root.join(name))), [0o777, 0o777]);
    let after = [".longshore", ".longshore/file"].map(|name| mode(&root.join(name)));
    assert_eq!(after, before);
}

#[tokio::test]
async fn removing_clears_everything_up_to_the_namespace_and_can_be_repeated() {
    let temp = tempfile::tempdir().unwrap();
    let (first, second) = (directory(temp.path(), 1), directory(temp.path(), 2));
    for directory in [&first, &second] {
        directory.create().await.unwrap();
        fs::create_dir_all(directory.root().join("a/b/c")).unwrap();
        fs::write(directory.root().join("a/b/file"), "x").unwrap();
        fs::write(directory.archive(), "x").unwrap();
        fs::create_dir_all(format!("{}.partial/a/b", directory.root().display())).unwrap();
    }
    first.remove().await.unwrap();
    let left: Vec<_> = fs::read_dir(temp.path().join("ns/bot-1")).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
    second.remove().await.unwrap();
    assert_eq!(fs::read_dir(temp.path().join("ns")).unwrap().count(), 0);
    second.remove().await.unwrap();
}

/// What blocks goes on when its future is dropped, and must not come after the removal.
#[tokio::test]
async fn a_removal_waits_for_abandoned_work() {
    let temp = tempfile::tempdir().unwrap();
    let job = directory(temp.path(), 1);
    job.create().await.unwrap();
    let (go_on, waiting) = std::sync::mpsc::channel();
    let working = job.blocking(move |directory| {
        waiting.recv().unwrap();
        fs::create_dir_all(directory.root().join("late")).unwrap();
        Ok(())
    });
    assert!(working.now_or_never().is_none());
    let mut removal = std::pin::pin!(job.remove());
    assert!(futures_util::poll!(&mut removal).is_pending());
    go_on.send(()).unwrap();
    removal.await.unwrap();
    assert_eq!(fs::read_dir(temp.path().join("ns")).unwrap().count(), 0);
}

#[tokio::test]
async fn links_are_removed_and_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o555)).unwrap();
    let job = directory(temp.path(), 1);
    job.create().await.unwrap();
    symlink(&outside, job.root().join("to-folder")).unwrap();
    symlink(outside.join("precious"), job.root().join("to-file")).unwrap();
    symlink("..", job.root().join("up")).unwrap();
    job.remove().await.unwrap();
    assert!(!job.root().exists());

    // The directory itself, exchanged for a link.
    fs::create_dir_all(job.root().parent().unwrap()).unwrap();
    symlink(&outside, job.root()).unwrap();
    job.remove().await.unwrap();
    assert!(job.root().symlink_metadata().is_err());

    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "x");
    assert_eq!(mode(&outside), 0o555);
}

#[tokio::test]
async fn read_only_files_and_folders_of_our_own_are_removed() {
    let temp = tempfile::tempdir().unwrap();
    let job = directory(temp.path(), 1);
    job.create().await.unwrap();
    let inner = job.root().join("outer/inner");
    fs::create_dir_all(inner.join("empty")).unwrap();
    fs::write(inner.join("file"), "x").unwrap();
    for path in ["outer/inner/file", "outer/inner/empty", "outer/inner", "outer", ""] {
        fs::set_permissions(job.root().join(path), Permissions::from_mode(0o0)).unwrap();
    }
    job.remove().await.unwrap();
    assert!(job.root().symlink_metadata().is_err());
}

#[tokio::test]
async fn folders_nested_deeper_than_any_path_reaches_are_removed() {
    use nix::fcntl::{AT_FDCWD, OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};

    let temp = tempfile::tempdir().unwrap();
    let job = directory(temp.path(), 1);
    job.create().await.unwrap();
    let mut here = openat(AT_FDCWD, job.root(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..3000 {
        mkdirat(&here, "deep", Mode::S_IRWXU).unwrap();
        here = openat(&here, "deep", OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    }
    job.remove().await.unwrap();
    assert_eq!(fs::read_dir(temp.path().join("ns")).unwrap().count(), 0);
}

#[test]
fn a_removal_that_was_cut_off_is_carried_on() {
    let temp = tempfile::tempdir().unwrap();
    let (tree, heap) = (temp.path().join("tree"), temp.path().join("heap"));
    fs::create_dir_all(heap.join("7/left/over")).unwrap();
    fs::create_dir_all(heap.join("3")).unwrap();
    fs::create_dir_all(tree.join("a/b")).unwrap();
    remove::remove(&tree, &heap).unwrap();
    fs::create_dir_all(heap.join("0/x")).unwrap();
    remove::remove(&tree, &heap).unwrap();
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
}

#[test]
fn only_a_lack_of_rights_asks_for_root() {
    let judged = |code| {
        let error = io::Error::from_raw_os_error(code);
        remove::judge(error, Path::new("/no/tree"), Path::new("/no/heap"))
    };
    for code in [EACCES, EPERM] {
        assert!(
            matches!(judged(code), DirectoryError::NeedsRoot { path, .. } if path == Path::new("/no/tree"))
        );
    }
    for code in [EBUSY, EIO] {
        assert!(matches!(judged(code), DirectoryError::Io { .. }));
    }
}

#[tokio::test]
async fn attempts_that_come_and_go_at_once_do_not_trip_each_other() {
    let temp = tempfile::tempdir().unwrap();
    let rounds = (0..16).map(|attempt| {
        let job = directory(temp.path(), attempt);
        async move {
            for _ in 0..20 {
                job.create().await.unwrap();
                job.remove().await.unwrap();
            }
        }
    });
    futures_util::future::join_all(rounds).await;
}
