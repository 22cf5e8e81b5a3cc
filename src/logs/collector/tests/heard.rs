//! What a program says about itself: the last word counts, also for a worker that adopts it.

use super::*;

fn said(handle: &LogHandle) -> Option<f64> {
    handle.said().borrow().as_ref().map(|progress| progress.percent)
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn only_whole_lines_of_stdout_say_how_far_a_program_is() {
    let fixture = Fixture::new(settings());
    let (send, handle) = fixture.open(source("j", false), None);
    for (text, percent) in [
        ("working\n", None),
        ("::longshore progress 5\n::longshore progress 6 x\nmore\n", Some(6.0)),
        ("::longshore progress 1", Some(6.0)),
        ("2\n", Some(12.0)),
        ("> ::longshore progress 13\n", Some(12.0)),
    ] {
        send.send(frame(text)).await.unwrap();
        a_moment().await;
        assert_eq!(said(&handle), percent, "{text:?}");
    }
    let stderr = Frame { stream: Stream::Stderr, ..frame("::longshore progress 14\n") };
    send.send(stderr).await.unwrap();
    // Both parts of a line that stays open for too long, and is cut.
    for text in ["::longshore progress 1", "::longshore progress 15\n"] {
        send.send(frame(text)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(95)).await;
    }
    assert_eq!(said(&handle), Some(12.0));
    let cut = format!("::longshore progress 1{}", crate::logs::CUT_MARK);
    assert!(fixture.log("j").await.contains(&cut), "the line stays in the log");
    send.send(frame("::longshore progress 16")).await.unwrap();
    drop(send);
    a_moment().await;
    assert_eq!(said(&handle), Some(16.0), "the end of the output ends the line");
}

#[tokio::test(start_paused = true)]
async fn secrets_are_masked_in_what_it_says() {
    let fixture = Fixture::new(settings());
    let mask = Mask::new(["swordfish", "12345678"]);
    let (send, handle) = fixture.open(LogSource { mask, ..source("j", false) }, None);
    send.send(frame("::longshore progress 1 swordfish\n::longshore progress 12345678\n"))
        .await
        .unwrap();
    a_moment().await;
    let said = handle.said().borrow().clone().unwrap();
    assert_eq!((said.percent, said.text.as_deref()), (1.0, Some(crate::logs::MASKED)));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_adopts_hears_the_last_word_once_even_if_it_is_stored() {
    let fixture = Fixture::new(settings());
    let words = |count: usize| {
        let mut frames = frames(count);
        for (number, one) in frames.iter_mut().enumerate() {
            one.bytes = Bytes::from(format!("::longshore progress {number}\n"));
        }
        frames
    };
    fixture.whole(source("j", false), words(4)).await;
    let resumed = LogSource { resume: true, ..source("j", false) };
    let (send, handle) = fixture.open(resumed, None);
    let mut heard = handle.said();
    let mut all = Vec::new();
    for frame in words(6) {
        send.send(frame).await.unwrap();
        a_moment().await;
        if heard.has_changed().unwrap() {
            all.push(heard.borrow_and_update().as_ref().unwrap().percent);
        }
    }
    assert_eq!(all, [3.0, 4.0, 5.0]);
}
