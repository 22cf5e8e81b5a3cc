//! What those who listen are told: where it begins, every line from there on, and no more once they
//! are gone.

use super::*;
use crate::job::{Listening, LogLines};
use crate::logs::reader::stored_up_to;
use crate::metrics::Metrics;

struct Heard {
    fixture: Fixture,
    messages: mpsc::Receiver<LogLines>,
}

impl Heard {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::default());
        let (feed, messages) = LiveFeed::new();
        let collector = LogCollector::with(
            Arc::clone(&store) as Arc<dyn ObjectStore>,
            settings(),
            Some(feed),
            Metrics::default(),
        );
        collector.start();
        Self { fixture: Fixture { store, collector }, messages }
    }

    fn listen(&self, job: &str, begins: bool) {
        self.fixture.collector.listen(&Listening { id: job.parse().unwrap(), begins });
    }

    /// The messages so far; each must begin where the one before it ended.
    fn so_far(&mut self, mut next: u64) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(message) = self.messages.try_recv() {
            assert_eq!(message.from, next);
            next = message.to;
            texts.extend(message.lines.into_iter().map(|line| line.text));
        }
        texts
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_anything_until_somebody_listens_and_then_from_where_the_store_ends() {
    let mut heard = Heard::new();
    let (send, _handle) = heard.fixture.open(source("j", false), None);
    for frame in frames(5) {
        send.send(frame).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(heard.messages.try_recv().is_err());
    assert!(heard.fixture.chunk_puts().is_empty(), "its time has not come");

    heard.listen("j", true);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let greeting = heard.messages.try_recv().unwrap();
    assert_eq!((greeting.from, greeting.to, greeting.lines.len()), (5, 5, 0));
    let (job, run) = ("j".parse().unwrap(), "r".parse().unwrap());
    assert_eq!(stored_up_to(&*heard.fixture.store, &job, &run, 1).await.unwrap(), 5);

    for frame in frames(8).split_off(5) {
        send.send(frame).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(heard.so_far(5), numbers(5..8));
    tokio::time::sleep(Duration::from_secs(31)).await;
    send.send(frame("unheard\n")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert!(heard.messages.try_recv().is_err(), "nobody has said again that they listen");
}

#[tokio::test(start_paused = true)]
async fn one_who_listens_before_the_run_begins_is_told_everything() {
    let mut heard = Heard::new();
    heard.listen("j", true);
    let (send, _handle) = heard.fixture.open(source("j", false), None);
    for frame in frames(3) {
        send.send(frame).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(heard.so_far(0), numbers(0..3));
}

#[tokio::test(start_paused = true)]
async fn after_a_change_of_workers_only_what_is_not_stored_is_told() {
    let mut heard = Heard::new();
    heard.fixture.whole(source("j", false), frames(4)).await;
    heard.listen("j", false);
    let resumed = LogSource { resume: true, ..source("j", false) };
    heard.fixture.whole(resumed, frames(9)).await;
    assert_eq!(heard.so_far(4), numbers(4..9));
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_take_what_comes_delays_nobody() {
    let mut heard = Heard::new();
    heard.listen("j", true);
    let (send, _handle) = heard.fixture.open(source("j", false), None);
    for number in 0..500 {
        send.send(frame(&format!("{number}\n"))).await.unwrap();
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(heard.fixture.log("j").await, numbers(0..500));
    let mut count = 0;
    while heard.messages.try_recv().is_ok() {
        count += 1;
    }
    assert!(count > 0);
}
