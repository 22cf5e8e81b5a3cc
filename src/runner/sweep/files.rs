//! The two files of a sweep in a job's directory: what is to run, and what came of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};

use crate::job::Job;
use crate::job::sweep::{CONFIGS_FILE, Configs, ROWS_FILE, Sweep};

/// The longest first line of the configs' file, in bytes.
const MAX_ORDER_BYTES: u64 = 4096;

/// The first line of the configs' file: how to run them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// How many configs the whole sweep has.
    pub(super) total: u64,
    isolation: String,
    parallel: Option<u32>,
    /// How many processors the container may use, rounded up.
    processors: Option<u32>,
    timeout_seconds: Option<u64>,
    failures_left: Option<u64>,
    max_result_bytes: u64,
    output_bytes: u64,
    max_bytes: u64,
}

/// More of an output is kept where secrets are masked before it is cut: else a cut could leave a part
/// of one. Longer than any secret.
const UNMASKED_BYTES: u64 = 16 << 10;

impl Order {
    pub(super) fn of(job: &Job, sweep: &Sweep, total: u64, failed: u64) -> Self {
        let bounds = &sweep.bounds;
        let slack = if job.secrets.is_empty() { 0 } else { UNMASKED_BYTES };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "few processors, and never negative"
        )]
        let processors = job.limits.cpus.map(|cpus| cpus.ceil().max(1.0) as u32);
        Self {
            total,
            isolation: sweep.isolation.as_str().to_owned(),
            parallel: sweep.parallel,
            processors: processors
                .map_or(Some(bounds.max_parallel), |it| Some(it.min(bounds.max_parallel))),
            timeout_seconds: sweep.timeout.map(|timeout| timeout.as_secs()),
            failures_left: sweep.max_failures.map(|most| most.saturating_sub(failed)),
            max_result_bytes: bounds.max_result_bytes,
            output_bytes: bounds.output_bytes + slack,
            max_bytes: bounds.max_bytes,
        }
    }
}

/// Writes the configs for which `is_done` is false. This blocks.
pub(super) fn write_configs(
    root: &Path,
    order: &Order,
    configs: &Configs,
    is_done: impl Fn(u64) -> bool,
) -> io::Result<()> {
    let path = root.join(CONFIGS_FILE);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    let mut out = io::BufWriter::new(file);
    serde_json::to_writer(&mut out, order)?;
    out.write_all(b"\n")?;
    for index in (0..order.total).filter(|index| !is_done(*index)) {
        writeln!(out, "{index}\t{}", configs.patch(index))?;
    }
    out.flush()
}

/// The configs that were written, by their numbers.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) order: Order,
    file: File,
    /// Number, place and length, in the order of numbers.
    places: Vec<(u64, u64, usize)>,
}

impl Written {
    /// Opens what an attempt was given. This blocks.
    pub(super) fn open(root: &Path, max_bytes: u64) -> io::Result<Self> {
        let file = File::open(root.join(CONFIGS_FILE))?;
        let most = max_bytes.saturating_mul(2).saturating_add(MAX_ORDER_BYTES);
        let mut reader = BufReader::new(file.try_clone()?.take(most));
        let mut line = Vec::new();
        let mut place = reader.read_until(b'\n', &mut line)? as u64;
        let order = serde_json::from_slice(&line)?;
        let mut places = Vec::new();
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if length == 0 {
                break;
            }
            let tab = line.iter().position(|byte| *byte == b'\t').unwrap_or(0);
            let number = std::str::from_utf8(&line[..tab]).ok().and_then(|it| it.parse().ok());
            if let Some(number) = number {
                places.push((number, place + tab as u64 + 1, length.saturating_sub(tab + 2)));
            }
            place += length as u64;
        }
        Ok(Self { order, file, places })
    }

    /// What differs in the config with this number; `None` if the attempt was not given it.
    pub(super) fn patch(&mut self, index: u64) -> io::Result<Option<String>> {
        let found = self.places.binary_search_by_key(&index, |(number, ..)| *number);
        let Ok(at) = found else { return Ok(None) };
        let (_, place, length) = self.places[at];
        let mut text = vec![0; length];
        self.file.seek(SeekFrom::Start(place))?;
        self.file.read_exact(&mut text)?;
        String::from_utf8(text).map(Some).map_err(io::Error::other)
    }
}

/// Opens the rows, which a stranger writes: only a regular file. This blocks.
pub(super) fn open_rows(root: &Path) -> io::Result<File> {
    let flags = O_NOFOLLOW | O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(root.join(ROWS_FILE))?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("is not a regular file"))
    }
}
