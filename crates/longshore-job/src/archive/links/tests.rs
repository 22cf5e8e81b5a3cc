use super::*;

const CAPS: ArchiveCaps = ArchiveCaps {
    max_entries: 30,
    max_extracted_bytes: 1000,
    max_depth: 8,
    max_name_bytes: 100,
    max_ratio: 10,
    max_time: std::time::Duration::from_secs(1),
    keeps_ours: true,
};

/// `a/` is a folder, `a -> b` a link, all else a file.
fn nodes(entries: &[&str]) -> Nodes {
    let mut nodes = Nodes::new();
    for entry in entries {
        let (path, node) = match (entry.split_once(" -> "), entry.strip_suffix('/')) {
            (Some((path, target)), _) => (path, Node::Link(target.to_owned())),
            (None, Some(path)) => (path, Node::Directory),
            (None, None) => (*entry, Node::File(1)),
        };
        for parent in super::super::names::parents(path) {
            nodes.insert(parent.into(), Node::Directory);
        }
        nodes.insert(path.into(), node);
    }
    nodes
}

fn replaced(entries: &[&str]) -> Result<Vec<String>, String> {
    let replaced = replace(&nodes(entries), &CAPS).map_err(|error| error.to_string())?;
    let directories = replaced.directories.iter().map(|path| format!("{path}/"));
    let files = replaced.files.iter().map(|file| format!("{} = {}", file.path, file.to));
    let packages = replaced.packages.iter().map(|it| format!("{} -> {}", it.path, it.target));
    let dangling = replaced.dangling.iter().map(|(path, _)| format!("{path} = nothing"));
    Ok(directories.chain(files).chain(packages).chain(dangling).collect())
}

#[test]
fn programs_and_packages_of_node_are_linked_to_their_own_places() {
    let program = |path: &str| kept(path, "a/cli.js", false);
    assert_eq!(program("node_modules/.bin/a").unwrap(), "../../a/cli.js");
    assert_eq!(program("x/node_modules/.bin/a").unwrap(), "../../../a/cli.js");
    for other in ["lib/libfoo.so", ".bin/a", "my_node_modules/.bin/a", "node_modules/a", "a"] {
        assert_eq!(program(other), None, "{other}");
    }
    let package = |path: &str| kept(path, "packages/a", true);
    assert_eq!(package("node_modules/a").unwrap(), "../packages/a");
    assert_eq!(package("x/node_modules/@s/a").unwrap(), "../../../packages/a");
    for other in ["node_modules/a/b", "my_node_modules/a", "@s/a", "lib/a", "node_modules", "a"] {
        assert_eq!(package(other), None, "{other}");
    }
}

#[test]
fn a_link_is_the_file_that_it_points_to() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["m/.bin/s -> ../s/bin/s.js", "m/s/bin/s.js"], &["m/.bin/s = m/s/bin/s.js"]),
        (
            &["l.so -> l.so.1", "l.so.1 -> l.so.1.2", "l.so.1.2"],
            &["l.so = l.so.1.2", "l.so.1 = l.so.1.2"],
        ),
        (&["a -> ./x/../x//f", "x/f"], &["a = x/f"]),
        (&["a -> d/f", "d -> e", "e/f"], &["d/", "a = e/f", "d/f = e/f"]),
        (&["a -> none", "f"], &["a = nothing"]),
        (&["a -> none/../f", "f"], &["a = nothing"]),
        (&["a -> f/g", "b -> f/../f", "f"], &["a = nothing", "b = nothing"]),
    ];
    for (entries, expected) in cases {
        assert_eq!(replaced(entries).unwrap(), expected, "{entries:?}");
    }
}

#[test]
fn a_link_to_a_folder_is_that_folder_with_all_that_is_in_it() {
    let entries = [
        "lib64 -> lib",
        "lib/a",
        "lib/sub/b",
        "lib/c -> a",
        "lib/d -> ../other",
        "other/e",
        "libx",
    ];
    let expected = [
        "lib/d/",
        "lib64/",
        "lib64/d/",
        "lib64/sub/",
        "lib/c = lib/a",
        "lib/d/e = other/e",
        "lib64/a = lib/a",
        "lib64/c = lib/a",
        "lib64/d/e = other/e",
        "lib64/sub/b = lib/sub/b",
    ];
    assert_eq!(replaced(&entries).unwrap(), expected);
}

