//! The allowed values of a setting: the check, and the words that say what is allowed.

use std::net::{IpAddr, SocketAddr};

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::broker_url;
use super::number::whole;
use super::url::{has_host, mask_url};
use super::users::{FEWEST, Users};

/// What a whole number counts. Megabytes and kilobytes are binary: 1 MB is 1,048,576 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Seconds.
    Seconds,
    /// Units of 1,024 bytes.
    Kilobytes,
    /// Units of 1,048,576 bytes.
    Megabytes,
}

impl Unit {
    /// How many bytes, seconds or things one unit is. The only place that converts.
    pub(super) fn factor(self) -> u64 {
        match self {
            Self::Count | Self::Seconds => 1,
            Self::Kilobytes => 1024,
            Self::Megabytes => 1024 * 1024,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Seconds => " seconds",
            Self::Kilobytes => " KB (of 1,024 bytes)",
            Self::Megabytes => " MB (of 1,048,576 bytes)",
        }
    }
}

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Text.
    Text,
    /// Text that is never shown.
    Secret,
    /// A secret that a request carries in a header.
    Token,
    /// The URLs of RabbitMQ, comma-separated, whose passwords are never shown.
    AmqpUrl,
    /// Host and port, or a URL, of an object store.
    Endpoint,
    /// The URL of a web server.
    HttpUrl,
    /// The address of a container engine.
    Engine,
    /// A part of names on the broker and the engine.
    Name,
    /// The name of a bucket.
    Bucket,
    /// A reference to a container image.
    Image,
    /// An absolute path of a directory.
    Directory,
    /// A user of the kernel by number, and perhaps a group, or a range of users.
    Users,
    /// An absolute path of a file.
    File,
    /// An IP address and a port.
    Address,
    /// Names or addresses of hosts, comma-separated.
    Hosts,
    /// A level, or a list of target=level.
    LogFilter,
    /// Yes or no.
    Bool,
    /// A whole number.
    Whole {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
        /// What it counts.
        unit: Unit,
    },
    /// A number that may have a fraction.
    Decimal {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// Whole seconds, ascending, comma-separated.
    Delays {
        /// The most of one of them.
        max: u64,
        /// How many at most.
        count: usize,
    },
    /// Beginnings of names, comma-separated.
    Prefixes {
        /// How many at most.
        count: usize,
    },
    /// Runtimes by their names, as JSON.
    Runtimes,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, comma-separated, at least one.
    Choices(&'static [&'static str]),
}

/// A number of things.
pub(super) const fn count(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: Unit::Count }
}

/// A number of seconds.
pub(super) const fn seconds(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: Unit::Seconds }
}

/// A number of kilobytes.
pub(super) const fn kilobytes(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: Unit::Kilobytes }
}

/// A number of megabytes.
pub(super) const fn megabytes(min: u64, max: u64) -> Kind {
    Kind::Whole { min, max, unit: Unit::Megabytes }
}

impl Kind {
    /// Whether a value is allowed.
    pub(super) fn allows(self, text: &str) -> bool {
        match self {
            Self::Text => is_plain(text, 255),
            Self::Secret => is_plain(text, 1024),
            Self::Token => is_token(text),
            Self::AmqpUrl => broker_url::flaw(text).is_none(),
            Self::Endpoint => is_endpoint(text),
            Self::HttpUrl => has_host(text, &["http", "https"], false),
            Self::Engine => is_engine(text),
            Self::Name => is_name(text),
            Self::Bucket => is_bucket(text),
            Self::Image => is_plain(text, 255) && !text.contains(' '),
            Self::Directory | Self::File => {
                is_plain(text, 1024) && text.starts_with('/') && text != "/"
            }
            Self::Users => text.parse::<Users>().is_ok(),
            Self::Address => text.parse::<SocketAddr>().is_ok(),
            Self::Hosts => list(text).all(is_host),
            Self::LogFilter => is_log_filter(text),
            Self::Bool => boolean(text).is_some(),
            Self::Whole { min, max, .. } => {
                whole(text).is_some_and(|number| (min..=max).contains(&number))
            }
            Self::Decimal { min, max } => {
                text.parse::<f64>().is_ok_and(|number| (min..=max).contains(&number))
            }
            Self::Delays { max, count } => {
                let delays: Option<Vec<u64>> = list(text).map(whole).collect();
                delays.is_some_and(|delays| {
                    (1..=count).contains(&delays.len())
                        && delays.iter().all(|delay| (1..=max).contains(delay))
                        && delays.windows(2).all(|pair| pair[0] < pair[1])
                })
            }
            Self::Prefixes { count } => {
                let prefixes: Vec<&str> = list(text).collect();
                prefixes.len() <= count && prefixes.iter().all(|prefix| is_plain(prefix, 255))
            }
            Self::Runtimes => {
                serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok()
            }
            Self::Choice(words) => words.contains(&text),
            Self::Choices(words) => list(text).all(|word| words.contains(&word)),
        }
    }

