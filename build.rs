//! Compiles `longshore-init` as a static program, which `src/runner/script/helper.rs` makes a part of this one.
//!
//! `docs/decisions/helper-beside-the-worker.md` says why here.

#![allow(clippy::print_stdout, reason = "cargo reads it")]
#![allow(clippy::disallowed_methods, reason = "cargo tells by environment what to build and where")]

use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const NAME: &str = "longshore-init";

/// What it is made of.
const SOURCES: [&str; 4] =
    ["crates/longshore-init/src", "crates/longshore-init/Cargo.toml", "Cargo.toml", "Cargo.lock"];

/// Static, so that it runs in any image; where it lies in memory protects nobody.
const FLAGS: [&str; 2] = ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    match compile() {
        Ok((program, hash)) => {
            println!("cargo::rustc-env=LONGSHORE_INIT={}", program.display());
            println!("cargo::rustc-env=LONGSHORE_INIT_HASH={hash:016x}");
        }
        Err(reason) => println!(
            "cargo::error={NAME} cannot be compiled as a static program: {reason}. \
             It needs the static C library (Debian: libc6-dev, Fedora: glibc-static)."
        ),
    }
}

/// Gives the program's place, and a hash by which versions differ. It protects nobody: it need not be a strong one.
fn compile() -> Result<(PathBuf, u64), String> {
    let set = |name: &str| env::var_os(name).ok_or_else(|| format!("cargo has not set {name}"));
    let (cargo, target, out) = (set("CARGO")?, set("TARGET")?, set("OUT_DIR")?);
    // A directory of its own: cargo keeps the usual one locked while this runs.
    let built = Path::new(&out).join("build");
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--offline", "--package", NAME, "--profile", "init"])
        .arg("--target")
        .arg(&target)
        .arg("--target-dir")
        .arg(&built)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Neither lints nor the flags of the program around it: a sanitizer, say, does not go with a static one.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .status()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !status.success() {
        return Err(format!("cargo ended with {status}"));
    }
    let program = built.join(target).join("init").join(NAME);
    let bytes = fs::read(&program).map_err(|error| format!("{}: {error}", program.display()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Ok((program, hasher.finish()))
}
