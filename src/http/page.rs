//! The dashboard's page: files in the program, the same for everybody. It asks the API for what it
//! shows.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

/// The path of a file, its type, and its bytes.
type File = (&'static str, &'static str, &'static [u8]);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! file {
    ($path:literal, $kind:expr, $name:literal) => {
        ($path, $kind, include_bytes!(concat!("page/", $name)))
    };
}

const FILES: &[File] = &[
    file!("/", HTML, "index.html"),
    file!("/page/style.css", CSS, "style.css"),
    file!("/page/icon.svg", SVG, "icon.svg"),
    file!("/page/app.js", SCRIPT, "app.js"),
    file!("/page/api.js", SCRIPT, "api.js"),
    file!("/page/dom.js", SCRIPT, "dom.js"),
    file!("/page/fleet.js", SCRIPT, "fleet.js"),
    file!("/page/jobs.js", SCRIPT, "jobs.js"),
    file!("/page/job.js", SCRIPT, "job.js"),
    file!("/page/series.js", SCRIPT, "series.js"),
    file!("/page/log.js", SCRIPT, "log.js"),
    file!("/page/dead.js", SCRIPT, "dead.js"),
];

/// What a browser may load and do: only what comes from here, and no script or style inside HTML.
const POLICY: &str =
    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Whether a path is one of the page's.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

/// The page's routes.
pub(super) fn routes() -> Router {
    FILES.iter().fold(Router::new(), |routes, &(path, kind, bytes)| {
        let answer = move || async move {
            let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
            (headers, bytes).into_response()
        };
        routes.route(path, get(answer))
    })
}

/// Adds what keeps a browser from misusing an answer, unless the answer says it itself.
pub(super) fn guarded(mut answer: Response) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_no_script_or_style_inside_html_and_names_only_its_own_files() {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for (path, kind, bytes) in FILES {
            let text = text(bytes);
            // The name of a format, which nobody fetches.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains("://"), "{path} names an address elsewhere");
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(way), "{path} makes markup of text: {way}");
            }
            if *kind == HTML {
                assert!(!text.contains("style="), "{path}");
                assert!(!text.contains("<style"), "{path}");
                for script in text.split("<script").skip(1) {
                    assert!(script.contains("src=") && script.contains("></script>"), "{path}");
                }
            }
            for name in text.split("/page/").skip(1) {
                let name: String =
                    name.chars().take_while(|c| c.is_alphanumeric() || *c == '.').collect();
                assert!(has(&format!("/page/{name}")), "{path} names {name:?}");
            }
        }
    }
}
