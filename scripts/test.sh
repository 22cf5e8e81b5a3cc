#!/usr/bin/env bash
# Sets up what is missing and runs every check: formatting, lints, unit and integration tests, the launchers' own
# tests. Uses what runs already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/steps.sh
source scripts/steps.sh
trap step_table EXIT
# shellcheck source=scripts/toolchain.sh
source scripts/toolchain.sh

step "tools" scripts/tools.sh
step "local stack" scripts/stack.sh up --only services --yes
registry=$(scripts/stack.sh registry-package | tail -n 1)
promtool=$(scripts/stack.sh prometheus-package | tail -n 1)
chromedriver=$(scripts/stack.sh chromium-package | tail -n 1)
collector=$(scripts/stack.sh collector-package | tail -n 1)
PATH=$PATH:$(dirname "$registry"):$(dirname "$promtool"):$(dirname "$chromedriver"):$(dirname "$collector")

step "formatting" cargo fmt --all --check
step "formatting of the fuzz targets" cargo fmt --manifest-path fuzz/Cargo.toml --check
step "shell scripts" scripts/lint-shell.sh
step "licences, bans and sources of the dependencies" scripts/supply.sh check

# Clippy as the compiler: `cargo clippy` before `cargo test` would read every crate twice.
RUSTC_WORKSPACE_WRAPPER=$(rustc --print sysroot)/bin/clippy-driver
export RUSTC_WORKSPACE_WRAPPER CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__
step "compiling with lints" cargo test --locked --workspace --all-targets --no-run

# The local stack's documented defaults, where nothing else is set.
export MINIO_ENDPOINT=${MINIO_ENDPOINT:-127.0.0.1:${S3_PORT:-8333}}
export MINIO_ACCESS_KEY=${MINIO_ACCESS_KEY:-longshore} MINIO_SECRET_KEY=${MINIO_SECRET_KEY:-longshore-secret}
step "unit, schema and integration tests" scripts/run-tests.sh target/flaky
while read -r name; do STEP_TIMES+=("        passed only alone: $name"); done <target/flaky
step "three workers in their image" scripts/check-stack.sh
step "client packages for Python and TypeScript, AsyncAPI, tutorial" scripts/clients.sh
step "documentation as a site, links" scripts/book.sh

# The launchers' tests mostly wait, and compiling the fuzz targets never does: together they take less time.
fuzzing_beside_launchers() {
    local log=target/launchers.log pid
    (python3 -m unittest discover -s tests/launchers && node --test tests/launchers/) >"$log" 2>&1 &
    pid=$!
    env --unset RUSTC_WORKSPACE_WRAPPER FUZZ_SECONDS="${FUZZ_SECONDS:-20}" scripts/fuzz.sh
    if ! wait "$pid"; then
        cat "$log"
        return 1
    fi
    grep -E '^(Ran|OK|# (tests|pass|fail))' "$log"
}
step "fuzzing, for a moment, and the launchers of Python and Node.js" fuzzing_beside_launchers
