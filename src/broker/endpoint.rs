//! One host of the broker: its URL, and a way to show it without its password.

use std::fmt;
use std::time::Duration;

use lapin::uri::{AMQPUri, SASLMechanism};

use super::BrokerError;
use crate::tls::TlsFiles;

/// Seconds between heartbeats if the URL names none (`?heartbeat=`). `RabbitMQ` would propose 60,
/// but a worker that has lost the broker must notice it within the grace of its segments.
const HEARTBEAT_SECONDS: u16 = 10;

/// A parsed URL of `AMQP_URL`. Its debug output shows everything except the password.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) uri: AMQPUri,
    /// The files of TLS, if the URL asks for it.
    pub(super) tls: TlsFiles,
}

impl Endpoint {
    /// Parses `url`. The parser's own errors may quote the URL, so they are not passed on.
    pub(super) fn parse(url: &str, tls: &TlsFiles) -> Result<Self, BrokerError> {
        let invalid = |reason: &str| BrokerError::InvalidUrl { reason: reason.to_owned() };
        if !url.starts_with("amqp://") && !url.starts_with("amqps://") {
            return Err(invalid("does not begin with amqp:// or amqps://"));
        }
        let mut uri: AMQPUri = url.parse().map_err(|_| invalid("is not a valid URL"))?;
        if url.contains("@[") || url.contains("://[") {
            // The parser would silently take localhost instead.
            return Err(invalid("has an IPv6 address for a host; use a host name"));
        }
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self { uri, tls: tls.clone() })
    }

    /// The same with this heartbeat, or the URL's if that is shorter. A URL may ask for no
    /// heartbeat, which does not count as shorter.
    pub(super) fn with_heartbeat(mut self, heartbeat: Duration) -> Self {
        let seconds = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX).max(1);
        let of_url = self.uri.query.heartbeat.filter(|seconds| *seconds > 0);
        self.uri.query.heartbeat = Some(of_url.map_or(seconds, |of_url| of_url.min(seconds)));
        self
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, query } = &self.uri;
        // With EXTERNAL, the certificate identifies us, and the user of the URL is ignored.
        let login = match query.auth_mechanism {
            Some(SASLMechanism::External) => String::new(),
            _ => format!("{}@", authority.userinfo.username),
        };
        write!(f, "{scheme}://{login}{}:{} (vhost {vhost:?})", authority.host, authority.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Endpoint, BrokerError> {
        Endpoint::parse(url, &TlsFiles::default())
    }

    #[test]
    fn the_password_is_never_shown() {
        let shown = parse("amqp://bob:s3cret@mq:5673/jobs").unwrap().to_string();
        assert_eq!(shown, "amqp://bob@mq:5673 (vhost \"jobs\")");
        for broken in ["amqp:bob:s3cret@mq", "http://bob:s3cret@mq", "amqp://bob:s3cret@mq:99999"] {
            let error = parse(broken).err().unwrap().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn where_the_certificate_says_who_we_are_no_user_is_shown() {
        let url = "amqps://mq/jobs?auth_mechanism=external";
        assert_eq!(parse(url).unwrap().to_string(), "amqps://mq:5671 (vhost \"jobs\")");
    }

    #[test]
    fn no_virtual_host_and_an_empty_one_mean_the_default_one() {
        for url in ["amqp://mq", "amqp://mq/", "amqp://mq/%2f"] {
            assert_eq!(parse(url).unwrap().uri.vhost, "/", "{url}");
        }
    }

    #[test]
    fn an_address_that_would_be_misread_is_refused() {
        assert!(parse("amqp://u:p@[::1]:5672/").is_err());
    }

    #[test]
    fn the_heartbeat_of_the_url_wins() {
        let heartbeat = |url| parse(url).unwrap().uri.query.heartbeat;
        assert_eq!(heartbeat("amqp://mq/?heartbeat=3"), Some(3));
        assert_eq!(heartbeat("amqp://mq/"), Some(HEARTBEAT_SECONDS));
    }

    #[test]
    fn the_connection_for_locks_has_the_shorter_heartbeat_and_never_none() {
        let heartbeat = |url, seconds| {
            let endpoint = parse(url).unwrap();
            endpoint.with_heartbeat(Duration::from_secs(seconds)).uri.query.heartbeat
        };
        assert_eq!(heartbeat("amqp://mq/", 3), Some(3));
        assert_eq!(heartbeat("amqp://mq/?heartbeat=2", 3), Some(2));
        assert_eq!(heartbeat("amqp://mq/?heartbeat=0", 3), Some(3));
        assert_eq!(heartbeat("amqp://mq/", 0), Some(1));
    }
}
