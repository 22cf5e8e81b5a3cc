//! The hosts of a broker, and which of them is tried next. Pure but for the order of the hosts.

use std::time::Duration;

use tokio::time::Instant;

use super::BrokerError;
use super::endpoint::Endpoint;
use super::pauses::back_off;
use crate::settings::{BrokerSettings, broker_urls};

/// Every host that `AMQP_URL` names, at least one.
#[derive(Clone)]
pub(super) struct Hosts(Vec<Endpoint>);

impl Hosts {
    /// Those that the settings name, in their order.
    pub(super) fn of(settings: &BrokerSettings) -> Result<Self, BrokerError> {
        let urls = broker_urls(&settings.url);
        let parsed = urls.iter().enumerate().map(|(index, url)| {
            let endpoint = Endpoint::parse(url, &settings.tls);
            endpoint.map_err(|error| error.of_url(index + 1, urls.len()))
        });
        Ok(Self(parsed.collect::<Result<_, _>>()?))
    }

    /// The same in another order, so that the workers of a cluster spread over its hosts.
    pub(super) fn shuffled(mut self) -> Self {
        fastrand::shuffle(&mut self.0);
        self
    }

    /// The same with another heartbeat, see [`Endpoint::with_heartbeat`].
    pub(super) fn with_heartbeat(self, heartbeat: Duration) -> Self {
        Self(self.0.into_iter().map(|one| one.with_heartbeat(heartbeat)).collect())
    }

    /// All of them.
    pub(super) fn into_all(self) -> Vec<Endpoint> {
        self.0
    }
}

/// Endless or ended pauses between the attempts at one host.
type Pauses = Box<dyn Iterator<Item = Duration> + Send + Sync>;

/// Makes the pauses of one host.
type MakePauses = Box<dyn Fn() -> Pauses + Send + Sync>;

/// Whose turn it is to be tried.
///
/// The hosts are tried in turn. After a failure a host has a pause, which grows with each failure,
/// and its turns are left out meanwhile. So a host that is away delays no other host, and nobody is
/// tried for a while only after all have failed.
pub(super) struct Rota {
    hosts: Vec<Host>,
    next: usize,
    make_pauses: MakePauses,
}

struct Host {
    endpoint: Endpoint,
    state: State,
    pauses: Pauses,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be tried from then on.
    Due(Instant),
    /// It is being tried, or connected.
    Busy,
    /// It is not tried again.
    Out,
}

impl Rota {
    /// Tries for ever, with pauses of at most `max` for each host.
    pub(super) fn endless(hosts: Hosts, max: Duration) -> Self {
        Self::new(hosts, Box::new(move || Box::new(back_off(max))))
    }

    /// Tries each host once.
    pub(super) fn once(hosts: Hosts) -> Self {
        Self::new(hosts, Box::new(|| Box::new(std::iter::empty())))
    }

    fn new(hosts: Hosts, make_pauses: MakePauses) -> Self {
        let now = Instant::now();
        let hosts = hosts.0.into_iter().map(|endpoint| {
            let pauses = make_pauses();
            Host { endpoint, state: State::Due(now), pauses }
        });
        Self { hosts: hosts.collect(), next: 0, make_pauses }
    }

    /// Takes the next host whose pause is over.
    pub(super) fn take(&mut self, now: Instant) -> Option<usize> {
        let count = self.hosts.len();
        let turns = (0..count).map(|step| (self.next + step) % count);
        let is_due = |host: &usize| matches!(self.hosts[*host].state, State::Due(at) if at <= now);
        let host = turns.into_iter().find(is_due)?;
        self.hosts[host].state = State::Busy;
        self.next = (host + 1) % count;
        Some(host)
    }

