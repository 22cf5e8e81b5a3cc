//! Bots that number their lines on both outputs, while their worker is killed again and again and
//! the store goes away: read back, nothing is missing, nothing is there twice, nothing is out of
//! order.
//!
//! A short round is one of the usual tests. The long one is `make soak-logs`: `SOAK_SECONDS` (600),
//! `SOAK_BOTS` (10), `SOAK_KILLS` (20) and `SOAK_OUTAGE_SECONDS` (60, twice) say how long it is.

use std::time::Duration;

use longshore::logs::Stream;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::stored_lines;
use longshore_testing::program::PYTHON_BOT;
use longshore_testing::proxy::Proxy;
use longshore_testing::scene::Scene;
use longshore_testing::{s3, variable};

/// Numbers its lines on each output, at a rate of its own, some of them longer than the engine's
/// pieces; says the last number when its time is over, and waits to be stopped.
const NUMBERS: &str = r#"
import sys, threading, time

def number(name, stream, pause, until):
    count = 0
    while time.monotonic() < until:
        count += 1
        long = "x" * 40000 if count % 500 == 0 else ""
        half = f"{name} {count} {long}"
        if count % 7 == 0:
            stream.write(half)
            stream.flush()
            time.sleep(pause / 2)
            stream.write("\n")
        else:
            stream.write(half + "\n")
        stream.flush()
        # In bursts, and silent between them.
        time.sleep(pause * 20 if count % 20 == 0 else pause / 20)
    stream.write(f"{name} end {count}\n")
    stream.flush()

