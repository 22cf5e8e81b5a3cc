use super::*;
use crate::logs::key::Origin;

/// Chunks of 10 bytes with 2 lines.
fn chunk(number: u64) -> Chunk {
    let origin = Origin { run: "r".parse().unwrap(), attempt: 1 };
    let (first, last) = (number * 2, number * 2 + 1);
    let end = format!("o{last}_1").parse().unwrap();
    Chunk {
        day: "20261122".parse().unwrap(),
        range: FrameRange { origin, first, last, end },
        bytes: Bytes::from(format!("{number:09}\n")),
        lines: 2,
        since: Timestamp::UNIX_EPOCH,
    }
}

fn space(dir: &tempfile::TempDir, memory: u64, disk: u64) -> Space {
    Space {
        memory: Room::new(memory),
        disk: Room::new(disk),
        own_memory: 20,
        own_disk: 20,
        spool: Spool::new(dir.path().to_path_buf()),
        chunk: 10,
    }
}

async fn drain(backlog: &mut Backlog) -> Vec<String> {
    let mut out = Vec::new();
    while let Some(chunk) = backlog.stored() {
        out.push(String::from_utf8(chunk.bytes().await.unwrap().to_vec()).unwrap());
    }
    out
}

fn numbered(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|number| format!("{number:09}\n")).collect()
}

#[tokio::test]
async fn chunks_go_to_disk_when_memory_is_full_and_come_back_in_order_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let mut backlog = Backlog::new(space(&dir, 100, 100));
    for number in 0..4 {
        assert!(!backlog.is_full());
        backlog.push(chunk(number), true).await;
    }
    assert!(backlog.is_full());
    assert_eq!((backlog.lines(), backlog.dropped()), (8, 0));
    assert_eq!(drain(&mut backlog).await, numbered(0..4));
    assert!(backlog.is_empty() && !backlog.is_full());
}

#[tokio::test]
async fn what_fits_nowhere_is_dropped_counted_and_told_with_the_frames_that_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    let mut backlog = Backlog::new(space(&dir, 100, 100));
    for number in 0..6 {
        backlog.push(chunk(number), true).await;
    }
    assert_eq!((backlog.lines(), backlog.dropped()), (8, 4));
    backlog.stored();
    backlog.push(chunk(6), true).await;
    let ranges: Vec<_> =
        backlog.waiting.iter().map(|chunk| (chunk.range.first, chunk.range.last)).collect();
    assert_eq!(ranges, [(2, 3), (4, 5), (6, 7), (8, 11), (12, 13)]);
    let mut left = drain(&mut backlog).await;
    assert!(
        left.remove(3).ends_with("4 lines were dropped while the log store could not be reached\n")
    );
    assert_eq!(left, [numbered(1..4), numbered(6..7)].concat());
}

#[tokio::test]
async fn while_the_store_is_well_nothing_is_dropped_but_patience_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut backlog = Backlog::new(space(&dir, 100, 0));
    for number in 0..4 {
        backlog.push(chunk(number), false).await;
    }
    assert!(backlog.is_full());
    assert_eq!(drain(&mut backlog).await, numbered(0..4));
}

#[tokio::test]
async fn memory_that_others_use_is_not_there_and_a_disk_that_fails_is_not_either() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(&dir, 10, 100);
    let _of_another = space.memory.claim(10);
    let mut on_disk = Backlog::new(space.clone());
    assert!(on_disk.is_memory_short());
    on_disk.push(chunk(0), true).await;
    assert_eq!((on_disk.memory, on_disk.disk), (0, 10));

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut nowhere = Backlog::new(Space { spool: Spool::new(file), ..space });
    nowhere.push(chunk(0), true).await;
    assert_eq!(nowhere.dropped(), 2);
    nowhere.tell_gap(false);
    assert!(!nowhere.is_empty());
}

#[tokio::test]
async fn room_is_given_back_by_chunks_that_are_stored_and_by_a_backlog_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let space = space(&dir, 20, 20);
    let mut backlog = Backlog::new(space.clone());
    for number in 0..4 {
        backlog.push(chunk(number), true).await;
    }
    assert!(!space.memory.has(1) && !space.disk.has(1));
    backlog.stored();
    assert!(space.memory.has(10));
    drop(backlog);
    assert!(space.memory.has(20) && space.disk.has(20));
}
