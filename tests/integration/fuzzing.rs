//! The fuzz targets without libFuzzer: every file of their corpus is checked as they check it. And
//! the seeds in the corpus are what the code makes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use longshore_testing::checks::{amqp_content, archive, result_json, start_message};
use longshore_testing::hostile::{amqp, archives, messages, results};

type Check = fn(&[u8]);

/// The targets by name.
const TARGETS: [(&str, Check); 4] = [
    ("archive", archive::check),
    ("start_message", start_message::check),
    ("result_json", result_json::check),
    ("amqp_content", |bytes| amqp_content::check(bytes, true)),
];

/// What the name of a seed begins with; other files are finds.
const SEED: &str = "seed-";

/// The largest seed: mutating more than a few kilobytes finds little.
const MAX_SEED_BYTES: usize = 4096;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    entries.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

fn seeds(target: &str) -> BTreeMap<String, Vec<u8>> {
    let all: Vec<(&str, Vec<u8>)> = match target {
        "archive" => {
            let all = archives::all().into_iter().chain(archives::odd());
            all.map(|archive| (archive.name, archive.bytes)).collect()
        }
        "start_message" => {
            let good = ("good", messages::good("job-1").to_string().into_bytes());
            let all = messages::all("job").into_iter();
            all.map(|message| (message.name, message.body)).chain([good]).collect()
        }
        "amqp_content" => {
            let body = messages::good("job-1").to_string();
            let with_body = |case: amqp::Case| {
                let length = u16::try_from(case.properties.len()).ok()?.to_be_bytes();
                Some((case.name, [&length[..], &case.properties, body.as_bytes()].concat()))
            };
            amqp::all("stop").into_iter().filter_map(with_body).collect()
        }
        _ => results::all(),
    };
    let small = all.into_iter().filter(|(_, bytes)| bytes.len() <= MAX_SEED_BYTES);
    small.map(|(name, bytes)| (format!("{SEED}{name}"), bytes)).collect()
}

#[test]
fn every_file_of_the_corpus_passes_its_checks() {
    for (target, check) in TARGETS {
        let files = files(&corpus(target));
        assert!(files.len() > 20, "the corpus of {target} has {} files", files.len());
        for (name, bytes) in files {
            let checked = std::panic::catch_unwind(|| check(&bytes));
            assert!(checked.is_ok(), "fuzz/corpus/{target}/{name} fails");
        }
    }
}

/// So that a target which no longer reaches the parser is noticed.
#[test]
fn without_the_filter_the_target_fails_on_texts_that_are_not_utf_8() {
    let files = files(&corpus("amqp_content"));
    for seed in ["id-raw-uuid", "correlation-latin", "name-latin", "inner-name-latin"] {
        let bytes = &files[&format!("{SEED}{seed}")];
        let checked = std::panic::catch_unwind(|| amqp_content::check(bytes, false));
        assert!(checked.is_err(), "{seed} passes");
    }
}

#[test]
fn the_seeds_are_what_the_code_makes() {
    for (target, _) in TARGETS {
        let mut found = files(&corpus(target));
        found.retain(|name, _| name.starts_with(SEED));
        let is_same = found == seeds(target);
        assert!(
            is_same,
            "fuzz/corpus/{target} is not what crates/longshore-testing/src/hostile makes: make fuzz-seeds"
        );
    }
}

#[test]
#[ignore = "writes into the source tree; `make fuzz-seeds` runs it"]
fn write_the_seeds() {
    for (target, _) in TARGETS {
        let folder = corpus(target);
        std::fs::create_dir_all(&folder).unwrap();
        for name in files(&folder).into_keys().filter(|name| name.starts_with(SEED)) {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, bytes) in seeds(target) {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
}
