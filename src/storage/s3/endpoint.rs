//! Where the store is, from the settings.

use http::Uri;
use http::uri::Authority;

/// The endpoint as a URL with scheme and without a trailing slash. `ssl` chooses the scheme if
/// there is none. The error says what is wrong, and never repeats a password.
pub(super) fn endpoint_url(endpoint: &str, ssl: bool) -> Result<String, String> {
    let endpoint = endpoint.trim();
    if endpoint.is_empty() {
        return Err("is empty".to_owned());
    }
    if endpoint.contains('@') {
        return Err("has a user or password in it, which belong into MINIO_ACCESS_KEY and \
                    MINIO_SECRET_KEY"
            .to_owned());
    }
    let with_scheme = match (endpoint.contains("://"), ssl) {
        (true, _) => endpoint.to_owned(),
        (false, true) => format!("https://{endpoint}"),
        (false, false) => format!("http://{endpoint}"),
    };
    let refuse = |reason: &str| Err(format!("is {endpoint:?}: {reason}"));
    if with_scheme.contains(['?', '#']) {
        return refuse("it may not have a query or a fragment");
    }
    let Ok(uri) = with_scheme.parse::<Uri>() else {
        return refuse("it is neither host:port nor a URL");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse("it is neither host:port nor a URL");
    };
    if scheme != "http" && scheme != "https" {
        return refuse("its scheme must be http or https");
    }
    if !has_usable_port(authority) {
        return refuse("its port is not a number from 1 to 65535");
    }
    Ok(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
}

fn has_usable_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("") => true,
        _ => authority.port_u16().is_some_and(|port| port != 0),
    }
}

/// Whether `name` can be a bucket in a URL's path.
pub(super) fn is_bucket_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (3..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(allowed)
        && !name.contains("..")
}

/// Whether `text` can be in a request's header.
pub(super) fn is_header_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_get_the_scheme_that_ssl_chooses() {
        assert_eq!(endpoint_url("store:8333", false).unwrap(), "http://store:8333");
        assert_eq!(endpoint_url("store:8333", true).unwrap(), "https://store:8333");
        assert_eq!(endpoint_url("store", true).unwrap(), "https://store");
        assert_eq!(endpoint_url("[::1]:8333", false).unwrap(), "http://[::1]:8333");
    }

    #[test]
    fn a_scheme_wins_over_ssl() {
        assert_eq!(endpoint_url("http://a:1/", true).unwrap(), "http://a:1");
        assert_eq!(endpoint_url(" https://a/s3/ ", false).unwrap(), "https://a/s3");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for bad in ["", " ", "ftp://a", "http://", "a b", "a:99999", "a:x", "a:", "a?b", "a#b"] {
            assert!(endpoint_url(bad, false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_in_the_endpoint_is_refused_and_not_repeated() {
        let error = endpoint_url("http://user:hunter2@store:1", false).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_bucket_name_cannot_reach_beyond_its_place_in_the_path() {
        for good in ["abc", "custom-bots", "a.b_c", "Old-Style"] {
            assert!(is_bucket_name(good), "{good:?}");
        }
        for bad in ["", "ab", "..", "a/b", "a?b", "-abc", "a..b", "a%2fb", "ä-bucket"] {
            assert!(!is_bucket_name(bad), "{bad:?}");
        }
    }
}