    /// When the next pause is over, if a host has one.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = self.hosts.iter().filter_map(|host| match host.state {
            State::Due(at) => Some(at),
            State::Busy | State::Out => None,
        });
        due.min()
    }

    /// Where a host is.
    pub(super) fn endpoint(&self, host: usize) -> &Endpoint {
        &self.hosts[host].endpoint
    }

    /// A host could not be reached. Returns how long it is left alone, if it is tried again.
    pub(super) fn failed(&mut self, host: usize, now: Instant) -> Option<Duration> {
        let host = &mut self.hosts[host];
        let pause = host.pauses.next();
        host.state = pause.map_or(State::Out, |pause| State::Due(now + pause));
        pause
    }

    /// A connection to `host` is open, and attempts at others were given up. They did not fail.
    pub(super) fn connected(&mut self, host: usize, now: Instant) {
        let others = self.hosts.iter_mut().enumerate().filter(|(other, _)| *other != host);
        for (_, other) in others.filter(|(_, other)| other.state == State::Busy) {
            other.state = State::Due(now);
        }
    }

    /// The connection to `host` was lost. If it was `good`, the host begins with a short pause.
    /// Otherwise this counts as one more failure, so that a host that ends each connection at once
    /// is not tried all the time.
    pub(super) fn lost(&mut self, host: usize, good: bool, now: Instant) {
        if good {
            self.hosts[host].pauses = (self.make_pauses)();
        }
        self.failed(host, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::TlsFiles;

    const MAX: Duration = Duration::from_secs(4);

    fn rota(hosts: &[&str]) -> Rota {
        let parse = |host: &&str| Endpoint::parse(&format!("amqp://{host}"), &TlsFiles::default());
        let hosts = Hosts(hosts.iter().map(|host| parse(host).unwrap()).collect());
        Rota::endless(hosts, MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_away_delays_no_other() {
        let mut rota = rota(&["a", "b", "c"]);
        let now = Instant::now();
        assert_eq!(rota.take(now), Some(0));
        rota.failed(0, now);
        assert_eq!(rota.take(now), Some(1), "at once");
        rota.connected(1, now);
        // Much later the host is tried again, but in its turn.
        let later = now + MAX * 2;
        rota.lost(1, true, later);
        assert_eq!(rota.take(later), Some(2));
        rota.failed(2, later);
        assert_eq!(rota.take(later), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn only_after_a_round_there_is_a_pause_and_it_grows() {
        let mut rota = rota(&["a", "b"]);
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            for _ in 0..2 {
                while rota.take(now).is_none() {
                    now = rota.next_due().unwrap();
                }
                let host = (rota.next + 1) % 2;
                pauses.push(rota.failed(host, now).unwrap());
            }
        }
        assert!(pauses[..2].iter().all(|pause| *pause < Duration::from_secs(1)), "{pauses:?}");
        assert!(pauses[14..].iter().all(|pause| *pause >= MAX / 2 && *pause <= MAX), "{pauses:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_drops_every_connection_is_tried_less_and_less() {
        let mut rota = rota(&["a"]);
        let mut now = Instant::now();
        let mut waited = Vec::new();
        for _ in 0..8 {
            assert_eq!(rota.take(now), Some(0));
            rota.lost(0, false, now);
            let due = rota.next_due().unwrap();
            waited.push(due - now);
            now = due;
        }
        assert!(waited[7] >= MAX / 2, "{waited:?}");
        rota.take(now);
        rota.lost(0, true, now);
        assert!(rota.next_due().unwrap() - now < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_was_given_up_for_another_host_is_no_failure() {
        let mut rota = rota(&["a", "b"]);
        let now = Instant::now();
        assert_eq!((rota.take(now), rota.take(now), rota.take(now)), (Some(0), Some(1), None));
        rota.connected(1, now);
        assert_eq!(rota.take(now), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn once_is_once() {
        let all = rota(&["a", "b"]).hosts.into_iter().map(|host| host.endpoint).collect();
        let mut rota = Rota::once(Hosts(all));
        let now = Instant::now();
        while let Some(host) = rota.take(now) {
            assert_eq!(rota.failed(host, now), None);
        }
        assert_eq!(rota.next_due(), None);
    }
}
