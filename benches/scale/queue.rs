//! What starts cost that nobody takes: in a queue, while no worker has room.

use std::time::Instant;

use lapin::options::QueuePurgeOptions;
use longshore_testing::scene::Scene;

use crate::fleet::{client, float, publish, start};
use crate::servers::Servers;

/// What they cost.
pub(crate) struct Queue {
    pub(crate) starts: f64,
    pub(crate) per_second: f64,
    pub(crate) broker_ms: f64,
    /// The broker's resident memory before and after, in MiB.
    pub(crate) memory_mib: [f64; 2],
    /// Of one start, without properties.
    pub(crate) bytes: f64,
}

/// Publishes so many starts, without a worker, and removes them.
pub(crate) async fn measure(starts: usize, servers: &Servers) -> Queue {
    let scene = Scene::new().await;
    let broker = client(&scene.namespace);
    broker.declare_topology().await.unwrap();
    let messages: Vec<_> = (0..starts).map(|_| start(&scene.namespace, "code.zip")).collect();
    let bytes = serde_json::to_string(&messages[0]).unwrap().len();
    let (before, memory, begun) = (servers.used(), servers.broker_kib(), Instant::now());
    publish(&broker, messages).await;
    let (took, used) = (begun.elapsed(), servers.used().since(before));
    let memory_mib = [memory, servers.broker_kib()].map(mib);
    let queue = format!("{}.start.terminating", scene.namespace);
    let purge = QueuePurgeOptions::default();
    let purged = scene.channel.queue_purge(queue.as_str().into(), purge).await.unwrap();
    assert_eq!(usize::try_from(purged).unwrap(), starts, "the queue {queue}");
    scene.finish([]).await;
    Queue {
        starts: float(starts),
        per_second: float(starts) / took.as_secs_f64(),
        broker_ms: used.broker.as_secs_f64() * 1e3 / float(starts),
        memory_mib,
        bytes: float(bytes),
    }
}

fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap()) / 1024.0
}
