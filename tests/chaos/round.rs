//! A round, from the first server to the table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::crew::Crew;
use super::evidence::{self, Evidence, Ticket};
use super::plan::{Extra, Plan, PlannedJob, Scale, Step, Stop, Work};
use super::programs;
use super::reckoning::{Line, reckon};
use super::recovery::{self, Trouble};
use super::stage::Stage;
use super::states::{self, Kept};
use super::watch::{Lives, watch};
use super::wire::{Publisher, collect, now_s};
use longshore_testing::events::Seen;

/// How long results may take when all faults are over, and what is left when all results are there.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long events are heard when all workers have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much older than its stop a start is that the stop must cancel, in seconds.
const AGE_OF_CANCELLED: u64 = 60;

/// What is heard and seen while a round goes on.
#[derive(Default)]
struct Heard {
    results: Mutex<Vec<Seen>>,
    lives: Arc<Mutex<Lives>>,
    kept: Mutex<BTreeMap<String, Vec<Kept>>>,
    troubles: Mutex<Vec<Trouble>>,
}

impl Heard {
    fn has_result_of(&self, ticket: &Ticket) -> bool {
        self.results.lock().unwrap().iter().any(|seen| ticket.is_meant(seen))
    }

    async fn result_of(&self, ticket: &Ticket) {
        while !self.has_result_of(ticket) {
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// What is published: routing key, body, message id, time.
type Message = (&'static str, serde_json::Value, String, u64);

/// A round that goes on.
struct Round {
    plan: Plan,
    tickets: Vec<Ticket>,
    stage: Arc<Stage>,
    crew: Arc<Crew>,
    heard: Arc<Heard>,
    /// Those that use the workers, until `done`.
    tasks: TaskTracker,
    done: DropGuard,
    /// The one that hears events.
    hearing: TaskTracker,
    deaf: DropGuard,
}

/// Runs what is planned, and says what came of it.
pub(crate) async fn run(scale: Scale) -> Vec<Line> {
    let begun = Instant::now();
    let round = Round::begin(Plan::new(scale)).await;
    tell(begun, "all servers and workers are up");
    round.go_through(Instant::now()).await;
    tell(begun, "all faults are over");
    round.stop_bots().await;
    tell(begun, "all results are there, or will not be");
    round.settle().await;
    tell(begun, "all is quiet, or will not be");
    round.reckon(begun).await
}

impl Round {
    async fn begin(plan: Plan) -> Self {
        let stage = Arc::new(Box::pin(Stage::raise(&plan.scale)).await);
        let crew = Arc::new(Box::pin(Crew::start(&stage, &plan.scale)).await);
        let heard = Arc::new(Heard::default());
        let (tasks, done) = (TaskTracker::new(), CancellationToken::new());
        let lives = Arc::clone(&heard.lives);
        tasks.spawn(watch(stage.engines.clone(), lives, done.clone()));
        let keeping = Arc::clone(&heard);
        let keep = move |seen: Seen| {
            if seen.is_result() {
                keeping.results.lock().unwrap().push(seen);
            }
        };
        let (url, queue) = (stage.broker.url(), stage.broker.observer());
        let (hearing, deaf) = (TaskTracker::new(), CancellationToken::new());
        hearing.spawn(collect(url, queue, keep, deaf.clone()));
        let (supervised, until) = (Arc::clone(&crew), done.clone());
        tasks.spawn(async move { supervised.supervise(until).await });
        let tickets = tickets(&plan, &stage.namespace);
        let counting = tickets.iter().filter(|ticket| ticket.job.extra == Extra::State);
        let counting: Vec<_> = counting.map(|ticket| ticket.id.clone()).collect();
        let (looked_at, noted, until) = (Arc::clone(&stage), Arc::clone(&heard), done.clone());
        tasks.spawn(async move {
            let Stage { store, namespace, .. } = &*looked_at;
            states::watch(store, namespace, &counting, &noted.kept, until).await;
        });
        let (done, deaf) = (done.drop_guard(), deaf.drop_guard());
        Self { plan, tickets, stage, crew, heard, tasks, done, hearing, deaf }
    }

    /// Does everything at its time. Messages go out one after the other, each until it is confirmed;
    /// faults go on beside each other.
    async fn go_through(&self, begun: Instant) {
        let (messages, publishing) = self.publishing();
        let mut going = JoinSet::new();
        for (at, step) in &self.plan.steps {
            sleep_until(begun + *at).await;
            match step {
                Step::Start(number) | Step::Repeat(number) => {
                    messages.send(self.start(*number)).unwrap();
                }
                Step::Follow(number) => {
                    let until = begun + self.plan.scale.duration + PATIENCE;
                    going.spawn(self.follow(*number, until, messages.clone()));
                }
                Step::Stop(number) => messages.send(self.stop(*number)).unwrap(),
                Step::Break(fault) => {
                    tell(begun, &format!("{fault:?}"));
                    let (stage, crew, fault) =
                        (Arc::clone(&self.stage), Arc::clone(&self.crew), *fault);
                    let heard = Arc::clone(&self.heard);
                    going.spawn(async move {
                        let since = Timestamp::now();
                        stage.suffer(fault, &crew).await;
                        let trouble = Trouble { begin: since, end: Timestamp::now(), fault };
                        heard.troubles.lock().unwrap().push(trouble);
                    });
                }
            }
        }
        while let Some(ended) = going.join_next().await {
            ended.unwrap();
        }
        drop(messages);
        publishing.await.unwrap();
        self.crew.recover().await;
    }

    /// Publishes a start when the run that it follows has ended, and then that one's start again. Where
    /// it does not end, the table says so of both.
    fn follow(
        &self,
        number: usize,
        until: Instant,
        messages: mpsc::UnboundedSender<Message>,
    ) -> impl Future<Output = ()> + use<> {
        let first = self.tickets[number].job.follows.unwrap();
        let both = [self.start(number), self.start(first)];
        let (first, heard) = (self.tickets[first].clone(), Arc::clone(&self.heard));
        async move {
            if timeout_at(until, heard.result_of(&first)).await.is_ok() {
                for message in both {
                    messages.send(message).unwrap();
                }
            }
        }
    }

    fn publishing(&self) -> (mpsc::UnboundedSender<Message>, tokio::task::JoinHandle<()>) {
        let (messages, mut waiting) = mpsc::unbounded_channel::<Message>();
        let mut publisher = Publisher::new(self.stage.broker.url(), &self.stage.namespace);
        let publishing = self.tasks.spawn(async move {
            while let Some((key, body, id, at)) = waiting.recv().await {
                publisher.publish(key, &body, &id, at).await;
            }
        });
        (messages, publishing)
    }

    fn start(&self, number: usize) -> Message {
        let ticket = &self.tickets[number];
        let body = programs::message(&self.stage.namespace, ticket.job, &ticket.id, &ticket.token);
        let is_long = body["is_long_running"] == true;
        let key = if is_long { "start.long-running" } else { "start.terminating" };
        let age = if ticket.job.stop == Stop::Before { AGE_OF_CANCELLED } else { 0 };
        (key, body, ticket.message_id.clone(), now_s() - age)
    }

    fn stop(&self, number: usize) -> Message {
        let body = json!({ "id": self.tickets[number].id, "reason": "planned" });
        ("stop", body, uuid::Uuid::new_v4().to_string(), now_s())
    }

    /// Waits for every backtest's result, then asks the bots to stop and waits for theirs.
    async fn stop_bots(&self) {
        self.wait_for_results(|ticket| ticket.job.work != Work::Stamps).await;
        let (messages, publishing) = self.publishing();
        for (number, ticket) in self.tickets.iter().enumerate() {
            if ticket.job.work == Work::Stamps {
                messages.send(self.stop(number)).unwrap();
            }
        }
        drop(messages);
        publishing.await.unwrap();
        self.wait_for_results(|ticket| ticket.job.work == Work::Stamps).await;
    }

    /// Waits for the results of those tickets, within patience: the table says which are missing.
    async fn wait_for_results(&self, is_meant: impl Fn(&Ticket) -> bool) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let mut meant = self.tickets.iter().filter(|ticket| is_meant(ticket));
            if meant.all(|ticket| self.heard.has_result_of(ticket)) {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until nothing is left that goes away by itself, within patience.
    async fn settle(&self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let is_quiet = self.stage.containers().await.is_empty()
                && self.stage.directories().is_empty()
                && evidence::index(&self.stage).await.is_empty();
            if is_quiet {
                return;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    async fn reckon(self, begun: Instant) -> Vec<Line> {
        let Self { plan: _, tickets, stage, crew, heard, tasks, done, hearing, deaf } = self;
        drop(done);
        tasks.close();
        tasks.wait().await;
        let (shifts, bad_ends) = Arc::into_inner(crew).unwrap().dismiss().await;
        tell(begun, "all workers have ended");
        // What workers said at their end is on its way.
        sleep(LAST_WORDS).await;
        drop(deaf);
        hearing.close();
        hearing.wait().await;
        let bots = tickets.iter().filter(|ticket| ticket.job.work == Work::Stamps);
        let bots: Vec<_> = bots.map(|ticket| ticket.id.as_str()).collect();
        let mut evidence = Box::pin(Evidence::gather(&stage, &bots, shifts)).await;
        evidence.breakdowns.extend(bad_ends);
        evidence.results.clone_from(&heard.results.lock().unwrap());
        evidence.kept = std::mem::take(&mut *heard.kept.lock().unwrap());
        for (bot, kept) in &mut evidence.kept {
            kept.extend(states::kept(&stage.store, &stage.namespace, bot).await);
        }
        evidence.lives = heard.lives.lock().unwrap().clone();
        tell(begun, "all evidence is gathered");
        let mut lines = reckon(&tickets, &evidence);
        let troubles = heard.troubles.lock().unwrap().clone();
        lines.push(recovery::needless(&evidence.lives, &troubles));
        lines.extend(recovery::figures(&bots, &evidence.shifts, &evidence.lives, &troubles));
        let is_good = lines.iter().all(Line::is_good);
        let stage = Arc::into_inner(stage).unwrap();
        if let Some(kept) = stage.lower(!is_good).await {
            eprintln!("the workers' logs are in {}", kept.display());
        }
        lines
    }
}

fn tickets(plan: &Plan, namespace: &str) -> Vec<Ticket> {
    let ticket = |(number, job): (usize, &PlannedJob)| Ticket {
        job: *job,
        id: format!("{namespace}-{}", job.follows.unwrap_or(number)),
        message_id: uuid::Uuid::new_v4().to_string(),
        token: uuid::Uuid::new_v4().simple().to_string(),
    };
    plan.jobs.iter().enumerate().map(ticket).collect()
}

fn tell(begun: Instant, what: &str) {
    eprintln!("{:>7.1} s  {what}", begun.elapsed().as_secs_f32());
}
