#!/usr/bin/env bash
# The inner loop: formatting, lints and unit tests. Needs no server, no container and no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/steps.sh
source scripts/steps.sh
trap step_table EXIT
# shellcheck source=scripts/toolchain.sh
source scripts/toolchain.sh

step "formatting" cargo fmt --all --check
step "shell scripts" scripts/lint-shell.sh
step "lints" cargo clippy --locked --workspace --all-targets -- -D warnings
step "unit tests" cargo test --locked --workspace --lib