    /// What is allowed, as the end of a sentence.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Text => "1 to 255 characters, none of them a control character".to_owned(),
            Self::Secret => "1 to 1,024 characters, none of them a control character".to_owned(),
            Self::Token => "16 to 1,024 visible ASCII characters".to_owned(),
            Self::AmqpUrl => {
                "amqp://user:password@host:port/vhost, or amqps:// for TLS; one for each \
                             host of a cluster, comma-separated"
                    .to_owned()
            }
            Self::Endpoint => "host:port, or a URL such as https://host:port".to_owned(),
            Self::HttpUrl => "a URL such as http://127.0.0.1:4318, without a login".to_owned(),
            Self::Engine => {
                "unix:///path/to/docker.sock, tcp://host:port or http://host:port".to_owned()
            }
            Self::Name => {
                "1 to 63 of A-Z, a-z, 0-9, '_' and '-', the first a letter or a digit".to_owned()
            }
            Self::Bucket => "3 to 63 of a-z, 0-9, '.' and '-', the first and last a letter or \
                             a digit"
                .to_owned(),
            Self::Image => "an image such as python:3.11-slim".to_owned(),
            Self::Directory => "an absolute path below /".to_owned(),
            Self::Users => format!(
                "a user's number, user:group, such as 65532:65532, or a range of at least {FEWEST} users \
                 without root, such as 65536-99999"
            ),
            Self::File => "the absolute path of a file".to_owned(),
            Self::Address => "an IP address and a port, such as 127.0.0.1:8080".to_owned(),
            Self::Hosts => {
                "names or IP addresses of hosts, without ports, comma-separated".to_owned()
            }
            Self::LogFilter => "off, error, warn, info, debug or trace, or a filter such as \
                                info,longshore=debug"
                .to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Whole { min, max, unit } => {
                format!("a whole number from {min} to {max}{}", unit.words())
            }
            Self::Decimal { min, max } => format!("a number from {min} to {max}"),
            Self::Delays { max, count } => format!(
                "1 to {count} whole numbers of seconds from 1 to {max}, ascending, \
                 comma-separated"
            ),
            Self::Prefixes { count } => {
                format!("1 to {count} beginnings of names, comma-separated, none of them empty")
            }
            Self::Runtimes => {
                r#"a JSON object such as {"ruby3": {"image": "ruby:3", "launcher": "exec"}}"#
                    .to_owned()
            }
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Choices(words) => format!("one or more of {}, comma-separated", words.join(", ")),
        }
    }

    /// Whether it is several values.
    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Delays { .. }
                | Self::Prefixes { .. }
                | Self::Choices(_)
                | Self::Hosts
                | Self::AmqpUrl
        )
    }

    /// Whether a value must not be shown as it is.
    #[must_use]
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Token | Self::AmqpUrl)
    }

    /// A value as it may be shown.
    #[must_use]
    pub fn shown(self, text: &str) -> String {
        match self {
            Self::Secret | Self::Token => "***".to_owned(),
            Self::AmqpUrl => broker_url::mask_broker_urls(text),
            // No login is allowed there, so it would be shown in the error.
            Self::Endpoint | Self::HttpUrl | Self::Engine if text.contains('@') => mask_url(text),
            _ => text.to_owned(),
        }
    }
}

/// The parts of a comma-separated list.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

/// A truth value in the spellings that are in use.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn is_plain(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A text short enough to guess is no secret.
fn is_token(text: &str) -> bool {
    (16..=1024).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// A name as DNS takes it, or an address.
fn is_host(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=253).contains(&text.len()) && text.bytes().all(is_letter);
    is_name || text.parse::<IpAddr>().is_ok()
}

fn is_endpoint(text: &str) -> bool {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    has_host(&url, &["http", "https"], false)
        && url.parse::<http::Uri>().is_ok_and(|uri| uri.query().is_none())
}

fn is_engine(text: &str) -> bool {
    text.strip_prefix("unix://").map_or_else(
        || has_host(text, &["tcp", "http", "https"], false),
        |path| path.starts_with('/') && is_plain(path, 255),
    )
}

fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_bucket(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&text.len())
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || c == '.' || c == '-')
        && !text.contains("..")
}

/// `Targets` alone would take a misspelt level for the name of a target.
fn is_log_filter(text: &str) -> bool {
    let names_a_level = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        // `LevelFilter` also accepts an empty text, and numbers.
        level.starts_with(|c: char| c.is_ascii_alphabetic()) && level.parse::<LevelFilter>().is_ok()
    };
    list(text).all(names_a_level) && text.parse::<Targets>().is_ok()
}

#[cfg(test)]
mod tests;
