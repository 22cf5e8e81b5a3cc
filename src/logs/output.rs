//! The output as the program wrote it: its last part in memory, all of it in a file.

use tempfile::TempPath;
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tracing::warn;

use super::Stream;
use super::line::{Ending, Line};
use super::spool::Spool;

/// Turns lines back into the text that was written.
#[derive(Debug, Default)]
pub(super) struct RawText {
    /// The stream whose line has no newline yet.
    open: Option<Stream>,
}

impl RawText {
    /// Appends `line`. A line of the other stream never continues an open one.
    pub(super) fn push(&mut self, line: &Line, out: &mut Vec<u8>) {
        if self.open.is_some_and(|open| open != line.stream) {
            out.push(b'\n');
        }
        out.extend_from_slice(line.text.as_bytes());
        if line.ending == Ending::Newline {
            out.push(b'\n');
        }
        self.open = (line.ending != Ending::Newline).then_some(line.stream);
    }
}

/// The fraction of a tail that may be dropped so that the tail begins at the start of a line.
const MAX_CUT_PART: usize = 16;

/// The last bytes of a text.
#[derive(Debug)]
struct Tail {
    max: usize,
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        // Trimmed only at twice its size, so a byte moves once on average.
        if self.bytes.len() > self.max.saturating_mul(2) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let beyond = self.bytes.len().saturating_sub(self.max);
        self.cut |= beyond > 0;
        self.bytes.drain(..beyond);
    }

    /// The tail as text, from the start of a line where one begins near its start.
    fn into_text(mut self) -> String {
        let before = self.bytes.len().checked_sub(self.max + 1).map(|at| self.bytes[at]);
        self.trim();
        let near = &self.bytes[..self.bytes.len() / MAX_CUT_PART];
        let start = match near.iter().position(|byte| *byte == b'\n') {
            _ if !self.cut || before == Some(b'\n') => 0,
            Some(end) => end + 1,
            // A long line is kept as far as it fits: it may be a progress bar, and the only output.
            None => self.bytes.iter().position(|byte| byte & 0xc0 != 0x80).unwrap_or(0),
        };
        String::from_utf8_lossy(&self.bytes[start..]).into_owned()
    }
}

/// A file that takes the whole output of a terminating run.
#[derive(Debug)]
struct Whole {
    file: BufWriter<File>,
    path: TempPath,
}

impl Whole {
    fn create(spool: &Spool) -> std::io::Result<Self> {
        let (file, path) = spool.create()?;
        Ok(Self { file: BufWriter::new(File::from_std(file)), path })
    }
}

/// What happened to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is within the limit.
    Yes,
    /// It is the first beyond the limit.
    CapReached,
    /// The limit was reached before.
    No,
}

/// Everything that is kept of a run's output, in addition to its log.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) lines: u64,
    pub(super) bytes: u64,
    pub(super) capped: bool,
    /// Why the whole output is missing, if there should be one.
    pub(super) failure: Option<String>,
    cap: Option<u64>,
    whole: Option<Whole>,
    raw: RawText,
    tail: Tail,
    buffer: Vec<u8>,
}

impl Output {
    /// For a long-running job: only the tail is kept, and there is no limit.
    pub(super) fn tail_only(tail_bytes: usize) -> Self {
        Self {
            lines: 0,
            bytes: 0,
            capped: false,
            failure: None,
            cap: None,
            whole: None,
            raw: RawText::default(),
            tail: Tail { max: tail_bytes, bytes: Vec::new(), cut: false },
            buffer: Vec::new(),
        }
    }

    /// For a terminating run: the first `cap` bytes go to a file of `spool`.
    pub(super) fn spooled(tail_bytes: usize, cap: u64, spool: &Spool) -> Self {
        let mut output = Self { cap: Some(cap), ..Self::tail_only(tail_bytes) };
        match Whole::create(spool) {
            Ok(whole) => output.whole = Some(whole),
            Err(error) => output.fail(&error),
        }
        output
    }

