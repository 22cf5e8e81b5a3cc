//! What this process says itself, between the lines of the program.
//!
//! Output that nobody takes must not hold anything up: the bot would outlive its lease.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a line of the job's result waits for somebody to take what the program printed before it.
const RESULT_WAITS: Duration = Duration::from_secs(5);

/// Says a sentence on the standard error, unless that is full.
pub fn error(sentence: &str) {
    line(io::stderr(), &format!("longshore: {sentence}\n"), Duration::ZERO);
}

/// Prints the job's result on the standard output.
pub fn result(text: &str) {
    line(io::stdout(), &format!("{text}\n"), RESULT_WAITS);
}

/// Writes the line that ends both outputs. Gives whether both took it.
#[must_use]
pub fn end(word: &str) -> bool {
    let text = format!("{word}\n");
    line(io::stdout(), &text, RESULT_WAITS) && line(io::stderr(), &text, RESULT_WAITS)
}

/// Writes a line of less than a page: where a pipe takes anything at all it takes so much at once. Gives whether
/// it was taken; otherwise whoever would hear of it has gone.
fn line(mut to: impl Write + AsFd, text: &str, patience: Duration) -> bool {
    let mut fds = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    let takes_it = poll(&mut fds, timeout).is_ok_and(|ready| ready > 0);
    takes_it && to.write_all(text.as_bytes()).and_then(|()| to.flush()).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn a_full_pipe_is_not_waited_for() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        line(writer.try_clone().unwrap(), "first\n", Duration::ZERO);
        let mut first = [0; 6];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"first\n");
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        while writer.write(&[0; 4096]).is_ok() {}
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
        // Comes back at all.
        line(writer, "second\n", Duration::from_millis(10));
    }

    #[test]
    fn nobody_need_listen() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        line(writer, "text\n", Duration::ZERO);
    }
}
