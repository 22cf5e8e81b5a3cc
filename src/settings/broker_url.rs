//! `AMQP_URL`: one URL, or one for each host of a cluster. Pure.

use super::url::{has_host, mask_url, percent_decoded};

/// The most hosts that `AMQP_URL` may name. Each is tried before the first is tried again.
const MAX_HOSTS: usize = 16;

/// The URLs in `AMQP_URL`, one for each host. A comma separates two URLs only if a scheme follows
/// it, so a password may contain commas.
#[must_use]
pub fn broker_urls(text: &str) -> Vec<&str> {
    let mut urls = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(comma) = rest[from..].find(',').map(|at| at + from) {
        if begins_with_scheme(rest[comma + 1..].trim_start()) {
            urls.push(rest[..comma].trim());
            rest = &rest[comma + 1..];
            from = 0;
        } else {
            from = comma + 1;
        }
    }
    urls.push(rest.trim());
    urls
}

fn begins_with_scheme(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// What is wrong with one of the URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Which of them; the first is 1.
    pub(super) number: usize,
    /// How many there are.
    pub(super) of: usize,
    /// The URL, masked.
    pub(super) url: String,
    /// The end of a sentence about it; `None` if it just is not such a URL.
    pub(super) problem: Option<&'static str>,
}

impl Flaw {
    /// Whether more must be said than the value and what is allowed.
    pub(super) fn needs_words(&self) -> bool {
        self.of > 1 || self.problem.is_some()
    }
}

/// The first thing that is wrong with `AMQP_URL`.
pub(super) fn flaw(text: &str) -> Option<Flaw> {
    let urls = broker_urls(text);
    let of = urls.len();
    let told = |(index, problem): (usize, Option<&'static str>)| Flaw {
        number: index + 1,
        of,
        url: masked_url(urls[index]),
        problem,
    };
    if of > MAX_HOSTS {
        return Some(told((MAX_HOSTS, Some("is one too many: 16 are allowed"))));
    }
    let is_wrong =
        |(index, url): (usize, &&str)| problem(url, urls[0]).err().map(|problem| (index, problem));
    urls.iter().enumerate().find_map(is_wrong).map(told)
}

/// Checks one URL, and whether it goes together with the first one.
fn problem(url: &str, first: &str) -> Result<(), Option<&'static str>> {
    if has_comma(url) {
        return Err(Some(
            "has a comma after its login: write a whole URL for each host, and a comma in a name \
             as %2C",
        ));
    }
    if !has_host(url, &["amqp", "amqps"], true) {
        return Err(None);
    }
    if has_tls(url) != has_tls(first) {
        return Err(Some("differs from the first one in TLS: begin all with amqps://, or none"));
    }
    if virtual_host(url) != virtual_host(first) {
        return Err(Some("names another virtual host than the first one: all must name the same"));
    }
    Ok(())
}

/// Whether there is a comma in the host, the virtual host or the query.
fn has_comma(url: &str) -> bool {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    after.rsplit_once('@').map_or(after, |(_, host)| host).contains(',')
}

fn has_tls(url: &str) -> bool {
    url.starts_with("amqps://")
}

/// The virtual host, decoded. None and an empty one mean `/`.
fn virtual_host(url: &str) -> String {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    let after = after.rsplit_once('@').map_or(after, |(_, host)| host);
    let path = after.split('?').next().unwrap_or_default().split_once('/');
    let name = path.map_or("", |(_, path)| path);
    if name.is_empty() { "/".to_owned() } else { percent_decoded(name) }
}

/// `AMQP_URL` with every password replaced.
#[must_use]
pub fn mask_broker_urls(text: &str) -> String {
    broker_urls(text).into_iter().map(masked_url).collect::<Vec<_>>().join(",")
}

