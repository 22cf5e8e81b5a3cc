use super::*;

fn lock(launcher: Launcher, files: &[(&str, &str)]) -> Result<Option<Lock>, String> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    Lock::of(dir.path(), launcher).map_err(|error| error.to_string())
}

#[test]
fn a_directory_without_packages_needs_no_installing() {
    let python = |text| lock(Launcher::Python, &[("requirements.txt", text)]).unwrap().is_none();
    assert!(lock(Launcher::Python, &[]).unwrap().is_none());
    assert!(python("") && python("# six\n\n  # more\n--index-url https://example.com\n"));
    assert!(!python("six"));
    let node = |files: &[(&str, &str)]| lock(Launcher::Node, files).unwrap().is_none();
    assert!(node(&[]) && node(&[("package.json", r#"{"dependencies": {}}"#)]));
    let only_dev = r#"{"packages": {"": {}, "node_modules/a": {"dev": true}}}"#;
    assert!(node(&[("package.json", "{}"), ("package-lock.json", only_dev)]));
}

#[test]
fn files_that_requirements_name_belong_to_them() {
    let files = [
        (
            "requirements.txt",
            "-r more/base.txt\n--constraint=limits.txt\nsix==1.16.0 \\\n  --hash=sha256:0",
        ),
        ("more/base.txt", "-r ../../requirements.txt"),
        ("limits.txt", ""),
    ];
    let error = lock(Launcher::Python, &files).unwrap_err();
    assert!(error.contains("more/base.txt cannot be read: it names a file outside"), "{error}");
    let files = [
        files[0],
        ("more/base.txt", "-r ../requirements.txt\n-r next.txt"),
        ("more/next.txt", "a"),
        files[2],
    ];
    let found = lock(Launcher::Python, &files).unwrap().unwrap();
    let names: Vec<_> = found.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["requirements.txt", "limits.txt", "more/base.txt", "more/next.txt"]);
    let error = lock(Launcher::Python, &[("requirements.txt", "-r gone.txt")]).unwrap_err();
    assert!(error.contains("gone.txt cannot be read: it does not exist"), "{error}");
}

#[test]
fn what_is_on_this_machine_alone_is_refused_by_name() {
    for line in ["-e .", "./lib", "/srv/lib", "--editable=lib", "lib @ file:///srv/lib"] {
        let error = lock(Launcher::Python, &[("requirements.txt", line)]).unwrap_err();
        assert!(error.contains(&format!("requirements.txt asks for {line}, which")), "{error}");
    }
    for line in ["a @ https://example.com/a.whl", "git+https://example.com/a@v1", "a>=1 # ./b"] {
        assert_eq!(Requirement::of(line), Requirement::Package, "{line}");
    }
    let linked = r#"{"packages": {"node_modules/a": {"link": true}}}"#;
    let files = [("package.json", "{}"), ("package-lock.json", linked)];
    let error = lock(Launcher::Node, &files).unwrap_err();
    assert!(error.contains("package-lock.json asks for node_modules/a"), "{error}");
}

#[test]
fn npm_needs_a_lock_file_that_can_be_read() {
    let package = ("package.json", r#"{"dependencies": {"a": "1"}}"#);
    let error = lock(Launcher::Node, &[package]).unwrap_err();
    assert!(error.contains("there is no package-lock.json: make one with npm install"), "{error}");
    let error = lock(Launcher::Node, &[package, ("package-lock.json", "{")]).unwrap_err();
    assert!(error.contains("package-lock.json cannot be read: it is not JSON"), "{error}");
}

#[test]
fn the_hash_is_that_of_files_and_image() {
    let of = |text: &str, image: &str| {
        let found = lock(Launcher::Python, &[("requirements.txt", text)]).unwrap().unwrap();
        found.hash(image)
    };
    assert_eq!(of("six", "a"), of("six", "a"));
    assert_ne!(of("six", "a"), of("six", "b"));
    assert_ne!(of("six", "a"), of("six==1", "a"));
}
