//! Which images of the engine nobody needs any more, as far as that can be known. Pure.
//!
//! The engine does not say who pulled an image. So only older versions of the images that the settings name
//! count: those of the same repository, under another tag or under none.

use super::orchestrator::ImageInfo;
use crate::job::Runtimes;

/// The images of which no container was made and which no setting names, of the repositories that the settings
/// name.
#[must_use]
pub fn unused_images(images: Vec<ImageInfo>, runtimes: &Runtimes) -> Vec<ImageInfo> {
    let named: Vec<_> = runtimes.iter().map(|runtime| runtime.image.as_str()).collect();
    let is_named = |name: &str| named.iter().any(|image| *image == name || with_tag(image) == name);
    // Nobody may ever have used the others: another version of one may be somebody else's.
    let in_use = || runtimes.iter().filter(|runtime| !Runtimes::is_spare(runtime));
    let is_of_ours =
        |name: &str| in_use().any(|runtime| repository(&runtime.image) == repository(name));
    let is_unused = |image: &ImageInfo| {
        !image.is_used
            && !image.names.is_empty()
            && image.names.iter().all(|name| is_of_ours(name) && !is_named(name))
            // A setting may also name an image by its id.
            && !named.iter().any(|name| image.id == *name)
    };
    images.into_iter().filter(is_unused).collect()
}

/// A name without its tag and its digest.
fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        // A colon before a slash is that of a port.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn with_tag(name: &str) -> String {
    if repository(name) == name { format!("{name}:latest") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Runtime;

    #[test]
    fn only_what_was_replaced_is_unused() {
        let mut runtimes = Runtimes::default();
        let node = Runtime::clone(runtimes.get("nodejs20").unwrap());
        runtimes.set(Runtime { image: "registry:5000/ours/node".to_owned(), ..node });
        let is_unused = |names: &[&str], is_used| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            let image = ImageInfo { id: "sha256:1".to_owned(), names, bytes: 1, is_used };
            !unused_images(vec![image], &runtimes).is_empty()
        };
        assert!(is_unused(&["python:3.10-slim"], false));
        assert!(is_unused(&["python@sha256:00"], false), "its tag moved on");
        assert!(is_unused(&["registry:5000/ours/node:1"], false));
        assert!(!is_unused(&["python:3.10-slim"], true), "a container has it");
        assert!(!is_unused(&["python:3.11-slim"], false), "a setting names it");
        assert!(!is_unused(&["debian:bookworm-slim"], false), "no runtime in use has it");
        assert!(!is_unused(&["node:18-alpine"], false), "likewise: nodejs22 is not in use");
        assert!(!is_unused(&["registry:5000/ours/node:latest"], false), "likewise");
        assert!(!is_unused(&["python:3.10-slim", "mine:1"], false), "somebody named it");
        for other in [&["postgres:17"][..], &["ours/python:3.10"], &["registry:5000/ours/x"], &[]] {
            assert!(!is_unused(other, false), "{other:?}");
        }
    }
}
