//! Archives that are unpacked for a program.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::{put, reader};
use longshore_testing::archive::{zip_of, zip_with_link, zstd_of};
use longshore_testing::scene::Scene;

fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn tar_with(kind: EntryType, name: &str) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..11].copy_from_slice(b"/etc/passwd");
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&header, &[][..]).unwrap();
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn a_zip_and_a_tar_are_folders_for_the_program() {
    let scene = Scene::new().await;
    let worker = scene.worker().await;
    let files = [("btc.csv", "1"), ("deep/eth.csv", "2"), ("result.json", "3")];
    let tar = tar_of(&files);
    let packed = [
        ("data.zip", zip_of(&files)),
        ("data.tar", tar.clone()),
        ("data.tar.gz", gzip(&tar)),
        ("data.tar.zst", zstd_of(&tar)),
    ];
    let mut inputs = Vec::new();
    for (number, (name, bytes)) in packed.into_iter().enumerate() {
        let key = put(&scene, name, bytes).await;
        inputs.push(json!({"key": key, "path": format!("data/{number}"), "unpack": true}));
    }
    let read: Vec<_> =
        (0..4).flat_map(|number| files.map(|(name, _)| format!("data/{number}/{name}"))).collect();
    let read: Vec<_> = read.iter().map(String::as_str).collect();
    let message = reader(&scene, "all", json!(inputs), &read).await;
    let result = scene.run(&message).await;
    let value = &result.expect("succeeded")["result"];
    for (number, path) in read.iter().enumerate() {
        assert_eq!(value[path], json!(files[number % 3].1), "{path}");
    }
    scene.finish([worker]).await;
}

#[tokio::test]
async fn a_hostile_archive_and_one_beyond_a_cap_are_refused() {
    let scene = Scene::new().await;
    let caps = [
        ("CODE_MAX_ENTRIES", "3"),
        ("CODE_MAX_EXTRACTED_MB", "1"),
        ("CODE_MAX_RATIO", "100000"),
        ("CODE_MAX_ARCHIVE_MB", "1"),
        ("CODE_MAX_DEPTH", "3"),
    ];
    let worker = scene.worker_with(&caps).await;
    let full = "x".repeat(1 << 20);
    let noise: Vec<u8> =
        (0..=1_u32 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let zip = |files: &[(&str, &str)]| zip_of(files);
    let script = ("x", "");
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("parent-zip", zip(&[("../x", "1")]), "leaves the archive's root"),
        ("parent-tar", gzip(&tar_with(EntryType::Regular, "../x")), "leaves the archive's root"),
        ("absolute", tar_with(EntryType::Regular, "/etc/x"), "an absolute path"),
        ("link-zip", zip_with_link(script, "l", "/etc/passwd"), "is a symbolic link"),
        ("link-tar", gzip(&tar_with(EntryType::Symlink, "l")), "is a link"),
        ("hard-link", tar_with(EntryType::Link, "l"), "is a link"),
        ("device", tar_with(EntryType::Char, "c"), "neither a file nor a folder"),
        ("cut", gzip(&tar_of(&[("a", "1")]))[..40].to_vec(), "not a usable tar"),
        ("text", b"date,close\n".to_vec(), "it is neither a zip nor a tar"),
        ("noise", noise, "CODE_MAX_ARCHIVE_MB"),
        ("entries", tar_of(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]), "CODE_MAX_ENTRIES"),
        ("deep", tar_of(&[("a/b/c/d", "")]), "CODE_MAX_DEPTH"),
        ("bytes", gzip(&tar_of(&[("a", &full), ("b", "1")])), "CODE_MAX_EXTRACTED_MB"),
    ];
    let count = cases.len();
    for (name, bytes, reason) in cases {
        let key = put(&scene, name, bytes).await;
        let inputs = json!([{"key": key, "path": "data", "unpack": true}]);
        let result = scene.run(&reader(&scene, name, inputs, &[]).await).await;
        let data = result.expect("rejected");
        assert!(data["message"].as_str().unwrap().contains(reason), "{name}: {data:#}");
    }
    assert_eq!(scene.dead_letters(count).await.len(), count);
    for (name, bytes) in [
        ("entries-fit", tar_of(&[("a", ""), ("b", ""), ("c", "")])),
        ("bytes-fit", gzip(&tar_of(&[("a", &full)]))),
        ("deep-fits", tar_of(&[("a/b/c", "")])),
    ] {
        let key = put(&scene, name, bytes).await;
        let inputs = json!([{"key": key, "path": "data", "unpack": true}]);
        scene.run(&reader(&scene, name, inputs, &[]).await).await.expect("succeeded");
    }
    scene.finish([worker]).await;
}
