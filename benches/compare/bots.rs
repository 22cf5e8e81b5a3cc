//! What idle bots cost their worker.

use std::time::Duration;

use crate::contender::{Contender as _, cpu, memory};
use crate::queued::{Kind, Queued};
use crate::report::{Report, Unit};
use longshore_testing::archive::zip_of;
use longshore_testing::program::PYTHON_BOT;

/// How many bots there are when the worker is looked at.
const BOTS: [usize; 4] = [0, 10, 100, 300];

/// For how long it is looked at.
const LOOK: Duration = Duration::from_secs(60);

/// How long the start of a bot may take.
const START: Duration = Duration::from_secs(5);

const IDLE: &str = "import time\ndef main(id, config):\n    while True: time.sleep(3600)\n";

pub(crate) async fn measure(report: &mut Report) {
    let kind = Kind { name: "bots", warm: "0" };
    let mut queued = Queued::with(kind, 1, &[("MAX_LONG_RUNNING", "300")]).await;
    let key = queued.upload(zip_of(&[(PYTHON_BOT.script, IDLE)])).await;
    let mut running = Vec::new();
    for bots in BOTS {
        let before = running.len();
        while running.len() < bots {
            running.push(queued.id());
            queued.publish(&PYTHON_BOT.message(running.last().unwrap(), &key)).await;
        }
        wait_for(&queued, bots, START * u32::try_from(bots - before + 1).unwrap()).await;
        tokio::time::sleep(LOOK / 4).await;
        let before = cpu(&queued);
        tokio::time::sleep(LOOK).await;
        let used = cpu(&queued).saturating_sub(before).as_secs_f64() / LOOK.as_secs_f64();
        let part = format!("{bots} idle bots");
        report.add(&part, "processor", Unit::PercentOfACore, used * 100.0);
        report.add(&part, "memory", Unit::Mebibytes, memory(&queued));
    }
    for id in &running {
        queued.publish_stop(id).await;
    }
    for _ in &running {
        queued.results.next().await.unwrap().unwrap();
    }
    Box::new(queued).stop().await;
}

async fn wait_for(queued: &Queued, bots: usize, within: Duration) {
    let all = async {
        while queued.scene.containers().await.len() < bots {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(within, all).await.expect("the bots do not start");
}
