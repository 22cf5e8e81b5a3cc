//! What settings need to know of a URL. Pure.

/// A URL with its password replaced, or with everything replaced if it is not clear where the
/// password is.
pub(super) fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return "***".to_owned();
    };
    let Some((login, host)) = rest.rsplit_once('@') else {
        return url.to_owned();
    };
    let user = login.split(':').next().unwrap_or_default();
    format!("{scheme}://{user}:***@{host}")
}

/// Whether it is a URL with one of these schemes and a host, and without a login unless that is allowed.
pub(super) fn has_host(url: &str, schemes: &[&str], login: bool) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority() else {
        return false;
    };
    // `http` accepts a port that is no number, and only does not return it.
    let port_is_sound =
        authority.port_u16().is_some() || authority.as_str().ends_with(authority.host());
    uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme))
        && !authority.host().is_empty()
        && port_is_sound
        && (login || !authority.as_str().contains('@'))
}

/// A part of a URL without its percent encoding.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%');
        let byte =
            code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}
