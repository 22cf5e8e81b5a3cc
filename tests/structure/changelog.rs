//! The changelog has the shape that Keep a Changelog describes.

use std::fs;
use std::path::Path;

/// The numbers of a version such as `0.1.0`.
fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|number| number.parse().expect("a number in a version")).collect()
}

#[test]
fn the_changelog_releases_no_version_after_that_of_the_crate() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md");
    let text = fs::read_to_string(path).expect("CHANGELOG.md");
    let mut sections = text.lines().filter_map(|line| line.strip_prefix("## "));
    assert_eq!(sections.next(), Some("[Unreleased]"));
    let released: Vec<_> = sections
        .map(|section| {
            let (version, date) = section.split_once(" - ").expect("a version and its date");
            (version.trim_matches(['[', ']']), date)
        })
        .collect();
    assert!(!released.is_empty(), "CHANGELOG.md has no released version");
    assert!(version(released[0].0) <= version(env!("CARGO_PKG_VERSION")), "{released:?}");
    for pair in released.windows(2) {
        let is_older = version(pair[1].0) < version(pair[0].0) && pair[1].1 <= pair[0].1;
        assert!(is_older, "{pair:?} are not sorted, the newest first");
    }
}
