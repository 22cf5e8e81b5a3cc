//! Packing a directory, and taking it out again.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::super::{Packed, Tree, zip_directory, zip_trees};
use super::{ArchiveCaps, ArchiveError, CAPS, extract, tree};

struct Project {
    dir: tempfile::TempDir,
}

impl Project {
    fn new(files: &[&str]) -> Self {
        let project = Self { dir: tempfile::tempdir().unwrap() };
        for file in files {
            let path = project.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        project
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.path().join(name)).unwrap();
    }

    fn zip(&self) -> PathBuf {
        self.dir.path().join("code.zip")
    }

    fn pack(&self, caps: ArchiveCaps) -> Result<Packed, ArchiveError> {
        zip_directory(&self.path(), &self.zip(), caps)
    }

    /// Packs, unpacks, and lists what came out.
    fn there_and_back(&self) -> Vec<String> {
        self.pack(CAPS).unwrap();
        let out = self.dir.path().join("out");
        extract(&self.zip(), &out, CAPS).unwrap();
        tree(&out)
    }
}

#[test]
fn a_directory_is_packed_without_history_caches_and_secrets() {
    let project = Project::new(&[
        "main.py",
        "lib/a.py",
        "node_modules/x/index.js",
        ".git/config",
        ".venv/bin/python",
        "lib/__pycache__/a.pyc",
        ".longshore/config.json",
        ".env",
        ".env.production",
    ]);
    project.link(".env", "settings");
    let expected = [
        "lib/",
        "lib/a.py",
        "main.py",
        "node_modules/",
        "node_modules/x/",
        "node_modules/x/index.js",
    ];
    assert_eq!(project.there_and_back(), expected);
    let out = project.dir.path().join("out/lib/a.py");
    assert_eq!(fs::read_to_string(out).unwrap(), "lib/a.py");
}

