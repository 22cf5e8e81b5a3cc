//! Who may ask: with a token in the settings, clients that have it; without one, clients that name
//! a host of ours.

use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::api::{self, Refusal};
use super::hosts::Hosts;
use super::page;
use crate::settings::{HttpSettings, MAX_MESSAGE_BYTES};

/// The path that everybody may ask: it says only that the process is alive.
pub(super) const LIVENESS: &str = "/healthz";

/// The largest body of a request outside the API, in bytes. Nothing there reads one.
const MAX_BODY_BYTES: usize = 1024;

/// The rules for a request.
#[derive(Clone)]
pub(super) struct Guard {
    /// The token's digest. Comparing two digests takes the same time wherever they differ, and
    /// whatever the length of the tokens.
    token: Option<[u8; 32]>,
    hosts: Hosts,
}

impl Guard {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        let hosts = Hosts::new(settings.listen.ip(), &settings.allowed_hosts);
        Self { token: settings.token.as_deref().map(digest), hosts }
    }

    /// Whether a request with this `Authorization` may pass.
    fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(expected) = &self.token else { return true };
        let given = authorization
            .and_then(|value| std::str::from_utf8(value).ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| digest(token.trim()));
        given.is_some_and(|given| given.ct_eq(expected).into())
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Lets a request through, or says what it lacks.
pub(super) async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let path = request.uri().path();
    // The page is the same for everybody. What it shows, it asks the API for.
    let is_open = path == LIVENESS || page::has(path);
    let is_api = api::has(path);
    if !is_open && !guard.admits(authorization.map(axum::http::HeaderValue::as_bytes)) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"longshore\"")];
        if is_api {
            return (challenge, Refusal::Unauthorized).into_response();
        }
        let words = "unauthorized: send the header Authorization: Bearer <HTTP_TOKEN>\n";
        return (StatusCode::UNAUTHORIZED, challenge, words).into_response();
    }
    // A client with the token got it from the operator, so its host name does not matter.
    let is_meant = guard.token.is_some() || guard.hosts.admit(request.headers(), request.uri());
    if !is_open && !is_meant {
        let words =
            "this is not the host that was asked for: HTTP_ALLOWED_HOSTS names more of them\n";
        return (StatusCode::MISDIRECTED_REQUEST, words).into_response();
    }
    let max_bytes = if is_api { MAX_MESSAGE_BYTES } else { MAX_BODY_BYTES };
    if usize::try_from(request.body().size_hint().lower()).is_ok_and(|bytes| bytes > max_bytes) {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(token: Option<&str>) -> Guard {
        let token = token.map(str::to_owned);
        let listen = ([127, 0, 0, 1], 8080).into();
        Guard::new(&HttpSettings { listen, token, allowed_hosts: Vec::new() })
    }

    #[test]
    fn only_the_very_token_is_admitted() {
        let guard = guard(Some("0123456789abcdef"));
        let admits = |value: &str| guard.admits(Some(value.as_bytes()));
        for good in
            ["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "BEARER  0123456789abcdef "]
        {
            assert!(admits(good), "{good:?}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcdeF",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer 0123456789abcdef, Bearer x",
        ] {
            assert!(!admits(bad), "{bad:?}");
        }
        assert!(!guard.admits(None));
        assert!(!guard.admits(Some(b"Bearer \xff")));
    }

    #[test]
    fn without_a_token_everybody_is_admitted() {
        assert!(guard(None).admits(None));
    }
}
