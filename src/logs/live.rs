//! Live lines for listeners. Without a listener it costs nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Stream;
use super::line::{CUT_MARK, Ending, Line, stored_time};
use super::source::LogSource;
use crate::job::{JobId, LineStream, LiveLine, LogLines};

/// How long a listener's message is valid. The listener repeats it several times in this time.
pub const LISTENING_HOLDS: Duration = Duration::from_secs(30);

/// The most jobs with listeners at a time. Further listeners are ignored.
const MAX_LISTENED: usize = 1000;

/// How many messages may wait for the broker. More are dropped, and their readers read them from
/// the store.
const MAX_WAITING: usize = 32;

/// Bytes of text in one message, about.
const MAX_MESSAGE_BYTES: usize = 128 << 10;

/// The listeners, and the way to them.
#[derive(Debug)]
pub struct LiveFeed {
    out: mpsc::Sender<LogLines>,
    /// Whether any job has a listener.
    any: AtomicBool,
    listened: Mutex<HashMap<JobId, Instant>>,
}

impl LiveFeed {
    /// A feed, and the messages that come out of it.
    #[must_use]
    pub fn new() -> (Arc<Self>, mpsc::Receiver<LogLines>) {
        let (out, messages) = mpsc::channel(MAX_WAITING);
        let (any, listened) = (AtomicBool::new(false), Mutex::default());
        (Arc::new(Self { out, any, listened }), messages)
    }

    /// Notes that a client listens to a job, for the next seconds.
    pub(super) fn listen(&self, job: JobId) {
        let now = Instant::now();
        let mut listened = self.listened.lock();
        listened.retain(|_, until| *until > now);
        if listened.len() < MAX_LISTENED || listened.contains_key(&job) {
            listened.insert(job, now + LISTENING_HOLDS);
        }
        self.any.store(true, Ordering::Release);
    }

    /// Whether a job has a listener.
    pub(super) fn is_listened_to(&self, job: &JobId) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return false;
        }
        let now = Instant::now();
        let mut listened = self.listened.lock();
        listened.retain(|_, until| *until > now);
        self.any.store(!listened.is_empty(), Ordering::Release);
        listened.contains_key(job)
    }

    /// Sends messages as long as there is room. Dropped ones leave a gap, which readers find by the
    /// numbers.
    pub(super) fn send(&self, messages: Vec<LogLines>) {
        for message in messages {
            if self.out.try_send(message).is_err() {
                return;
            }
        }
    }
}

/// The live lines of one container.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whether there is a listener.
    pub(super) is_heard: bool,
    lines: Vec<Line>,
    /// The number of the frame up to which everything was sent, since there is a listener.
    from: Option<u64>,
}

impl Told {
    /// Takes a line, if there is a listener.
    pub(super) fn push(&mut self, line: &Line) {
        if self.is_heard {
            self.lines.push(line.clone());
        }
    }

    /// The messages with the lines that were taken: those of frames `first` to `next`, without
    /// `next`.
    pub(super) fn messages(&mut self, source: &LogSource, first: u64, next: u64) -> Vec<LogLines> {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            // Only pieces of an open line have come.
            self.from.get_or_insert(first);
            return Vec::new();
        }
        let from = self.from.replace(next).unwrap_or(first);
        let mut messages: Vec<LogLines> = Vec::new();
        let mut size = 0;
        for line in &lines {
            let stream = wire(line.stream);
            size += line.text.len();
            match messages.last_mut() {
                Some(last) if last.stream == stream && size <= MAX_MESSAGE_BYTES => {
                    last.lines.push(live(line));
                }
                _ => {
                    size = line.text.len();
                    let lines = vec![live(line)];
                    messages.push(LogLines { lines, ..message(source, stream, from, from) });
                }
            }
        }
        // Everything has been sent only with the last of them.
        if let Some(last) = messages.last_mut() {
            last.to = next;
        }
        messages
    }

    /// Frame `next` is the first that is sent.
    pub(super) fn begin(&mut self, next: u64) {
        self.from.get_or_insert(next);
    }

    /// The greeting for a new listener.
    pub(super) fn greeting(&mut self, source: &LogSource, next: u64) -> LogLines {
        self.from = Some(next);
        message(source, LineStream::Stdout, next, next)
    }

    /// Nobody listens.
    pub(super) fn forget(&mut self) {
        self.lines.clear();
        self.from = None;
    }
}

fn message(source: &LogSource, stream: LineStream, from: u64, to: u64) -> LogLines {
    LogLines {
        id: source.job.clone(),
        run_id: source.run.clone(),
        attempt: source.attempt,
        entrypoint: source.entrypoint,
        stream,
        from,
        to,
        lines: Vec::new(),
    }
}

fn wire(stream: Stream) -> LineStream {
    match stream {
        Stream::Stdout => LineStream::Stdout,
        Stream::Stderr => LineStream::Stderr,
    }
}

fn live(line: &Line) -> LiveLine {
    let mark = if line.ending == Ending::Cut { CUT_MARK } else { "" };
    LiveLine { piece: line.seq, time: stored_time(line.time), text: format!("{}{mark}", line.text) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::logs::Mask;

    fn source() -> LogSource {
        LogSource {
            job: "j".parse().unwrap(),
            run: "r".parse().unwrap(),
            attempt: 1,
            entrypoint: crate::job::Entrypoint::Bot,
            interval: Duration::from_secs(1),
            terminating: false,
            resume: false,
            is_new_job: false,
            series_key: None,
            mask: Mask::default(),
        }
    }

    fn line(stream: Stream, seq: u64) -> Line {
        let text = seq.to_string();
        Line { stream, time: Timestamp::UNIX_EPOCH, text, ending: Ending::Newline, seq }
    }

    #[test]
    fn messages_keep_the_order_and_only_the_last_says_that_all_is_told() {
        let mut told = Told { is_heard: true, ..Told::default() };
        for (stream, seq) in [(Stream::Stdout, 4), (Stream::Stdout, 5), (Stream::Stderr, 6)] {
            told.push(&line(stream, seq));
        }
        let first = told.messages(&source(), 4, 8);
        let shape: Vec<_> = first
            .iter()
            .map(|one| (one.stream.as_str(), one.lines.len(), one.from, one.to))
            .collect();
        assert_eq!(shape, [("stdout", 2, 4, 4), ("stderr", 1, 4, 8)]);
        told.push(&line(Stream::Stdout, 9));
        let second = told.messages(&source(), 8, 10);
        assert_eq!((second[0].from, second[0].to), (8, 10));
        assert_eq!(second[0].routing_key(), "stdout.bot.j");
    }

    #[tokio::test(start_paused = true)]
    async fn the_word_of_a_listener_holds_for_a_while() {
        let (feed, _messages) = LiveFeed::new();
        let job: JobId = "j".parse().unwrap();
        assert!(!feed.is_listened_to(&job));
        feed.listen(job.clone());
        assert!(feed.is_listened_to(&job) && !feed.is_listened_to(&"k".parse().unwrap()));
        tokio::time::advance(LISTENING_HOLDS).await;
        assert!(!feed.is_listened_to(&job));
    }

    #[tokio::test]
    async fn who_listens_to_what_is_bounded() {
        let (feed, _messages) = LiveFeed::new();
        for number in 0..2 * MAX_LISTENED {
            feed.listen(format!("j{number}").parse().unwrap());
        }
        assert_eq!(feed.listened.lock().len(), MAX_LISTENED);
    }
}