    /// The line that says, in the log and in the whole output, that it ends here.
    pub(super) fn cap_notice(&self) -> String {
        format!("[longshore] output capped at {} bytes", self.cap.unwrap_or(u64::MAX))
    }

    /// Takes the next line.
    pub(super) async fn push(&mut self, line: &Line) -> Kept {
        self.lines += 1;
        self.bytes += line.output_bytes();
        self.buffer.clear();
        self.raw.push(line, &mut self.buffer);
        self.tail.push(&self.buffer);
        if self.capped {
            return Kept::No;
        }
        if self.cap.is_some_and(|cap| self.bytes > cap) {
            self.capped = true;
            let notice = format!("{}\n", self.cap_notice());
            self.write(notice.as_bytes()).await;
            return Kept::CapReached;
        }
        let text = std::mem::take(&mut self.buffer);
        self.write(&text).await;
        self.buffer = text;
        Kept::Yes
    }

    async fn write(&mut self, text: &[u8]) {
        if let Some(whole) = &mut self.whole
            && let Err(error) = whole.file.write_all(text).await
        {
            self.whole = None;
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &std::io::Error) {
        warn!(error = %error, "could not keep the whole output of a run");
        self.failure = Some(format!("the whole output could not be kept in a file: {error}"));
    }

    /// The file with the whole output; `None` if there is none. Dropping the path removes the file.
    pub(super) async fn file(&mut self) -> Option<TempPath> {
        let mut whole = self.whole.take()?;
        match whole.file.flush().await {
            Ok(()) => Some(whole.path),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    /// The last part of the output.
    pub(super) fn into_tail(self) -> String {
        self.tail.into_text()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn line(text: &str) -> Line {
        Line {
            stream: Stream::Stdout,
            time: Timestamp::UNIX_EPOCH,
            text: text.to_owned(),
            ending: Ending::Newline,
            seq: 0,
        }
    }

    async fn tail_of(max: usize, lines: &[&str]) -> String {
        let mut output = Output::tail_only(max);
        for text in lines {
            output.push(&line(text)).await;
        }
        output.into_tail()
    }

    #[tokio::test]
    async fn the_tail_is_whole_while_it_fits_and_begins_at_a_line_when_not() {
        assert_eq!(tail_of(8, &["abc", "def"]).await, "abc\ndef\n");
        assert_eq!(tail_of(4, &["abc", "def"]).await, "def\n");
        let lines = ["1234"; 40];
        assert_eq!(tail_of(64, &lines).await, "1234\n".repeat(12));
        assert_eq!(tail_of(60, &lines).await, "1234\n".repeat(12));
    }

    #[tokio::test]
    async fn the_tail_holds_the_last_bytes_however_long_its_lines_are() {
        let bar = "\r[=====>   ] 50% ".repeat(5000);
        let tail = tail_of(1 << 16, &["loaded", &bar, "done"]).await;
        assert_eq!(tail.len(), 1 << 16);
        assert!(tail.ends_with("50% \ndone\n"));
        let half = "x".repeat(600);
        assert_eq!(tail_of(1000, &[&half, &half]).await.len(), 1000);
    }

    #[tokio::test]
    async fn the_tail_of_one_long_line_begins_at_a_character() {
        assert_eq!(tail_of(4, &["ééé"]).await, "é\n");
    }

    #[tokio::test]
    async fn beyond_the_cap_lines_are_counted_but_not_kept_and_the_tail_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path().to_path_buf());
        let mut output = Output::spooled(8, 10, &spool);
        let mut kept = Vec::new();
        for text in ["1234", "5678", "9", "0"] {
            kept.push(output.push(&line(text)).await);
        }
        assert_eq!(kept, [Kept::Yes, Kept::Yes, Kept::CapReached, Kept::No]);
        assert_eq!((output.lines, output.bytes), (4, 14));
        let path = output.file().await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "1234\n5678\n[longshore] output capped at 10 bytes\n");
        assert_eq!(output.into_tail(), "678\n9\n0\n");
    }
}
