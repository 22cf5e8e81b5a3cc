//! Refuses what a page of another site makes a browser send. The token already keeps such pages out,
//! because a browser never adds it by itself; this is the second lock.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

use super::error::ApiError;

/// Lets a request through unless a browser says that a page of another site made it.
pub(super) async fn only(request: Request, next: Next) -> Result<Response, ApiError> {
    if is_from_elsewhere(request.headers()) {
        return Err(ApiError::from_elsewhere());
    }
    Ok(next.run(request).await)
}

fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_other_site =
        text("sec-fetch-site").is_some_and(|site| !["same-origin", "none"].contains(&site));
    let is_other_origin = text(header::ORIGIN.as_str()).is_some_and(|origin| {
        let host = text(header::HOST.as_str()).and_then(|host| host.parse::<Authority>().ok());
        let origin = origin.parse::<Uri>().ok().and_then(|origin| origin.authority().cloned());
        host.is_none() || origin != host
    });
    is_other_site || is_other_origin
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn elsewhere(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:8090"));
        for (name, value) in pairs {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        is_from_elsewhere(&headers)
    }

    #[test]
    fn only_our_own_page_and_programs_that_are_no_browser_pass() {
        assert!(!elsewhere(&[]));
        assert!(!elsewhere(&[("sec-fetch-site", "same-origin")]));
        assert!(!elsewhere(&[("origin", "http://127.0.0.1:8090")]));
        for pair in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "http://127.0.0.1:9999"),
            ("origin", "null"),
        ] {
            assert!(elsewhere(&[pair]), "{pair:?}");
        }
    }
}
