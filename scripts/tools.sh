#!/usr/bin/env bash
# Installs the tools that are missing: what Debian packages, from Debian. For Rust it says what to do.
#
#   scripts/tools.sh            everything that building and testing need
#   scripts/tools.sh compile    only what compiling the worker needs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

want=()
need() { command -v "$1" >/dev/null || want+=("$2"); }

need cc gcc
need c++ g++
need make make
if [[ ${1:-all} == all ]]; then
    need curl curl
    need python3 python3
    need node nodejs
    need npm npm
    need shellcheck shellcheck
    python3 -c 'import ensurepip, venv' 2>/dev/null || want+=(python3-venv)
fi

if ((${#want[@]})); then
    if ! command -v apt-get >/dev/null; then
        echo "error missing: ${want[*]}; install them with your system's packages" >&2
        exit 1
    fi
    as_root=()
    ((EUID == 0)) || as_root=(sudo)
    echo "..    installing ${want[*]}"
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${want[@]}" >/dev/null
fi

if ! command -v cargo >/dev/null; then
    echo "error cargo is missing: install Rust 1.95 or later with rustup (https://rustup.rs)" >&2
    exit 1
fi
if [[ ${1:-all} != all ]]; then
    echo "ok    $(cargo --version)"
    exit
fi
for component in rustfmt clippy; do
    cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component"
done
echo "ok    $(cargo --version), $(python3 --version), Node.js $(node --version)"