/// Where it is not clear what is a password, nothing is shown.
fn masked_url(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if !rest.contains('@') && !has_host(url, &[scheme], true) => {
            format!("{scheme}://***")
        }
        _ => mask_url(url),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_comma_separates_urls_and_nothing_else() {
        let cases: &[(&str, &[&str])] = &[
            ("amqp://u:p@a/v", &["amqp://u:p@a/v"]),
            ("amqp://u:p@a/v,amqp://u:p@b/v", &["amqp://u:p@a/v", "amqp://u:p@b/v"]),
            (" amqps://a , amqps://b:1 ,amqps://c", &["amqps://a", "amqps://b:1", "amqps://c"]),
            ("amqp://u:p,w@a,amqp://b", &["amqp://u:p,w@a", "amqp://b"]),
            ("amqp://a,b", &["amqp://a,b"]),
            ("amqp://a,,amqp://b,", &["amqp://a,", "amqp://b,"]),
            ("", &[""]),
        ];
        for (text, urls) in cases {
            assert_eq!(broker_urls(text), *urls, "{text:?}");
        }
    }

    #[test]
    fn a_flaw_says_which_url_is_wrong_and_hides_the_passwords() {
        let cases = [
            ("amqp://u:s3cret@a,amqp://", 2, None),
            ("amqp://u:s3cret@a,http://u:s3cret@b,amqp://c", 2, None),
            ("amqp://a,amqp://u:s3cret,amqp://c", 2, None),
            ("amqp://u:s3cret@a,b:5672/v", 1, Some("has a comma")),
            ("amqp://u:s3cret@a/v,b", 1, Some("has a comma")),
            ("amqp://a,amqp://u:s3cret@b,", 2, Some("has a comma")),
            ("amqps://a,amqps://b,amqp://u:s3cret@c", 3, Some("in TLS")),
            ("amqp://a/v,amqp://u:s3cret@b/w", 2, Some("another virtual host")),
        ];
        for (text, number, problem) in cases {
            let flaw = flaw(text).unwrap_or_else(|| panic!("{text:?} is taken"));
            assert_eq!((flaw.number, flaw.of), (number, broker_urls(text).len()), "{text:?}");
            assert!(!flaw.url.contains("s3cret"), "{flaw:?}");
            match (problem, flaw.problem) {
                (Some(part), Some(told)) => assert!(told.contains(part), "{text:?}: {told}"),
                (expected, told) => assert_eq!(told, expected, "{text:?}"),
            }
        }
        let many = vec!["amqp://a"; MAX_HOSTS + 1].join(",");
        assert_eq!(flaw(&many).unwrap().number, MAX_HOSTS + 1);
        assert_eq!(flaw(&many[..many.len() - 9]), None);
    }

    #[test]
    fn one_virtual_host_may_be_written_in_several_ways() {
        assert_eq!(flaw("amqp://a,amqp://b/,amqp://u:p@c/%2f,amqp://d/%2F?heartbeat=3"), None);
        assert_eq!(flaw("amqp://a/j%6Fbs,amqp://b/jobs"), None);
    }

    #[test]
    fn each_password_is_masked() {
        let masked = mask_broker_urls("amqp://me:one@a/v, amqp://you:t,w@o@b:1/v");
        assert_eq!(masked, "amqp://me:***@a/v,amqp://you:***@b:1/v");
        assert_eq!(mask_broker_urls("amqp://me:secret,amqp://h"), "amqp://***,amqp://h");
        assert_eq!(mask_broker_urls("me:secret@h"), "***");
    }

    proptest! {
        #[test]
        fn no_password_in_a_list_is_shown(hosts in prop::collection::vec("[a-z]{1,9}", 1..5)) {
            let url = |host: &String| format!("amqp://me:S3CRET,x@{host}:5672/v");
            let text = hosts.iter().map(url).collect::<Vec<_>>().join(",");
            prop_assert_eq!(broker_urls(&text).len(), hosts.len());
            prop_assert!(!mask_broker_urls(&text).contains("S3CRET"));
        }
    }
}
