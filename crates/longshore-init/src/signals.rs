//! Signals, received one by one instead of interrupting.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// They ask the job to end. The program gets SIGTERM for each.
const ASK: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// The program gets these as they are.
const PASS_ON: [Signal; 4] = [Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// The signals that this process receives.
#[derive(Debug)]
pub struct Signals {
    ask: SignalFd,
    pass_on: SignalFd,
    child: SignalFd,
    /// Which signals were held back before: the program's are.
    before: SigSet,
}

impl Signals {
    /// Receives them from now on.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses it.
    pub fn take() -> nix::Result<Self> {
        let [ask, pass_on, child] =
            [&ASK[..], &PASS_ON[..], &[Signal::SIGCHLD]].map(|of| of.iter().copied().collect());
        let all: SigSet = ASK.into_iter().chain(PASS_ON).chain([Signal::SIGCHLD]).collect();
        let before = all.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let receive = |set: &SigSet| {
            SignalFd::with_flags(set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        };
        Ok(Self {
            ask: receive(&ask)?,
            pass_on: receive(&pass_on)?,
            child: receive(&child)?,
            before,
        })
    }

    /// Which signals the program may not hold back unless it says so itself.
    #[must_use]
    pub fn mask_of_program(&self) -> &SigSet {
        &self.before
    }

    /// Whether the job has been asked to end since the last call.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        matches!(self.ask.read_signal(), Ok(Some(_)))
    }

    /// The next signal that is to be passed on.
    #[must_use]
    pub fn next_to_pass_on(&self) -> Option<Signal> {
        let info = self.pass_on.read_signal().ok()??;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }

    /// Takes note that children ended, and with which status the kernel says that this one did. It tells of one
    /// where several end at once.
    #[must_use]
    pub fn child_ended(&self, child: Pid) -> Option<i32> {
        let info = self.child.read_signal().ok()??;
        (i32::try_from(info.ssi_pid) == Ok(child.as_raw())).then_some(info.ssi_status)
    }

    /// Waits for a signal, at most so long. With `and_asked`, also for one that asks the job to end.
    pub fn wait(&self, at_most: Option<Duration>, and_asked: bool) {
        self.wait_also_for(None, at_most, and_asked);
    }

    /// The same, and also for something to read from `other`, or for its other end to be closed. Gives whether
    /// that came.
    pub fn wait_also_for(
        &self,
        other: Option<BorrowedFd<'_>>,
        at_most: Option<Duration>,
        and_asked: bool,
    ) -> bool {
        let mut received: Vec<_> = other.into_iter().collect();
        received.extend([self.child.as_fd(), self.pass_on.as_fd()]);
        received.extend(and_asked.then(|| self.ask.as_fd()));
        let mut fds: Vec<_> =
            received.into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, timeout(at_most)) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Better a look too many than none: nothing else ends the bot when its lease has run out.
            Err(_) => std::thread::yield_now(),
        }
        other.is_some() && fds.first().and_then(PollFd::any) == Some(true)
    }
}

fn timeout(at_most: Option<Duration>) -> PollTimeout {
    let Some(at_most) = at_most else {
        return PollTimeout::NONE;
    };
    // Rounded up, or the last millisecond would be spent in looking.
    let at_most = at_most + Duration::from_micros(999);
    PollTimeout::try_from(at_most).unwrap_or(PollTimeout::MAX)
}