def main(id, config):
    until = time.monotonic() + config["seconds"]
    writers = [
        threading.Thread(target=number, args=("out", sys.stdout, config["pause"], until)),
        threading.Thread(target=number, args=("err", sys.stderr, config["pause"] * 3, until)),
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    while True:
        time.sleep(1)
"#;

/// How long the last lines may take to reach the store.
const PATIENCE: Duration = Duration::from_mins(3);

struct Plan {
    seconds: u64,
    bots: u64,
    kills: u64,
    outage_seconds: u64,
}

#[tokio::test]
async fn no_line_is_lost_or_repeated_while_workers_die_and_the_store_goes_away() {
    let short = Plan { seconds: 30, bots: 3, kills: 5, outage_seconds: 4 };
    Box::pin(soak(short)).await;
}

#[tokio::test]
#[ignore = "it takes ten minutes: make soak-logs"]
async fn soak_for_long() {
    let number = |name: &str, default: u64| {
        variable(name).map_or(default, |text| text.parse().expect("a whole number"))
    };
    let long = Plan {
        seconds: number("SOAK_SECONDS", 600),
        bots: number("SOAK_BOTS", 10),
        kills: number("SOAK_KILLS", 20),
        outage_seconds: number("SOAK_OUTAGE_SECONDS", 60),
    };
    Box::pin(soak(long)).await;
}

async fn soak(plan: Plan) {
    let scene = Scene::new().await;
    let store = Proxy::start(s3::addr().await).await;
    let (address, spool) = (store.addr().to_string(), scene.folder().join("spool"));
    let spool = spool.to_string_lossy().into_owned();
    let settings = [
        ("MINIO_ENDPOINT", address.as_str()),
        ("STORE_TIMEOUT_SECONDS", "5"),
        ("STORE_MAX_ATTEMPTS", "2"),
        ("LOG_INTERVAL_SECONDS", "2"),
        ("LOG_SPOOL_DIR", spool.as_str()),
        ("LOG_BUFFER_MAX_KB", "64"),
        ("LOG_CHUNK_MAX_KB", "64"),
        // A worker that is started while the store is away cannot show that a bot is its own: a bot
        // that ends itself for that would be right, but is not what this is about.
        ("SEGMENT_GRACE_SECONDS", "600"),
    ];
    let mut worker = scene.worker_with(&settings).await;
    let ids: Vec<_> = (0..plan.bots).map(|number| scene.id(&format!("bot-{number}"))).collect();
    for (id, pause) in ids.iter().zip([0.02, 0.05, 0.1, 0.01, 0.3].into_iter().cycle()) {
        let message = numbers(&scene, id, plan.seconds, pause).await;
        scene.start(&message).await;
    }
    for id in &ids {
        scene.events.wait_state(id, "running").await;
    }

    let begun = Instant::now();
    let at = |share: f64| begun + Duration::from_secs(plan.seconds).mul_f64(share);
    let outages = async {
        for (share, stalls) in [(0.3, false), (0.65, true)] {
            sleep_until(at(share)).await;
            if stalls {
                store.stall();
            } else {
                store.cut();
            }
            sleep(Duration::from_secs(plan.outage_seconds)).await;
            store.restore();
        }
    };
    let kills = async {
        for kill in 1..=plan.kills {
            #[allow(clippy::cast_precision_loss, reason = "there are a few kills")]
            sleep_until(at(kill as f64 / (plan.kills + 1) as f64)).await;
            worker.kill();
            worker.wait().await;
            // Ready or not: while the store is away it cannot be.
            worker = scene.spawn_worker(&settings);
        }
    };
    tokio::join!(outages, kills);
    worker.ready().await;

    let mut total = 0;
    for id in &ids {
        total += all_there(&scene, id).await;
        scene.stop(&json!({ "id": id })).await;
        scene.events.result_of(id).await.expect("stopped");
        // And once more, as one daily log.
        assert_eq!(numbered(&scene, id).await.map(|(_, lines)| lines > 0), [true, true]);
    }
    eprintln!(
        "{} bots, {} kills, 2 outages of {} s in {} s: {total} lines, none lost, none repeated",
        plan.bots, plan.kills, plan.outage_seconds, plan.seconds
    );
    // The spool of every killed worker was removed by the next one.
    let left = std::fs::read_dir(&spool).map_or(0, Iterator::count);
    assert!(left <= 1, "{left} spools are left");
    scene.finish([worker]).await;
}

async fn numbers(scene: &Scene, id: &str, seconds: u64, pause: f64) -> Value {
    let key = scene.put_code("numbers", &[(PYTHON_BOT.script, NUMBERS)]).await;
    let mut message = PYTHON_BOT.message(id, &key);
    message["config"] = json!({ "seconds": seconds, "pause": pause });
    message
}

/// Waits until the last line of each output is stored, and gives how many there are.
async fn all_there(scene: &Scene, id: &str) -> u64 {
    let begun = Instant::now();
    loop {
        let found = numbered(scene, id).await;
        if let [(Some(out), out_lines), (Some(err), err_lines)] = found {
            assert_eq!((out, err), (out_lines, err_lines), "lines of {id} that were written");
            return out + err;
        }
        assert!(begun.elapsed() < PATIENCE, "the log of {id} does not come to its end: {found:?}");
        sleep(Duration::from_secs(1)).await;
    }
}

/// Of each output the last number that its writer told, where it has, and how many lines there are;
/// they must be in order, each once.
async fn numbered(scene: &Scene, id: &str) -> [(Option<u64>, u64); 2] {
    let mut found = [(None, 0), (None, 0)];
    let mut begun: [String; 2] = Default::default();
    for (stream, text) in stored_lines(&scene.store, id).await {
        assert!(!text.starts_with("[longshore]"), "{id}: {text}");
        let (told, lines) = &mut found[usize::from(stream == Stream::Stderr)];
        let whole = &mut begun[usize::from(stream == Stream::Stderr)];
        if let Some(part) = text.strip_suffix(longshore::logs::CUT_MARK) {
            whole.push_str(part);
            continue;
        }
        whole.push_str(&text);
        let text = std::mem::take(whole);
        let mut words = text.split(' ');
        assert_eq!(words.next(), Some(if stream == Stream::Stderr { "err" } else { "out" }));
        assert_eq!(*told, None, "{id}: a line after the last: {text}");
        match words.next() {
            Some("end") => *told = words.next().map(|count| count.parse().unwrap()),
            Some(number) => {
                *lines += 1;
                assert_eq!(number.parse(), Ok(*lines), "{id}: a line is missing or repeated");
                let rest = words.next().unwrap_or_default().len();
                assert_eq!(rest, if *lines % 500 == 0 { 40_000 } else { 0 }, "{id}: {number}");
            }
            None => panic!("{id}: {text:?}"),
        }
    }
    found
}
