//! Artifacts: the files that a program leaves, as its launcher packs them into one file. Pure.
//!
//! The file is written by a stranger's container. Each artifact is a line of JSON, `{"path": …,
//! "bytes": …}`, and then so many bytes. The last line is `{"end": true}`, and it may say what was left
//! out. Without it, the launcher did not come to its end, and nothing counts.

use std::collections::BTreeSet;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::archive::{ArchiveCaps, is_plain_name};

/// The file of a run's artifacts, in the job's directory.
pub const ARTIFACTS_FILE: &str = ".longshore/artifacts";

/// Where a program leaves them, in its container.
pub const ARTIFACTS_DIR: &str = "/tmp/artifacts";

/// The longest line about an artifact, in bytes.
const MAX_LINE_BYTES: usize = 8192;

/// The longest path of an artifact, in bytes: with the job and the run, it is a key in the store.
const MAX_PATH_BYTES: usize = 512;

/// The longest sentence about what was left out, in characters.
const MAX_SAID_CHARS: usize = 500;

/// How many artifacts there may be, and how much they may hold together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactBounds {
    /// In MiB.
    pub max_mb: u64,
    /// Files.
    pub max_files: u32,
}

impl ArtifactBounds {
    /// The most that the launcher's file may hold, in bytes.
    #[must_use]
    pub fn max_file_bytes(&self) -> u64 {
        (self.max_mb << 20) + (u64::from(self.max_files) + 1) * MAX_LINE_BYTES as u64
    }
}

/// A file that a program left, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Its path in the directory of artifacts.
    pub path: String,
    /// Its key in the results bucket.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Its type, by its file extension.
    pub content_type: String,
}

/// What a launcher packed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PackedArtifacts {
    /// Paths, and where in the file their contents are.
    pub files: Vec<(String, Range<usize>)>,
    /// A sentence about what was left out.
    pub left_out: Option<String>,
}

/// One line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    bytes: usize,
    #[serde(default)]
    end: bool,
    #[serde(default)]
    left_out: Option<String>,
}

/// Reads the file of a launcher.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn read_artifacts(text: &[u8], bounds: &ArtifactBounds) -> Result<PackedArtifacts, String> {
    let mut packed = PackedArtifacts::default();
    let (mut at, mut total, mut names) = (0, 0_u64, BTreeSet::new());
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let head = &rest[..rest.len().min(MAX_LINE_BYTES)];
        let Some(length) = head.iter().position(|byte| *byte == b'\n') else {
            return Err("the program ended before all of them were packed".to_owned());
        };
        let line: Line = serde_json::from_slice(&rest[..length])
            .map_err(|error| format!("their list cannot be read: {error}"))?;
        at += length + 1;
        if line.end {
            let short = |said: String| said.chars().take(MAX_SAID_CHARS).collect();
            packed.left_out = line.left_out.map(short);
            return Ok(packed);
        }
        let path = line.path.ok_or_else(|| "one of them has no path".to_owned())?;
        check_path(&path)?;
        if !names.insert(path.clone()) {
            return Err(format!("{path:?} is there twice"));
        }
        total += line.bytes as u64;
        if total > bounds.max_mb << 20 {
            return Err(format!(
                "they have more than the {} MB of artifacts.max_mb",
                bounds.max_mb
            ));
        }
        if packed.files.len() >= bounds.max_files as usize {
            return Err(format!(
                "they are more than the {} of artifacts.max_files",
                bounds.max_files
            ));
        }
        let end = at.checked_add(line.bytes).filter(|end| *end <= text.len());
        let end =
            end.ok_or_else(|| "the program ended before all of them were packed".to_owned())?;
        packed.files.push((path, at..end));
        at = end;
    }
}

fn check_path(path: &str) -> Result<(), String> {
    if path.len() > MAX_PATH_BYTES {
        return Err(format!("one of them has a path longer than {MAX_PATH_BYTES} bytes"));
    }
    is_plain_name(path, &ArchiveCaps { max_depth: 16, ..ArchiveCaps::new(0, 0) })
        .map_err(|problem| format!("{path:?} {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: ArtifactBounds = ArtifactBounds { max_mb: 1, max_files: 2 };

    fn read(text: &str) -> Result<PackedArtifacts, String> {
        read_artifacts(text.as_bytes(), &BOUNDS)
    }

    #[test]
    fn what_a_launcher_packs_is_read() {
        let text = "{\"path\":\"a/b.png\",\"bytes\":3}\n\n{\n{\"path\":\"c\",\"bytes\":0}\n{\"end\":true,\"left_out\":\"d\"}\n";
        let packed = read(text).unwrap();
        assert_eq!(packed.files[0].0, "a/b.png");
        assert_eq!(&text[packed.files[0].1.clone()], "\n{\n");
        assert_eq!((packed.files[1].0.as_str(), packed.files[1].1.len()), ("c", 0));
        assert_eq!(packed.left_out.as_deref(), Some("d"));
        assert_eq!(read("{\"end\":true}\n").unwrap(), PackedArtifacts::default());
    }

    #[test]
    fn what_a_stranger_makes_of_the_file_is_refused_with_a_sentence() {
        let one = |path: &str, bytes: usize| {
            format!("{{\"path\":{},\"bytes\":{bytes}}}\n", serde_json::to_string(path).unwrap())
        };
        let end = "{\"end\":true}\n";
        let full = 1 << 20;
        for (text, reason) in [
            (String::new(), "before all of them were packed"),
            (one("a", 5), "before all of them were packed"),
            (one("a", usize::MAX / 2), "more than the 1 MB"),
            (one("a", 1), "before all of them were packed"),
            ("x".repeat(MAX_LINE_BYTES + 1), "before all of them were packed"),
            ("x\n".to_owned(), "their list cannot be read"),
            ("{\"bytes\":1}\n".to_owned(), "has no path"),
            (one("../a", 0) + end, "leaves the archive's root"),
            (one("/a", 0) + end, "has an absolute path"),
            (one("a\nb", 0) + end, "a control character"),
            (one("a/", 0) + end, "names a folder"),
            (one(&"a".repeat(513), 0) + end, "longer than 512 bytes"),
            (one(&["a"; 17].join("/"), 0) + end, "lies deeper than 16 folders"),
            (one("a", 0) + &one("a", 0) + end, "is there twice"),
            (one("a", 0) + &one("b", 0) + &one("c", 0) + end, "more than the 2 of"),
            (one("a", full + 1) + &"x".repeat(full + 1) + end, "more than the 1 MB"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(reason), "{error} for {}", &text[..text.len().min(80)]);
        }
        let exactly = one("a", full) + &"x".repeat(full) + &one("b", 0) + end;
        assert_eq!(read(&exactly).unwrap().files.len(), 2);
        // Names of 255 bytes are the longest.
        let longest = format!("{}/{}/c", "a".repeat(254), "b".repeat(255));
        let both = one(&longest, 0) + &one(&["a"; 16].join("/"), 0) + end;
        assert_eq!(read(&both).unwrap().files[0].0.len(), 512);
        let said = |length| format!("{{\"end\":true,\"left_out\":\"{}\"}}\n", "é".repeat(length));
        for (length, kept) in
            [(MAX_SAID_CHARS, MAX_SAID_CHARS), (MAX_SAID_CHARS + 1, MAX_SAID_CHARS)]
        {
            assert_eq!(read(&said(length)).unwrap().left_out.unwrap().chars().count(), kept);
        }
    }
}