#[test]
fn a_package_that_is_linked_stays_a_link_to_its_own_place() {
    // As a workspace of npm, and as pnpm: each package beside those that it needs, in a circle, too.
    let entries = [
        "node_modules/p -> ../packages/p",
        "packages/p/index.js",
        "node_modules/@s/a -> ../.pnpm/a@1/node_modules/@s/a",
        "node_modules/.pnpm/a@1/node_modules/@s/a/index.js",
        "node_modules/.pnpm/a@1/node_modules/b -> ../../b@1/node_modules/b",
        "node_modules/.pnpm/b@1/node_modules/b/index.js",
        "node_modules/.pnpm/b@1/node_modules/@s/a -> ../../../a@1/node_modules/@s/a",
        "copy -> packages",
        "modules/q -> ../packages/p",
    ];
    let store = "node_modules/.pnpm";
    let expected = [
        "copy/".to_owned(),
        "copy/p/".to_owned(),
        "modules/q/".to_owned(),
        "copy/p/index.js = packages/p/index.js".to_owned(),
        "modules/q/index.js = packages/p/index.js".to_owned(),
        format!("{store}/a@1/node_modules/b -> ../../../../{store}/b@1/node_modules/b"),
        format!("{store}/b@1/node_modules/@s/a -> ../../../../../{store}/a@1/node_modules/@s/a"),
        format!("node_modules/@s/a -> ../../{store}/a@1/node_modules/@s/a"),
        "node_modules/p -> ../packages/p".to_owned(),
    ];
    assert_eq!(replaced(&entries).unwrap(), expected);
    let inside = replaced(&["node_modules/p -> ..", "main.js"]).unwrap_err();
    assert!(inside.contains("a folder that it lies in"), "{inside}");
}

#[test]
fn a_link_that_leaves_or_never_ends_is_refused_by_its_name() {
    let outside = "which is outside the archive";
    let circle = "which leads in a circle";
    let never = "a folder that it lies in";
    let cases: [(&[&str], &str, &str); 11] = [
        (&["a -> ../x", "x"], "a", outside),
        (&["d/a -> ../../d/x", "d/x"], "d/a", outside),
        (&["d/a -> ../..", "d/x"], "d/a", outside),
        (&["a -> /etc/passwd"], "a", "an absolute path outside the archive"),
        (&["a -> b", "b -> /etc"], "a", "an absolute path outside the archive"),
        (&["a -> a"], "a", circle),
        (&["a -> b", "b -> c", "c -> a"], "a", circle),
        (&["a -> ."], "a", never),
        (&["d/a -> ../d", "d/x"], "d/a", never),
        (&["d/e/a -> ../..", "x"], "d/e/a", never),
        (&["a/to -> ../b", "b/to -> ../a", "a/x", "b/x"], "a/to", never),
    ];
    for (entries, name, problem) in cases {
        let said = replaced(entries).expect_err(name);
        let is_named = said.starts_with(&format!("the archive's entry {name:?} is a symbolic"));
        assert!(is_named && said.contains(problem), "{entries:?}: {said}");
    }
}

#[test]
fn links_multiply_files_within_the_caps_alone() {
    let mut entries = vec!["l0/f".to_owned(), "l0/g".to_owned()];
    for level in 1..8 {
        entries.push(format!("l{level}/a -> ../l{}", level - 1));
        entries.push(format!("l{level}/b -> ../l{}", level - 1));
    }
    let entries: Vec<_> = entries.iter().map(String::as_str).collect();
    let said = replaced(&entries).unwrap_err();
    assert!(said.contains("CODE_MAX_ENTRIES"), "{said}");
    let deep = ["a/b/c/d/e/f -> ../../../../../x", "x/y/z/w"];
    let said = replaced(&deep).unwrap_err();
    assert!(said.contains("CODE_MAX_DEPTH"), "{said}");
}
