//! What the settings leave open to strangers, in words for an operator. Pure.

use std::net::IpAddr;

use super::broker_url::broker_urls;
use super::sections::{BrokerSettings, RunnerSettings, StoreSettings};
use crate::job::Network;

/// A thing that is left open, and what closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// What.
    pub said: String,
    /// The settings that change it.
    pub remedy: String,
}

/// What closes the host's network to jobs.
pub const NO_HOST_NETWORK: &str = "set BOT_NETWORK=bridge and BOT_ALLOWED_NETWORKS=bridge,none";

/// What these settings leave open.
#[must_use]
pub fn exposures(
    broker: &BrokerSettings,
    store: &StoreSettings,
    runner: &RunnerSettings,
) -> Vec<Exposure> {
    let urls = broker_urls(&broker.url);
    let brokers = urls.into_iter().map(Server::broker);
    let servers: Vec<_> = brokers.chain([Server::store(store)]).collect();
    let found = [on_the_loopback(&servers, runner), without_tls(&servers)];
    found.into_iter().flatten().collect()
}

/// Whether any job may have the host's network.
#[must_use]
pub fn allows_host_network(runner: &RunnerSettings) -> bool {
    runner.network == Network::Host || runner.allowed_networks.contains(&Network::Host)
}

fn on_the_loopback(servers: &[Server], runner: &RunnerSettings) -> Option<Exposure> {
    let names = named(servers, |server| is_loopback_host(&server.host));
    if !allows_host_network(runner) || names.is_empty() {
        return None;
    }
    let said = format!(
        "jobs may use this host's network, where they can reach what listens on the loopback or \
         listen in its place: {names}"
    );
    Some(Exposure { said, remedy: NO_HOST_NETWORK.to_owned() })
}

fn without_tls(servers: &[Server]) -> Option<Exposure> {
    let is_open = |server: &Server| !server.has_tls && !is_loopback_host(&server.host);
    let names = named(servers, is_open);
    if names.is_empty() {
        return None;
    }
    let mut remedies: Vec<_> =
        servers.iter().filter(|server| is_open(server)).map(|server| server.remedy).collect();
    // The hosts of a cluster share one.
    remedies.dedup();
    let said = format!("TLS is off, so that whoever is on the way can read and change it: {names}");
    Some(Exposure { said, remedy: remedies.join(" and ") })
}

fn named(servers: &[Server], is_meant: impl Fn(&Server) -> bool) -> String {
    let meant = servers.iter().filter(|server| is_meant(server));
    let names: Vec<_> =
        meant.map(|s| format!("{} at {} ({})", s.name, s.host, s.variable)).collect();
    names.join(" and ")
}

/// The facts about a server that matter here.
struct Server {
    name: &'static str,
    variable: &'static str,
    host: String,
    has_tls: bool,
    remedy: &'static str,
}

impl Server {
    fn broker(url: &str) -> Self {
        Self {
            name: "the broker",
            variable: "AMQP_URL",
            host: host_of(url),
            has_tls: url.starts_with("amqps://"),
            remedy: "write amqps:// in AMQP_URL",
        }
    }

    fn store(settings: &StoreSettings) -> Self {
        let has_scheme = settings.endpoint.contains("://");
        let has_tls = settings.endpoint.starts_with("https://") || (settings.ssl && !has_scheme);
        let url = if has_scheme { &settings.endpoint } else { &format!("//{}", settings.endpoint) };
        Self {
            name: "the object store",
            variable: "MINIO_ENDPOINT",
            host: host_of(url),
            has_tls,
            remedy: "write https:// in MINIO_ENDPOINT",
        }
    }
}

/// The host of a URL, without login and port.
fn host_of(url: &str) -> String {
    let after = url.split_once("//").map_or(url, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = authority.parse::<http::uri::Authority>();
    host.map_or_else(|_| authority.to_owned(), |authority| authority.host().to_owned())
}

/// Whether a host's name or address means only this machine.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(ip) => is_loopback(ip),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

/// Whether only this machine can reach an address.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Loader, Sources};

    /// What is told about these settings, and what the settings say about networks.
    fn told(url: &str, endpoint: &str, networks: (&str, &str)) -> Vec<Exposure> {
        let pairs = [
            ("AMQP_URL", url),
            ("MINIO_ENDPOINT", endpoint),
            ("MINIO_ACCESS_KEY", "a"),
            ("MINIO_SECRET_KEY", "s"),
            ("BOT_NETWORK", networks.0),
            ("BOT_ALLOWED_NETWORKS", networks.1),
        ];
        let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let loader = Loader::new(Sources { variables, ..Sources::default() });
        let read = loader.read(|reader| (reader.broker(), reader.store(), reader.runner()));
        let (broker, store, runner) = read.unwrap();
        exposures(&broker, &store, &runner)
    }

    const HOST: (&str, &str) = ("host", "host,bridge,none");
    const BRIDGE: (&str, &str) = ("bridge", "bridge,none");

    #[test]
    fn jobs_on_the_hosts_network_next_to_a_server_on_the_loopback_are_reported() {
        for (url, endpoint, names) in [
            ("amqp://me:hush@127.0.0.1:5672/%2f", "localhost:8333", 2),
            ("amqp://me:hush@localhost", "https://s3.example", 1),
            ("amqps://me:hush@mq.example", "http://[::1]:8333", 1),
        ] {
            for networks in [HOST, ("bridge", "bridge,host"), ("host", "none")] {
                let found = told(url, endpoint, networks);
                assert_eq!(found.len(), 1, "{found:?}");
                assert!(found[0].said.contains("in its place: the "), "{found:?}");
                assert_eq!(found[0].said.matches(" at ").count(), names, "{found:?}");
                assert!(!found[0].said.contains("hush"), "{found:?}");
                assert_eq!(found[0].remedy, NO_HOST_NETWORK);
            }
            assert_eq!(told(url, endpoint, BRIDGE), [], "{url}");
        }
    }

    #[test]
    fn a_remote_server_without_tls_is_reported_whatever_the_network() {
        for networks in [HOST, BRIDGE] {
            let found = told("amqp://me:hush@mq.example:5672/%2f", "s3.example:9000", networks);
            assert_eq!(
                found,
                [Exposure {
                    said: "TLS is off, so that whoever is on the way can read and change it: the \
                           broker at mq.example (AMQP_URL) and the object store at s3.example \
                           (MINIO_ENDPOINT)"
                        .to_owned(),
                    remedy: "write amqps:// in AMQP_URL and write https:// in MINIO_ENDPOINT"
                        .to_owned(),
                }]
            );
            assert_eq!(told("amqps://mq.example", "https://s3.example", networks), []);
        }
    }

    #[test]
    fn each_host_of_a_cluster_is_reported_and_its_remedy_once() {
        let found = told("amqp://a.example,amqp://b.example", "https://s3.example", BRIDGE);
        assert_eq!(found.len(), 1);
        for host in ["the broker at a.example", "the broker at b.example"] {
            assert!(found[0].said.contains(host), "{found:?}");
        }
        assert_eq!(found[0].remedy, "write amqps:// in AMQP_URL");
    }

    #[test]
    fn the_loopback_is_distinguished_from_other_hosts() {
        for host in ["localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in ["", "rabbitmq", "localhost.example", "10.0.0.1", "[2001:db8::1]", "128.0.0.1"]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
