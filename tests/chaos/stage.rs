//! The servers of a round, all of its own: broker, store, engines, and a network between.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use longshore::storage::{Bucket, Condition, ObjectStore as _, S3Store};
use tempfile::TempDir;

use super::crew::Crew;
use super::plan::{Fault, Line, Scale, Way, Weather};
use super::programs::{ARCHIVES, PRICES, input_key, key};
use super::spool::Spool;
use longshore_testing::archive::zip_of;
use longshore_testing::own_broker::OwnBroker;
use longshore_testing::own_store::OwnStore;
use longshore_testing::second_engine::SecondEngine;
use longshore_testing::{engine, servers};

/// Everything that can be broken.
pub(crate) struct Stage {
    pub(crate) namespace: String,
    pub(crate) broker: OwnBroker,
    pub(crate) server: OwnStore,
    pub(crate) store: S3Store,
    pub(crate) engines: Vec<Arc<SecondEngine>>,
    /// One for each engine.
    pub(crate) spools: Vec<Spool>,
    /// Held by whoever breaks the broker: an alarm may take longer than planned to go off.
    turn_at_broker: tokio::sync::Mutex<()>,
    docker: bollard::Docker,
    folder: Option<TempDir>,
    is_lowered: bool,
}

impl Stage {
    /// Starts everything but the workers.
    pub(crate) async fn raise(scale: &Scale) -> Self {
        let short: String = uuid::Uuid::new_v4().simple().to_string().chars().take(8).collect();
        let namespace = format!("chaos-{short}");
        let folder = tempfile::Builder::new().prefix(&format!("{namespace}-")).tempdir().unwrap();
        let docker = servers::engine().await;
        let broker = OwnBroker::create(&docker, &namespace).await;
        let server = OwnStore::create(&docker, &namespace).await;
        let store = S3Store::new(&server.settings()).unwrap();
        // Every second one keeps its containers while it is restarted; both kinds are in use.
        let engines = futures_util::future::join_all(
            (0..scale.engines).map(|number| SecondEngine::start_with(number % 2 == 1)),
        );
        let (engines, (), ()) = tokio::join!(engines, broker.start(), server.start());
        let engines = engines.into_iter().map(Arc::new).collect();
        let spools = (0..scale.engines)
            .map(|number| Spool::mount(folder.path().join(format!("disk-{number}"))))
            .collect();
        let folder = Some(folder);
        let stage = Self {
            namespace,
            broker,
            server,
            store,
            engines,
            spools,
            turn_at_broker: tokio::sync::Mutex::const_new(()),
            docker,
            folder,
            is_lowered: false,
        };
        stage.put_code().await;
        stage
    }

    async fn put_code(&self) {
        for (name, program, source) in ARCHIVES {
            let zip = Bytes::from(zip_of(&[(program.script, source)]));
            let key = key(&self.namespace, name);
            let kind = "application/zip";
            self.store.put(Bucket::Code, &key, zip, kind, Condition::None).await.unwrap();
        }
        let (key, prices) = (input_key(&self.namespace), Bytes::from_static(PRICES.as_bytes()));
        let put = self.store.put(Bucket::Inputs, &key, prices, "text/csv", Condition::None);
        put.await.unwrap();
    }

    /// Where workers write their logs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Breaks something and repairs it again.
    pub(crate) async fn suffer(&self, fault: Fault, crew: &Crew) {
        match fault {
            Fault::Worker { worker, way, away } => crew.end(worker, way, away).await,
            Fault::Broker { way, away } => {
                let _turn = self.turn_at_broker.lock().await;
                match way {
                    Way::Stopped => self.broker.stop().await,
                    Way::Killed => self.broker.kill().await,
                }
                tokio::time::sleep(away).await;
                self.broker.start().await;
            }
            Fault::Store { away } => {
                self.server.stop().await;
                tokio::time::sleep(away).await;
                self.server.start().await;
            }
            Fault::Engine { engine, way, away } => {
                match way {
                    Way::Stopped => self.engines[engine].stop().await,
                    Way::Killed => self.engines[engine].kill().await,
                }
                tokio::time::sleep(away).await;
                self.engines[engine].boot().await;
            }
            Fault::Network { worker, line, weather, away } => {
                let line = match line {
                    Line::Broker => crew.to_broker(worker),
                    Line::Store => crew.to_store(worker),
                };
                match weather {
                    Weather::Cut => line.cut(),
                    Weather::Stalled => line.stall(),
                    Weather::PresentFrozen => line.freeze_present(),
                }
                tokio::time::sleep(away).await;
                line.restore();
            }
            Fault::Alarm { away } => {
                let _turn = self.turn_at_broker.lock().await;
                self.broker.control(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
                tokio::time::sleep(away).await;
                self.broker.control(&["set_vm_memory_high_watermark", "0.6"]).await;
            }
            Fault::SickStore { worker, sickness, away } => {
                crew.sicken_store(worker, sickness, away).await;
            }
            Fault::SickEngine { worker, sickness, away } => {
                crew.sicken_engine(worker, sickness, away).await;
            }
            Fault::Standstill { worker, away } => crew.stand_still(worker, away).await,
            Fault::Outside { engine, way } => {
                engine::end_one(self.engines[engine].docker(), &self.namespace, way == Way::Killed)
                    .await;
            }
            Fault::Memory { engine, away } => {
                self.engines[engine].squeeze_memory();
                tokio::time::sleep(away).await;
                self.engines[engine].release_memory();
            }
            Fault::Disk { engine, away } => {
                self.spools[engine].fill();
                tokio::time::sleep(away).await;
                self.spools[engine].empty();
            }
        }
    }

    /// The containers that are left of this round, on whichever of its engines.
    pub(crate) async fn containers(&self) -> Vec<String> {
        let mut all = Vec::new();
        for engine in &self.engines {
            all.extend(engine::of_namespace(engine.docker(), &self.namespace).await);
        }
        all
    }

    /// The directories that are left of this round's jobs.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.spools.iter().flat_map(|spool| spool.directories(&self.namespace)).collect()
    }

    /// Takes everything down; keeps the workers' logs if so wished, and says where.
    pub(crate) async fn lower(mut self, keeps_logs: bool) -> Option<PathBuf> {
        engine::sweep(&self.docker, &self.namespace).await;
        self.is_lowered = true;
        self.spools.clear();
        let folder = self.folder.take().filter(|_| keeps_logs);
        folder.map(TempDir::keep)
    }
}

impl Drop for Stage {
    /// After a panic or a Ctrl-C: the servers' containers, on a runtime of its own, for this one
    /// cannot wait here.
    fn drop(&mut self) {
        if self.is_lowered {
            return;
        }
        let namespace = self.namespace.clone();
        let swept = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                engine::sweep(&servers::engine().await, &namespace).await;
            });
        });
        if swept.join().is_err() {
            eprintln!("{}: some of it could not be removed", self.namespace);
        }
    }
}
