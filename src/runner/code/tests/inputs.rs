//! Inputs among the files of the code.

use std::os::unix::fs::MetadataExt as _;

use super::shared::plan;
use super::*;
use crate::runner::cache::How;

const CAPS: CodeCaps = CodeCaps {
    max_archive_bytes: 10_000,
    archive: ArchiveCaps { keeps_ours: true, ..super::shared::CAPS.archive },
    max_input_bytes: 1000,
};

/// Two runs of a job with these inputs, by way of a cache or each alone.
struct Runs {
    temp: tempfile::TempDir,
    job: Job,
    manager: CodeManager,
    store: Arc<Answers>,
}

impl Runs {
    fn new(has_cache: bool, inputs: &serde_json::Value, answer: Answer) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let mut job = job();
        job.inputs = serde_json::from_value(inputs.clone()).unwrap();
        let store = Arc::new(Answers::new(answer));
        let plan = has_cache.then(|| plan(temp.path()));
        let manager = CodeManager::new(Arc::<Answers>::clone(&store), CAPS).with_cache(plan);
        Self { temp, job, manager, store }
    }

    fn directory(&self, attempt: u32) -> JobDirectory {
        JobDirectory::new(self.temp.path(), "ns", &self.job.id, &self.job.run_id, attempt)
    }

    async fn run(&self, attempt: u32) -> Result<Vec<String>, CodeError> {
        let directory = self.directory(attempt);
        let outcome = self.manager.fetch_and_extract(&self.job, &directory).await;
        let beside = directory.root().parent().and_then(|folder| fs::read_dir(folder).ok());
        let beside = beside.into_iter().flatten().map(|entry| entry.unwrap().path());
        let others = beside.filter(|path| !path.to_string_lossy().ends_with("-m"));
        assert!(outcome.is_ok() || !directory.root().exists());
        assert_eq!(others.filter(|path| path.extension().is_some()).count(), 0);
        outcome.map(|fetched| fetched.extracted.notes)
    }

    fn path(&self, attempt: u32, name: &str) -> std::path::PathBuf {
        self.directory(attempt).root().join(name)
    }
}

/// What a run says that fails, both with and without a cache.
async fn refusals(inputs: serde_json::Value, answer: Answer) -> [String; 2] {
    let mut said = [String::new(), String::new()];
    for (has_cache, said) in [false, true].into_iter().zip(&mut said) {
        let error = Runs::new(has_cache, &inputs, answer).run(1).await.unwrap_err();
        assert!(error.is_rejection(), "{error}");
        *said = error.to_string();
    }
    said
}

fn answer(key: &str) -> Result<Vec<u8>, StoreError> {
    Ok(match key {
        "bot-1.zip" => zip(&[
            file("src/main.py", "x"),
            file("data/README", "about the data"),
            folder("empty/"),
        ]),
        "data.zip" => zip(&[file("a.csv", "1,2"), file("deep/b.csv", "3"), file("README", "r")]),
        "noted.zip" => {
            zip(&[file("a", "1"), RawEntry { mode: 0o120_777, ..file("gone", "nowhere") }])
        }
        "bad.zip" => zip(&[file("../a.csv", "1,2")]),
        "tiny" => vec![b'x'; 50],
        "half" => vec![b'x'; 500],
        "rest" => vec![b'x'; 501],
        "full" => vec![b'x'; 1000],
        "more" => vec![b'x'; 1001],
        key => {
            return Err(StoreError::NotFound { bucket: "inputs".into(), key: key.into() });
        }
    })
}

#[tokio::test]
async fn inputs_lie_among_the_files_of_the_code() {
    for has_cache in [false, true] {
        let inputs = serde_json::json!([
            {"key": "tiny", "path": "data/tiny.csv"},
            {"key": "tiny", "path": "new/er/tiny.csv"},
            {"key": "data.zip", "path": "empty", "unpack": true},
            {"key": "data.zip", "path": "data/all", "unpack": true},
            {"key": "data.zip", "path": "as-it-is.zip"},
            {"key": "noted.zip", "path": "noted", "unpack": true},
        ]);
        let runs = Runs::new(has_cache, &inputs, answer);
        for attempt in [1, 2] {
            let notes = runs.run(attempt).await.unwrap();
            assert!(
                notes.len() == 1 && notes[0].starts_with("the input \"noted.zip\": the symbolic")
            );
            for (name, bytes) in [
                ("data/README", 14),
                ("data/tiny.csv", 50),
                ("new/er/tiny.csv", 50),
                ("empty/a.csv", 3),
                ("data/all/deep/b.csv", 1),
                ("src/main.py", 1),
            ] {
                let found = fs::symlink_metadata(runs.path(attempt, name)).unwrap();
                assert_eq!((found.len(), found.mode()), (bytes, 0o100_644), "{name}");
            }
            assert_eq!(
                fs::read(runs.path(attempt, "as-it-is.zip")).unwrap(),
                answer("data.zip").unwrap()
            );
        }
        let inode = |attempt| fs::metadata(runs.path(attempt, "data/tiny.csv")).unwrap().ino();
        assert_eq!(inode(1) == inode(2), has_cache, "shared where there is a cache");
        // Each object once for each thing that is made of it, and a question each time.
        let made = if has_cache { 5 } else { 14 };
        assert_eq!(runs.store.counted(), (14, made));
    }
}

