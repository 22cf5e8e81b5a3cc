//! Whether a request was meant for this server. A stranger's page can let its own name resolve to
//! the loopback (DNS rebinding). A browser then sends us requests for that page; the header `Host`
//! shows it.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::HOST;
use axum::http::uri::{Authority, Uri};

use crate::settings::is_loopback_host;

/// The names and addresses of this server.
#[derive(Clone)]
pub(super) struct Hosts {
    listens_on: IpAddr,
    allowed: Vec<String>,
}

impl Hosts {
    pub(super) fn new(listens_on: IpAddr, allowed: &[String]) -> Self {
        let allowed = allowed.iter().map(|host| plain(host)).collect();
        Self { listens_on: listens_on.to_canonical(), allowed }
    }

    /// Whether every host that a request names is ours. A request without a host comes from no
    /// browser.
    pub(super) fn admit(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let mut named = headers.get_all(HOST).iter().map(|host| {
            let host = std::str::from_utf8(host.as_bytes()).ok()?;
            Some(host.parse::<Authority>().ok()?.host().to_owned())
        });
        let is_named = |host: Option<String>| host.is_some_and(|host| self.has(&host));
        named.all(is_named) && uri.host().is_none_or(|host| self.has(host))
    }

    fn has(&self, host: &str) -> bool {
        let host = plain(host);
        let is_address =
            host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() == self.listens_on);
        is_loopback_host(&host) || is_address || self.allowed.contains(&host)
    }
}

/// A host in a form for comparison.
fn plain(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn admits(hosts: &[&[u8]], uri: &str) -> bool {
        let allowed = ["Health.Example".to_owned(), "10.1.2.3".to_owned()];
        let ours = Hosts::new([127, 0, 0, 1].into(), &allowed);
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        ours.admit(&headers, &uri.parse().unwrap())
    }

    #[test]
    fn the_loopback_and_what_the_operator_names_are_ours() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "worker.localhost:1",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "health.example:80",
            "10.1.2.3:8080",
        ] {
            assert!(admits(&[host.as_bytes()], "/readyz"), "{host}");
        }
        assert!(admits(&[], "/readyz"), "a client without the header is no browser");
    }

    #[test]
    fn every_other_host_is_not() {
        let others: [&[u8]; 10] = [
            b"evil.example",
            b"evil.example:8080",
            b"localhost.evil.example",
            b"evillocalhost",
            b"127.0.0.1.evil.example",
            b"10.1.2.4",
            b"",
            b"a b",
            b"\xff",
            b"[::2]",
        ];
        for host in others {
            assert!(!admits(&[host], "/readyz"), "{}", String::from_utf8_lossy(host));
        }
        assert!(!admits(&[b"localhost", b"evil.example"], "/readyz"));
        assert!(!admits(&[b"localhost"], "http://evil.example/readyz"));
    }
}
