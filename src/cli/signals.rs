//! The signals that end a command.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Failure;

/// The exit code of a program that a second signal ended at once, as shells have it for SIGTERM.
const INTERRUPTED: i32 = 143;

/// The exit code of a program that SIGINT ended, as shells have it.
const INTERRUPTED_AT_THE_TERMINAL: i32 = 130;

/// A signal so soon after the first means the same request: `timeout` sends one to the program and
/// another to its group.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Waits for SIGTERM or SIGINT. From then on these do not end the program by themselves any more.
pub(super) async fn interrupted() {
    let listening = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = listening else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Ends the program at SIGTERM or SIGINT, as if nobody listened to them; until the handle is aborted.
pub(super) fn leave_at_once() -> JoinHandle<()> {
    TaskTracker::new().spawn(async {
        interrupted().await;
        std::process::exit(INTERRUPTED_AT_THE_TERMINAL);
    })
}

/// The first SIGTERM or SIGINT cancels `shutdown`; a second one, a moment later, ends the program at once.
pub(super) fn drain_then_leave(shutdown: CancellationToken) -> Result<JoinHandle<()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let watching = async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let name = next().await;
        tracing::info!(signal = name, "shutting down; send the signal again to end at once");
        shutdown.cancel();
        let same = async {
            loop {
                next().await;
            }
        };
        let _over = timeout(SAME_WISH, same).await;
        let name = next().await;
        tracing::warn!(signal = name, "ending at once");
        std::process::exit(INTERRUPTED);
    };
    Ok(TaskTracker::new().spawn(watching))
}