#[tokio::test]
async fn an_input_that_may_be_written_to_is_the_runs_own() {
    let inputs = serde_json::json!([{"key": "half", "path": "half"}]);
    let mut runs = Runs::new(true, &inputs, answer);
    let copying = crate::runner::code::CachePlan { how: How::Copy, ..plan(runs.temp.path()) };
    runs.manager = runs.manager.with_cache(Some(copying));
    for attempt in [1, 2] {
        runs.run(attempt).await.unwrap();
        let path = runs.path(attempt, "half");
        assert_eq!(
            (fs::metadata(&path).unwrap().nlink(), fs::read(&path).unwrap().len()),
            (1, 500)
        );
        fs::write(path, "changed").unwrap();
    }
}

#[tokio::test]
async fn an_input_takes_the_place_of_nothing() {
    for (key, path, unpack, at) in [
        ("half", "src/main.py/x", false, "src/main.py"),
        ("half", "data/README", false, "data/README"),
        ("half", "data", false, "data"),
        ("half", "src", false, "src"),
        ("data.zip", "data", true, "data/README"),
        ("data.zip", "src/main.py", true, "src/main.py"),
    ] {
        let inputs = serde_json::json!([{"key": key, "path": path, "unpack": unpack}]);
        for said in refusals(inputs, answer).await {
            let expected = format!(
                "the input {key:?} cannot be at {at:?}: the code, or another input, has something there"
            );
            assert_eq!(said, expected);
        }
    }
}

#[tokio::test]
async fn no_link_of_the_code_leads_an_input_elsewhere() {
    let link: Answer = |key| match key {
        "bot-1.zip" => Ok(zip(&[
            file("src/main.py", "x"),
            file("node_modules/.pnpm/a/index.js", "x"),
            RawEntry { mode: 0o120_777, ..file("node_modules/a", ".pnpm/a") },
        ])),
        key => answer(key),
    };
    let inputs = serde_json::json!([{"key": "half", "path": "node_modules/a/half.csv"}]);
    for said in refusals(inputs, link).await {
        assert!(said.contains("cannot be at \"node_modules/a\""), "{said}");
    }
}

#[tokio::test]
async fn what_is_no_input_is_refused_with_a_sentence_that_names_it() {
    let one =
        |key: &str, unpack: bool| serde_json::json!([{"key": key, "path": "x", "unpack": unpack}]);
    for (inputs, reason) in [
        (one("gone", false), r#"no object "gone" in the bucket "inputs""#),
        (one("bad.zip", true), r#"the input "bad.zip" cannot be unpacked: the archive's entry"#),
        (one("half", true), r#"the input "half" cannot be unpacked: it is neither"#),
        (
            one("more", false),
            "the input \"more\" is larger than the 1000 bytes allowed (BOT_INPUTS_MB)",
        ),
        (
            serde_json::json!([{"key": "half", "path": "x"}, {"key": "rest", "path": "y"}]),
            "the inputs of this run have more than the 1000 bytes allowed, as seen at the input \
             \"rest\" (BOT_INPUTS_MB)",
        ),
        (
            serde_json::json!([{"key": "half", "path": "x", "sha256": "0".repeat(64)}]),
            "the input \"half\" has the SHA-256 ",
        ),
    ] {
        for said in refusals(inputs.clone(), answer).await {
            assert!(said.contains(reason), "{said}");
        }
    }
    for inputs in [
        one("full", false),
        serde_json::json!([{"key": "half", "path": "x"}, {"key": "half", "path": "y"}]),
    ] {
        for has_cache in [false, true] {
            Runs::new(has_cache, &inputs, answer).run(1).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_pinned_input_that_is_here_is_not_asked_for_and_a_damaged_one_is_made_again() {
    let sha256 = hex::encode(Sha256::digest(answer("half").unwrap()));
    let inputs = serde_json::json!([{"key": "half", "path": "x", "sha256": sha256}]);
    let runs = Runs::new(true, &inputs, answer);
    runs.run(1).await.unwrap();
    runs.run(2).await.unwrap();
    assert_eq!(runs.store.counted(), (3, 2), "the code is asked for twice, the input once");
    for entry in fs::read_dir(runs.temp.path().join(".cache/entries")).unwrap() {
        fs::write(entry.unwrap().path().join("tree/file"), "damaged").ok();
    }
    runs.run(3).await.unwrap();
    assert_eq!(fs::read(runs.path(3, "x")).unwrap(), answer("half").unwrap());
}