#[test]
fn a_program_stays_a_program() {
    let project = Project::new(&["run.sh", "main.py"]);
    fs::set_permissions(project.path().join("run.sh"), Permissions::from_mode(0o750)).unwrap();
    project.there_and_back();
    let mode = |name: &str| {
        let path = project.dir.path().join("out").join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!((mode("run.sh"), mode("main.py")), (0o755, 0o644));
}

#[test]
fn the_same_directory_gives_the_same_archive() {
    let archive = || {
        let project = Project::new(&["main.py", "b/c", "b/a", "a"]);
        project.pack(CAPS).unwrap();
        fs::read(project.zip()).unwrap()
    };
    assert_eq!(archive(), archive());
}

#[test]
fn a_link_that_stays_inside_becomes_what_it_points_to() {
    let project = Project::new(&["main.py", "lib/a.py"]);
    project.link("main.py", "alias.py");
    project.link("lib", "other");
    let expected = ["alias.py", "lib/", "lib/a.py", "main.py", "other/", "other/a.py"];
    assert_eq!(project.there_and_back(), expected);
    let alias = project.dir.path().join("out/alias.py");
    assert!(fs::symlink_metadata(&alias).unwrap().is_file());
    assert_eq!(fs::read_to_string(alias).unwrap(), "main.py");
}

/// What npm and pnpm make: as copies, programs and packages would not find what lies beside them.
#[test]
fn programs_and_packages_of_node_stay_links() {
    let project = Project::new(&[
        "main.js",
        "node_modules/semver/bin/semver.js",
        "node_modules/.pnpm/a@1/node_modules/a/index.js",
        "node_modules/.pnpm/b@1/node_modules/b/index.js",
        "node_modules/.bin/real",
    ]);
    project.link("../semver/bin/semver.js", "node_modules/.bin/semver");
    project.link(".pnpm/a@1/node_modules/a", "node_modules/a");
    project.link("../../b@1/node_modules/b", "node_modules/.pnpm/a@1/node_modules/b");
    project.link("../../a@1/node_modules/a", "node_modules/.pnpm/b@1/node_modules/a");
    project.there_and_back();
    let out = project.dir.path().join("out");
    for (link, to) in [
        ("node_modules/.bin/semver", "node_modules/semver/bin/semver.js"),
        ("node_modules/a", "node_modules/.pnpm/a@1/node_modules/a"),
        ("node_modules/.pnpm/a@1/node_modules/b", "node_modules/.pnpm/b@1/node_modules/b"),
        ("node_modules/.pnpm/b@1/node_modules/a", "node_modules/.pnpm/a@1/node_modules/a"),
    ] {
        let place = out.join(link);
        assert!(fs::symlink_metadata(&place).unwrap().is_symlink(), "{link}");
        assert_eq!(place.canonicalize().unwrap(), out.join(to).canonicalize().unwrap(), "{link}");
    }
}

type Prepare = fn(&Project);

#[test]
fn what_cannot_be_packed_is_named_and_leaves_no_archive() {
    let small = ArchiveCaps { max_entries: 2, max_extracted_bytes: 20, ..CAPS };
    let cases: [(&str, Prepare, &str); 8] = [
        ("outside", |p| p.link("/etc/passwd", "pw"), r#""pw" is a link that leaves"#),
        ("above", |p| p.link("../..", "up"), r#""up" is a link that leaves"#),
        ("circle", |p| p.link(".", "loop"), r#""loop" is a link to a folder it lies in"#),
        ("dangling", |p| p.link("nowhere", "gone"), r#""gone" cannot be followed"#),
        (
            "socket",
            |p| drop(std::os::unix::net::UnixListener::bind(p.path().join("s")).unwrap()),
            r#""s" is neither a file nor a folder"#,
        ),
        ("newline", |p| fs::write(p.path().join("a\nb"), "").unwrap(), "a control character"),
        (
            "many",
            |p| ["a", "b"].iter().for_each(|f| fs::write(p.path().join(f), "").unwrap()),
            "more than the 2",
        ),
        ("large", |p| fs::write(p.path().join("x"), [0; 20]).unwrap(), "more than the 20 bytes"),
    ];
    for (case, prepare, reason) in cases {
        let project = Project::new(&["main.py"]);
        prepare(&project);
        let error = project.pack(small).expect_err(case);
        assert!(error.to_string().contains(reason), "{case}: {error}");
        assert!(!project.zip().exists(), "{case}");
    }
}

#[test]
fn what_would_be_refused_for_its_proportion_is_not_packed() {
    let project = Project::new(&["main.py"]);
    fs::write(project.path().join("zeros"), vec![0; 500_000]).unwrap();
    let error = project.pack(CAPS).unwrap_err().to_string();
    assert!(error.contains("more than 200 times its own size"), "{error}");
    assert!(!project.zip().exists());
}

#[test]
fn an_empty_directory_and_a_missing_one_are_told_apart() {
    let project = Project::new(&[]);
    assert!(project.pack(CAPS).unwrap_err().to_string().contains("project: No such file"));
    fs::create_dir(project.path()).unwrap();
    assert!(project.pack(CAPS).unwrap_err().to_string().contains("there is no file in"));
    assert!(!project.zip().exists());
}

#[test]
fn an_archive_that_lies_in_its_own_directory_does_not_hold_itself() {
    let project = Project::new(&["main.py"]);
    let zip = project.path().join("code.zip");
    assert_eq!(zip_directory(&project.path(), &zip, CAPS).unwrap(), Packed { files: 1, bytes: 7 });
    let out = project.dir.path().join("out");
    extract(&zip, &out, CAPS).unwrap();
    assert_eq!(tree(&out), ["main.py"]);
}

#[test]
fn several_directories_become_one_archive_without_what_each_does_not_keep() {
    let code = Project::new(&["main.py", "vendor/old.py", "notes.txt"]);
    let installed = Project::new(&["vendor/new.py"]);
    code.link("notes.txt", "link.txt");
    let (dir, more) = (code.path(), installed.path());
    let is_ours = |path: &Path| !path.starts_with("vendor") && path != Path::new("notes.txt");
    let pack = |keeps: &dyn Fn(&Path) -> bool| {
        let trees = [Tree { dir: &dir, keeps }, Tree { dir: &more, keeps: &|_| true }];
        zip_trees(&trees, &code.zip(), CAPS)
    };
    assert_eq!(pack(&is_ours).unwrap().files, 2);
    let out = code.dir.path().join("out");
    extract(&code.zip(), &out, CAPS).unwrap();
    assert_eq!(tree(&out), ["main.py", "vendor/", "vendor/new.py"]);
    fs::remove_file(code.zip()).unwrap();
    fs::write(dir.join("vendor/new.py"), "").unwrap();
    let error = pack(&|_| true).unwrap_err().to_string();
    assert!(error.contains(r#""vendor/new.py" cannot be packed"#), "{error}");
}
